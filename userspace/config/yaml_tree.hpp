// SPDX-License-Identifier: Apache-2.0
// One YAML document as a value with lines, and back to text. Nothing in here knows what the document means.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/core/result.hpp"

namespace xlb {

// What a manifest may cost. A file beyond them is refused before it is read any further.
inline constexpr std::size_t kMaxYamlBytes = std::size_t{4} << 20;  // of one file
inline constexpr int kMaxYamlDepth = 64;                            // mappings and lists inside one another
inline constexpr int kMaxYamlAliases = 16;                          // in one document
inline constexpr std::size_t kMaxYamlNodes = 400'000;               // in one document, aliases written out

struct YamlNode {
  enum class Kind : std::uint8_t { null, scalar, sequence, mapping };
  Kind kind = Kind::null;
  bool quoted = false;  // a scalar that is a string whatever it looks like: in quotes, a block, or tagged !!str
  int line = 0;         // counted from 1; 0: not read from a text
  std::string scalar;
  std::vector<std::string> keys;  // of a mapping: keys[i] belongs to children[i]; none occurs twice
  std::vector<YamlNode> children;

  [[nodiscard]] const YamlNode* find(std::string_view key) const;  // null when there is none
};

// What a plain scalar is in YAML as Kubernetes reads it.
enum class ScalarType : std::uint8_t { string, boolean, number };
ScalarType scalar_type(const YamlNode& scalar);
bool scalar_is_true(std::string_view text);

// Refuses what no manifest holds and yaml-cpp would take silently: NUL and control bytes, broken UTF-8, too much of
// it.
Result<void> check_text(std::string_view text, const std::string& source);

// One document of a text that check_text() has passed; `first_line` is its line in the file, `source` the file's name
// in errors. Absent: nothing but comments.
Result<std::optional<YamlNode>> parse_yaml(std::string_view text, const std::string& source, int first_line = 1);

// Block style, two blanks a level, strings in quotes only where they need them. parse_yaml() gives the same node
// again.
std::string yaml_text(const YamlNode& node);

// For building what yaml_text() writes.
YamlNode yaml_string(std::string text);
YamlNode yaml_plain(std::string text);  // a number or a boolean
YamlNode yaml_mapping();
YamlNode yaml_sequence();
YamlNode& yaml_set(YamlNode& mapping, std::string key, YamlNode value);
YamlNode yaml_strings(const std::vector<std::string>& texts);

}  // namespace xlb
