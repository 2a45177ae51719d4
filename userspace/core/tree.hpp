// SPDX-License-Identifier: Apache-2.0
// A document as a value, before anybody knows what it means: YAML of a file or JSON of an API server.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace xlb {

struct TreeNode {
  enum class Kind : std::uint8_t { null, scalar, sequence, mapping };
  Kind kind = Kind::null;
  bool quoted = false;  // a scalar that is a string whatever it looks like: in quotes, a block, or tagged !!str
  int line = 0;         // counted from 1; 0: not known
  std::string scalar;
  std::vector<std::string> keys;  // of a mapping: keys[i] belongs to children[i]; none occurs twice
  std::vector<TreeNode> children;

  [[nodiscard]] const TreeNode* find(std::string_view key) const;  // null when there is none
  // Down through mappings; null where one of them is none, or has no such key.
  [[nodiscard]] const TreeNode* find(std::initializer_list<std::string_view> path) const;
};

// What a plain scalar is, as Kubernetes reads YAML; what JSON says without quotes is a subset of it.
enum class ScalarType : std::uint8_t { string, boolean, number };
ScalarType scalar_type(const TreeNode& scalar);
bool scalar_is_true(std::string_view text);

}  // namespace xlb
