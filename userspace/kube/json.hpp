// SPDX-License-Identifier: Apache-2.0
// What an API server sends, as trees: a page of a list, a line of a watch, the Status that explains a refusal.
// Bounded; nothing of the JSON library leaves this file's other half.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/core/result.hpp"
#include "userspace/core/tree.hpp"

namespace xlb {

inline constexpr std::size_t kMaxJsonDepth = 64;
inline constexpr std::size_t kMaxJsonNodes = 200'000;  // of one object

// Fields of an object that nobody here reads, "metadata.managedFields": they are not even built. One or two names
// deep.
using LeaveOut = std::vector<std::string_view>;

struct ListPage {
  std::string version;  // resourceVersion of the list
  std::string more;     // the token that the next page is asked for with; empty: this was the last
};
// Items are handed over one by one, as they are read; what was handed over before an error is worth nothing.
Result<ListPage> parse_list(std::string_view body, const LeaveOut& leave_out,
                            const std::function<void(TreeNode)>& item);

struct WatchEvent {
  enum class Type : std::uint8_t { added, modified, deleted, bookmark, error };
  Type type = Type::error;
  TreeNode object;      // of all but `error`
  std::string version;  // resourceVersion of the object, of all but `error`
  unsigned code = 0;    // of `error`, as its Status says
  std::string message;
};
Result<WatchEvent> parse_event(std::string_view line, const LeaveOut& leave_out);

struct ApiStatus {
  unsigned code = 0;
  std::string reason;  // "Conflict"; empty where the body is no Status
  std::string message;
};
ApiStatus parse_status(std::string_view body);

// One string of a tree by its path; empty where there is none.
std::string text_at(const TreeNode& node, std::initializer_list<std::string_view> path);

}  // namespace xlb
