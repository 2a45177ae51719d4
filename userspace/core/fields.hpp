// SPDX-License-Identifier: Apache-2.0
// Typed reading of one object. The first thing found wrong is kept and everything after it reads as absent, so that a
// decoder says what it wants field by field and asks once, at the end, whether all of it was there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace/core/result.hpp"
#include "userspace/core/tree.hpp"

namespace xlb {

class Field;

class Reading {
 public:
  // `source` names the file in sentences; empty: there is none, the object's name says enough.
  Reading(std::string source, const TreeNode& root) : source_(std::move(source)), root_(&root) {}

  [[nodiscard]] Field root();
  // What errors call the object, once it is known: "IPAddressPool metallb-system/home".
  void set_object(std::string object) { object_ = std::move(object); }
  // Fields that are not known draw a warning. Of an API server: it has accepted them, and may be newer than we are; a
  // file is refused before it does anything.
  void allow_unknown() { allow_unknown_ = true; }
  [[nodiscard]] bool allows_unknown() const { return allow_unknown_; }
  // The same tree, read from the beginning with a mind of its own about what is wrong.
  [[nodiscard]] Reading apart() const;
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  [[nodiscard]] const std::string& sentence() const { return sentence_; }  // the error without its place
  [[nodiscard]] std::vector<std::string>& warnings() { return warnings_; }

 private:
  friend class Field;
  // A field is absent when `node` is null; it would be at `missing` in `parent`.
  void fail(const TreeNode* node, const TreeNode* parent, const std::string& missing, const std::string& sentence);
  [[nodiscard]] std::string sentence_at(const TreeNode* node, const TreeNode* parent, const std::string& missing,
                                        const std::string& sentence) const;

  std::string source_;
  const TreeNode* root_;
  std::string object_;
  bool allow_unknown_ = false;
  std::optional<Error> error_;
  std::string sentence_;
  std::vector<std::string> warnings_;
};

// Lives no longer than its reading and the tree.
class Field {
 public:
  Field(Reading& reading, const TreeNode* node, const TreeNode* parent = nullptr, std::string missing = {})
      : reading_(&reading), node_(node), parent_(parent), missing_(std::move(missing)) {}

  // false for null as well: `addresses:` with nothing behind it is not there.
  [[nodiscard]] bool present() const { return node_ != nullptr && node_->kind != TreeNode::Kind::null; }
  [[nodiscard]] Field operator[](std::string_view key) const;  // of a mapping
  [[nodiscard]] std::vector<Field> items() const;              // of a list
  [[nodiscard]] std::vector<std::pair<std::string, Field>> entries() const;
  [[nodiscard]] bool mapping() const;  // fails when it is present and none

  [[nodiscard]] std::string text(std::string_view absent = {}) const;
  [[nodiscard]] std::string required_text(std::string_view advice) const;
  [[nodiscard]] bool boolean(bool absent) const;
  [[nodiscard]] std::int64_t integer(std::int64_t least, std::int64_t most, std::int64_t absent) const;
  [[nodiscard]] std::vector<std::string> texts() const;
  // One of the words, by its index; `absent` when the field is not there.
  [[nodiscard]] std::size_t word(std::initializer_list<std::string_view> words, std::size_t absent) const;
  [[nodiscard]] bool number() const;  // a plain number

  // Every key of the mapping must be one of these (or draws a warning, see Reading::allow_unknown).
  void only(std::initializer_list<std::string_view> known) const;

  void fail(const std::string& sentence) const { reading_->fail(node_, parent_, missing_, sentence); }
  void warn(const std::string& sentence) const {
    reading_->warnings_.push_back(reading_->sentence_at(node_, parent_, missing_, sentence));
  }
  [[nodiscard]] Reading& reading() const { return *reading_; }
  [[nodiscard]] const TreeNode* node() const { return node_; }

 private:
  void wrong_type(std::string_view wanted) const;

  Reading* reading_;
  const TreeNode* node_;
  const TreeNode* parent_;
  std::string missing_;  // where it would be; empty for a field that is there
};

}  // namespace xlb
