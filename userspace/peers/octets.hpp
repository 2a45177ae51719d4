// SPDX-License-Identifier: Apache-2.0
// Bytes of the wire, one value after another: numbers in network order, text behind its length. Reading past the end
// sets a flag and yields zeros; it never reads what is not there.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace xlb {

using Octets = std::vector<std::uint8_t>;

class OctetWriter {
 public:
  template <std::integral T>
  void number(T value) {
    const auto bits = static_cast<std::make_unsigned_t<T>>(value);
    for (std::size_t i = sizeof(T); i-- > 0;) octets_.push_back(static_cast<std::uint8_t>(bits >> (8 * i)));
  }
  void raw(std::span<const std::uint8_t> bytes) { octets_.insert(octets_.end(), bytes.begin(), bytes.end()); }
  void text(std::string_view value) {  // at most 255 bytes
    number(static_cast<std::uint8_t>(value.size()));
    octets_.insert(octets_.end(), value.begin(), value.end());
  }
  [[nodiscard]] std::span<const std::uint8_t> octets() const { return octets_; }
  [[nodiscard]] Octets take() { return std::move(octets_); }

 private:
  Octets octets_;
};

class OctetReader {
 public:
  explicit OctetReader(std::span<const std::uint8_t> octets) : left_(octets) {}

  template <std::integral T>
  T number() {
    std::make_unsigned_t<T> bits = 0;
    for (const std::uint8_t octet : raw(sizeof(T)))
      bits = static_cast<decltype(bits)>(static_cast<std::uint64_t>(bits) << 8 | octet);
    return static_cast<T>(bits);
  }
  // Empty where there are fewer.
  std::span<const std::uint8_t> raw(std::size_t count) {
    if (count > left_.size()) {
      short_ = true;
      left_ = {};
      return {};
    }
    const auto taken = left_.first(count);
    left_ = left_.subspan(count);
    return taken;
  }
  template <std::size_t N>
  void raw(std::array<std::uint8_t, N>& into) {
    const auto taken = raw(N);
    std::copy(taken.begin(), taken.end(), into.begin());
  }
  std::string text() {
    const auto taken = raw(number<std::uint8_t>());
    return {taken.begin(), taken.end()};
  }
  [[nodiscard]] std::span<const std::uint8_t> rest() const { return left_; }
  [[nodiscard]] bool cut_short() const { return short_; }

 private:
  std::span<const std::uint8_t> left_;
  bool short_ = false;
};

}  // namespace xlb
