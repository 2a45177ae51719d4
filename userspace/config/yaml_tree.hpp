// SPDX-License-Identifier: Apache-2.0
// YAML as a tree with lines, and back to text. Nothing in here knows what the document means.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/core/result.hpp"
#include "userspace/core/tree.hpp"

namespace xlb {

// What a manifest may cost. A file beyond them is refused before it is read any further.
inline constexpr std::size_t kMaxYamlBytes = std::size_t{4} << 20;  // of one file
inline constexpr int kMaxYamlDepth = 64;                            // mappings and lists inside one another
inline constexpr int kMaxYamlAliases = 16;                          // in one document
inline constexpr std::size_t kMaxYamlNodes = 400'000;               // in one document, aliases written out

// Refuses what no manifest holds and yaml-cpp would take silently: NUL and control bytes, broken UTF-8, too much of
// it.
Result<void> check_text(std::string_view text, const std::string& source);

// One document of a text that check_text() has passed; `first_line` is its line in the file, `source` the file's name
// in errors. Absent: nothing but comments.
Result<std::optional<TreeNode>> parse_yaml(std::string_view text, const std::string& source, int first_line = 1);

// Block style, two blanks a level, strings in quotes only where they need them. parse_yaml() gives the same node
// again.
std::string yaml_text(const TreeNode& node);

// For building what yaml_text() writes.
TreeNode yaml_string(std::string text);
TreeNode yaml_plain(std::string text);  // a number or a boolean
TreeNode yaml_mapping();
TreeNode yaml_sequence();
TreeNode& yaml_set(TreeNode& mapping, std::string key, TreeNode value);
TreeNode yaml_strings(const std::vector<std::string>& texts);

}  // namespace xlb
