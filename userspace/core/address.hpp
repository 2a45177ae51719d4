// SPDX-License-Identifier: Apache-2.0
// Addresses, prefixes, inclusive ranges and MACs as values. All bytes are in network order; IPv4 is held as
// ::ffff:a.b.c.d (RFC 4291, 2.5.5.2), which is also how the tables hold it.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "maps/abi.h"
#include "userspace/core/result.hpp"

namespace xlb {

enum class Family : std::uint8_t { ipv4, ipv6 };

struct Address {
  std::array<std::uint8_t, 16> bytes{};

  [[nodiscard]] Family family() const { return half(0) == 0 && half(8) >> 32 == 0xffff ? Family::ipv4 : Family::ipv6; }
  [[nodiscard]] bool unspecified() const;  // :: or 0.0.0.0
  [[nodiscard]] lb_addr to_abi() const {
    lb_addr address;
    std::memcpy(&address, bytes.data(), sizeof address);
    return address;
  }
  static Address from_abi(const lb_addr& address) {
    Address result;
    std::memcpy(result.bytes.data(), &address, sizeof address);
    return result;
  }
  static Address from_ipv4(std::array<std::uint8_t, 4> bytes);
  [[nodiscard]] std::string text() const;  // 192.168.0.200, fd00::1 (RFC 5952)
  // The next address; wraps at the end of the family's space.
  [[nodiscard]] Address next() const;

  // Addresses are what nearly every map here is searched by: two comparisons of words, not sixteen of bytes.
  friend bool operator==(const Address& left, const Address& right) {
    return std::memcmp(left.bytes.data(), right.bytes.data(), sizeof left.bytes) == 0;
  }
  friend std::strong_ordering operator<=>(const Address& left, const Address& right) {
    const auto order = left.half(0) <=> right.half(0);
    return order != 0 ? order : left.half(8) <=> right.half(8);
  }
  // Eight of the bytes as a number, the first one weighs most.
  [[nodiscard]] std::uint64_t half(std::size_t from) const {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data() + from, sizeof value);
    return std::endian::native == std::endian::little ? __builtin_bswap64(value) : value;
  }
};

// Dotted quad without leading zeros, or any RFC 4291 text form; no zone, no blanks.
Result<Address> parse_address(std::string_view text);

struct Prefix {
  Address address;          // host bits are zero
  std::uint8_t length = 0;  // 0..32 or 0..128, in the family's own count

  [[nodiscard]] bool contains(const Address& candidate) const;
  [[nodiscard]] Address first() const { return address; }
  [[nodiscard]] Address last() const;
  [[nodiscard]] std::string text() const;
  auto operator<=>(const Prefix&) const = default;
};

// "192.168.0.0/24"; host bits are masked away and `*masked`, where given, says whether there were any.
Result<Prefix> parse_prefix(std::string_view text, bool* masked = nullptr);

struct AddressRange {
  Address first;
  Address last;      // inclusive, same family, not before first
  std::string text;  // as the user wrote it

  [[nodiscard]] bool contains(const Address& candidate) const { return first <= candidate && candidate <= last; }
  [[nodiscard]] bool overlaps(const AddressRange& other) const { return first <= other.last && other.first <= last; }
  // Number of addresses, saturated at 2^63 - 1.
  [[nodiscard]] std::uint64_t size() const;
  auto operator<=>(const AddressRange&) const = default;
};

struct Mac {
  std::array<std::uint8_t, 6> bytes{};
  [[nodiscard]] std::string text() const;  // aa:bb:cc:dd:ee:ff
  auto operator<=>(const Mac&) const = default;
};

// ff02::1:ffXX:XXXX of an IPv6 address (RFC 4291, 2.7.1).
Address solicited_node_group(const Address& address);

}  // namespace xlb
