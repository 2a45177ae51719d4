// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/fields.hpp"

#include <algorithm>
#include <charconv>

#include "userspace/core/text.hpp"

namespace xlb {

namespace {

// A key as it is put behind a path.
std::string step(const std::string& path, std::string_view key) {
  const bool word = std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
  if (!word || key.size() > 64) return "[" + in_quotes(key) + "]";
  return (path.empty() ? "" : ".") + std::string(key);
}

// spec.ports[1].port; empty for the root itself.
bool find_path(const TreeNode& at, const TreeNode* wanted, std::string& path) {
  if (&at == wanted) return true;
  const std::size_t length = path.size();
  for (std::size_t i = 0; i < at.children.size(); ++i) {
    if (at.kind == TreeNode::Kind::mapping) {
      path += step(path, at.keys[i]);
    } else {
      path += "[" + std::to_string(i) + "]";
    }
    if (find_path(at.children[i], wanted, path)) return true;
    path.resize(length);
  }
  return false;
}

std::string described(const TreeNode& node) {
  switch (node.kind) {
    case TreeNode::Kind::null:
      return "nothing";
    case TreeNode::Kind::sequence:
      return "a list";
    case TreeNode::Kind::mapping:
      return "a mapping";
    case TreeNode::Kind::scalar:
      break;
  }
  switch (scalar_type(node)) {
    case ScalarType::boolean:
      return "the boolean " + node.scalar;
    case ScalarType::number:
      return "the number " + node.scalar;
    case ScalarType::string:
      break;
  }
  return "the string " + in_quotes(std::string_view(node.scalar));
}

}  // namespace

Field Reading::root() {
  return Field(*this, root_);
}

Reading Reading::apart() const {
  Reading other(source_, *root_);
  other.object_ = object_;
  other.allow_unknown_ = allow_unknown_;
  return other;
}

std::string Reading::sentence_at(const TreeNode* node, const TreeNode* parent, const std::string& missing,
                                 const std::string& sentence) const {
  std::string path;
  int line = 0;
  if (node != nullptr) {
    find_path(*root_, node, path);
    line = node->line;
  } else {
    if (parent != nullptr) {
      find_path(*root_, parent, path);
      line = parent->line;
    }
    path += (path.empty() || missing.starts_with('[') ? "" : ".") + missing;
  }
  std::string out = source_.empty() ? std::string() : place(source_, line) + ": ";
  if (!object_.empty()) out += object_ + ": ";
  if (!path.empty()) out += path + ": ";
  return out + sentence;
}

void Reading::fail(const TreeNode* node, const TreeNode* parent, const std::string& missing,
                   const std::string& sentence) {
  if (error_) return;
  error_ = Error{sentence_at(node, parent, missing, sentence)};
  sentence_ = sentence;
}

void Field::wrong_type(std::string_view wanted) const {
  fail("expected " + std::string(wanted) + ", found " + described(*node_));
}

bool Field::mapping() const {
  if (!present()) return false;
  if (node_->kind == TreeNode::Kind::mapping) return true;
  wrong_type("a mapping");
  return false;
}

Field Field::operator[](std::string_view key) const {
  if (!mapping()) {
    const TreeNode* deepest = node_ != nullptr ? node_ : parent_;
    return Field(*reading_, nullptr, deepest, missing_ + step(missing_, key));
  }
  const TreeNode* found = node_->find(key);
  return Field(*reading_, found, node_, found == nullptr ? step({}, key) : std::string());
}

std::vector<Field> Field::items() const {
  std::vector<Field> out;
  if (!present()) return out;
  if (node_->kind != TreeNode::Kind::sequence) {
    wrong_type("a list");
    return out;
  }
  out.reserve(node_->children.size());
  for (const TreeNode& child : node_->children) out.emplace_back(*reading_, &child);
  return out;
}

std::vector<std::pair<std::string, Field>> Field::entries() const {
  std::vector<std::pair<std::string, Field>> out;
  if (!mapping()) return out;
  for (std::size_t i = 0; i < node_->keys.size(); ++i) {
    out.emplace_back(node_->keys[i], Field(*reading_, &node_->children[i]));
  }
  return out;
}

std::string Field::text(std::string_view absent) const {
  if (!present()) return std::string(absent);
  if (node_->kind != TreeNode::Kind::scalar) {
    wrong_type("a string");
    return std::string(absent);
  }
  if (scalar_type(*node_) != ScalarType::string) {
    fail("expected a string, found " + described(*node_) + ": put it in quotes");
    return std::string(absent);
  }
  return node_->scalar;
}

std::string Field::required_text(std::string_view advice) const {
  std::string value = text();
  if (value.empty()) fail("missing: " + std::string(advice));
  return value;
}

bool Field::boolean(bool absent) const {
  if (!present()) return absent;
  if (node_->kind != TreeNode::Kind::scalar || scalar_type(*node_) != ScalarType::boolean) {
    const bool word = node_->kind == TreeNode::Kind::scalar && (node_->scalar == "true" || node_->scalar == "false");
    fail("expected true or false, found " + described(*node_) + (word ? ": remove the quotes" : ""));
    return absent;
  }
  return scalar_is_true(node_->scalar);
}

bool Field::number() const {
  return present() && node_->kind == TreeNode::Kind::scalar && scalar_type(*node_) == ScalarType::number;
}

std::int64_t Field::integer(std::int64_t least, std::int64_t most, std::int64_t absent) const {
  if (!present()) return absent;
  const std::string wanted = "a whole number from " + std::to_string(least) + " to " + std::to_string(most);
  if (!number()) {
    wrong_type(wanted);
    return absent;
  }
  std::int64_t value = 0;
  const std::string& digits = node_->scalar;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  const std::size_t first = digits.find_first_not_of('-');
  const bool leading_zero = first != std::string::npos && digits[first] == '0' && digits.size() > first + 1;
  if (error != std::errc{} || end != digits.data() + digits.size() || leading_zero || value < least || value > most) {
    fail("expected " + wanted + ", found " + digits);
    return absent;
  }
  return value;
}

std::vector<std::string> Field::texts() const {
  std::vector<std::string> out;
  for (const Field& item : items()) out.push_back(item.required_text("an entry of this list is empty"));
  return out;
}

std::size_t Field::word(std::initializer_list<std::string_view> words, std::size_t absent) const {
  if (!present()) return absent;
  const std::string value = text();
  const auto found = std::find(words.begin(), words.end(), value);
  if (found != words.end()) return static_cast<std::size_t>(found - words.begin());
  std::string wanted;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i > 0) wanted += i + 1 == words.size() ? " or " : ", ";
    wanted += *(words.begin() + static_cast<std::ptrdiff_t>(i));
  }
  fail("expected " + wanted + ", found " + in_quotes(std::string_view(value)));
  return absent;
}

void Field::only(std::initializer_list<std::string_view> known) const {
  for (const auto& [key, field] : entries()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::vector<std::string_view> candidates(known);
    const std::string_view meant = nearest(key, candidates);
    std::string advice;
    if (!meant.empty()) {
      advice = "did you mean " + std::string(meant) + "?";
    } else {
      advice = "known here:";
      for (const std::string_view name : candidates) advice += " " + std::string(name);
    }
    if (reading_->allows_unknown()) {
      field.warn("unknown field, ignored: " + advice);
    } else {
      field.fail("unknown field: " + advice);
    }
  }
}

}  // namespace xlb
