// SPDX-License-Identifier: Apache-2.0
// Values that pass from hand to hand whole and change little: a copy is a pointer, and what is shared is equal without a
// look. They read like what they hold; who changes one says own(), and gets a copy of his own where others hold it too.
//
// Copies may live in several threads, as long as those that are changed are in one: who takes a value over from another
// thread reads it, or makes a new one.
#pragma once

#include <algorithm>
#include <compare>
#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

namespace xlb {

template <typename Value>
class Shared {
 public:
  Shared() : value_(nothing()) {}
  Shared(Value value) : value_(std::make_shared<Value>(std::move(value))) {}  // NOLINT: implicit by intent

  operator const Value&() const { return *value_; }  // NOLINT: implicit by intent
  const Value& operator*() const { return *value_; }
  const Value* operator->() const { return value_.get(); }
  // To be changed.
  Value& own() {
    if (value_.use_count() > 1) value_ = std::make_shared<Value>(*value_);
    return *value_;
  }

  [[nodiscard]] bool is(const Shared& other) const { return value_ == other.value_; }
  friend bool operator==(const Shared& left, const Shared& right) { return left.is(right) || *left == *right; }
  friend auto operator<=>(const Shared& left, const Shared& right) { return *left <=> *right; }

 private:
  static const std::shared_ptr<Value>& nothing() {
    static const auto value = std::make_shared<Value>();
    return value;
  }
  std::shared_ptr<Value> value_;
};

// A list whose items are shared one by one: two lists that differ in one item have all others in common.
template <typename Item>
class SharedList {
 public:
  using Pointer = std::shared_ptr<const Item>;
  using value_type = Item;

  class const_iterator {
   public:
    using iterator_category = std::random_access_iterator_tag;
    using value_type = Item;
    using difference_type = std::ptrdiff_t;
    using pointer = const Item*;
    using reference = const Item&;

    const_iterator() = default;
    explicit const_iterator(const Pointer* at) : at_(at) {}
    reference operator*() const { return **at_; }
    pointer operator->() const { return at_->get(); }
    reference operator[](difference_type distance) const { return *at_[distance]; }
    const_iterator& operator++() { return *this += 1; }
    const_iterator operator++(int) { return const_iterator(at_++); }
    const_iterator& operator--() { return *this += -1; }
    const_iterator operator--(int) { return const_iterator(at_--); }
    const_iterator& operator+=(difference_type distance) {
      at_ += distance;
      return *this;
    }
    const_iterator& operator-=(difference_type distance) { return *this += -distance; }
    friend const_iterator operator+(const_iterator it, difference_type distance) { return it += distance; }
    friend const_iterator operator+(difference_type distance, const_iterator it) { return it += distance; }
    friend const_iterator operator-(const_iterator it, difference_type distance) { return it -= distance; }
    friend difference_type operator-(const_iterator left, const_iterator right) { return left.at_ - right.at_; }
    auto operator<=>(const const_iterator&) const = default;

   private:
    const Pointer* at_ = nullptr;
  };

  SharedList() = default;
  SharedList(const std::vector<Item>& items) : SharedList(items.begin(), items.end()) {}        // NOLINT: implicit by intent
  SharedList(std::initializer_list<Item> items) : SharedList(items.begin(), items.end()) {}  // NOLINT: implicit by intent

  [[nodiscard]] const_iterator begin() const { return const_iterator(items_.data()); }
  [[nodiscard]] const_iterator end() const { return const_iterator(items_.data() + items_.size()); }
  [[nodiscard]] std::size_t size() const { return items_.size(); }
  [[nodiscard]] bool empty() const { return items_.empty(); }
  const Item& operator[](std::size_t index) const { return *items_[index]; }
  [[nodiscard]] const Item& at(std::size_t index) const { return *items_.at(index); }
  [[nodiscard]] const Item& front() const { return *items_.front(); }
  [[nodiscard]] const Item& back() const { return *items_.back(); }

  // The items themselves: who remembers one knows it again by its address.
  [[nodiscard]] const std::vector<Pointer>& pointers() const { return items_; }

  void reserve(std::size_t size) { items_.reserve(size); }
  void clear() { items_.clear(); }
  void push_back(Item item) { items_.push_back(std::make_shared<Item>(std::move(item))); }
  void share(Pointer item) { items_.push_back(std::move(item)); }
  // An item, to be changed.
  Item& own(std::size_t index) {
    Pointer& item = items_[index];
    auto copy = std::make_shared<Item>(*item);
    Item& mine = *copy;
    item = std::move(copy);
    return mine;
  }
  template <typename Before>
  void sort(const Before& before) {
    const auto by = [&](const Pointer& a, const Pointer& b) { return before(*a, *b); };
    if (!std::is_sorted(items_.begin(), items_.end(), by)) std::sort(items_.begin(), items_.end(), by);
  }
  template <typename Predicate>
  void remove_if(const Predicate& predicate) {
    std::erase_if(items_, [&](const Pointer& item) { return predicate(*item); });
  }

  friend bool operator==(const SharedList& left, const SharedList& right) {
    return std::equal(left.items_.begin(), left.items_.end(), right.items_.begin(), right.items_.end(),
                      [](const Pointer& a, const Pointer& b) { return a == b || *a == *b; });
  }
  friend auto operator<=>(const SharedList& left, const SharedList& right) {
    return std::lexicographical_compare_three_way(left.begin(), left.end(), right.begin(), right.end());
  }

 private:
  template <typename From>
  SharedList(From from, From to) {
    items_.reserve(static_cast<std::size_t>(to - from));
    for (; from != to; ++from) items_.push_back(std::make_shared<Item>(*from));
  }
  std::vector<Pointer> items_;
};

}  // namespace xlb
