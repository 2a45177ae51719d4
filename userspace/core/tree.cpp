// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/tree.hpp"

#include <algorithm>

namespace xlb {

namespace {

bool is_one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

bool looks_like_number(std::string_view text) {
  if (is_one_of(text, {".inf", ".Inf", ".INF", "+.inf", "-.inf", ".nan", ".NaN", ".NAN"})) return true;
  std::size_t i = text.find_first_not_of("+-");
  if (i == std::string_view::npos || i > 1) return false;
  if (text.size() > i + 2 && text[i] == '0' && is_one_of(text.substr(i + 1, 1), {"x", "o", "b"})) {
    return text.find_first_not_of("0123456789abcdefABCDEF_", i + 2) == std::string_view::npos;
  }
  bool digit = false;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (c >= '0' && c <= '9') {
      digit = true;
    } else if ((c == 'e' || c == 'E') && digit) {
      if (i + 1 < text.size() && (text[i + 1] == '+' || text[i + 1] == '-')) ++i;
    } else if (c != '.' && c != '_') {
      return false;
    }
  }
  return digit && std::count(text.begin(), text.end(), '.') <= 1;
}

}  // namespace

const TreeNode* TreeNode::find(std::string_view key) const {
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i] == key) return &children[i];
  }
  return nullptr;
}

const TreeNode* TreeNode::find(std::initializer_list<std::string_view> path) const {
  const TreeNode* node = this;
  for (const std::string_view key : path) {
    if (node->kind != Kind::mapping) return nullptr;
    node = node->find(key);
    if (node == nullptr) return nullptr;
  }
  return node;
}

bool scalar_is_true(std::string_view text) {
  return is_one_of(text, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"});
}

ScalarType scalar_type(const TreeNode& scalar) {
  if (scalar.quoted) return ScalarType::string;
  if (scalar_is_true(scalar.scalar) ||
      is_one_of(scalar.scalar, {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})) {
    return ScalarType::boolean;
  }
  return looks_like_number(scalar.scalar) ? ScalarType::number : ScalarType::string;
}

}  // namespace xlb
