// SPDX-License-Identifier: Apache-2.0
// A table's rows by key, as std::map has them but in one piece of memory: a hundred thousand are copied and walked in the
// time in which a map finds its second. Rows are added at the end for nothing, elsewhere at the price of moving the rest;
// references hold until the next row comes or goes.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <initializer_list>
#include <utility>
#include <vector>

namespace xlb {

template <typename Key, typename Row>
class SortedRows {
 public:
  using value_type = std::pair<Key, Row>;
  using iterator = typename std::vector<value_type>::iterator;
  using const_iterator = typename std::vector<value_type>::const_iterator;

  SortedRows() = default;
  SortedRows(std::initializer_list<value_type> rows) {  // NOLINT: implicit by intent
    for (const auto& [key, row] : rows) (*this)[key] = row;
  }

  [[nodiscard]] iterator begin() { return rows_.begin(); }
  [[nodiscard]] iterator end() { return rows_.end(); }
  [[nodiscard]] const_iterator begin() const { return rows_.begin(); }
  [[nodiscard]] const_iterator end() const { return rows_.end(); }
  [[nodiscard]] auto rbegin() const { return rows_.rbegin(); }
  [[nodiscard]] std::size_t size() const { return rows_.size(); }
  [[nodiscard]] bool empty() const { return rows_.empty(); }

  [[nodiscard]] const_iterator find(const Key& key) const {
    const auto place = std::lower_bound(rows_.begin(), rows_.end(), key, before);
    return place != rows_.end() && place->first == key ? place : rows_.end();
  }
  [[nodiscard]] bool contains(const Key& key) const { return find(key) != end(); }
  // The key has to be there.
  [[nodiscard]] const Row& at(const Key& key) const { return find(key)->second; }
  [[nodiscard]] Row& at(const Key& key) { return (rows_.begin() + (find(key) - rows_.cbegin()))->second; }

  // Makes the row where there is none.
  Row& operator[](const Key& key) {
    auto place = std::lower_bound(rows_.begin(), rows_.end(), key, before);
    if (place == rows_.end() || place->first != key) place = rows_.insert(place, {key, Row{}});
    return place->second;
  }
  // The key comes after all others.
  void append(const Key& key, const Row& row) { rows_.emplace_back(key, row); }
  void reserve(std::size_t size) { rows_.reserve(size); }
  void erase(const Key& key) {
    if (const auto place = find(key); place != end()) rows_.erase(place);
  }
  template <typename Predicate>
  void erase_if(const Predicate& predicate) {
    std::erase_if(rows_, predicate);
  }
  void clear() { rows_.clear(); }
  // Where rows can be compared.
  auto operator<=>(const SortedRows&) const = default;

 private:
  static bool before(const value_type& row, const Key& key) { return row.first < key; }

  std::vector<value_type> rows_;
};

}  // namespace xlb
