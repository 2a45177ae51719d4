// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/address.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

namespace xlb {
namespace {

constexpr std::size_t mapped_bytes = 12;  // ::ffff: in front of an IPv4 address

Error not_an_address(std::string_view text, const std::string& why) {
  return Error{"\"" + std::string(text) + "\": " + why};
}

// The value of 1 to 3 decimal digits without a leading zero: 010 is eight to some programs and ten to others.
std::optional<std::uint8_t> parse_octet(std::string_view text) {
  if (text.empty() || text.size() > 3 || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  unsigned value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  if (value > 255) return std::nullopt;
  return static_cast<std::uint8_t>(value);
}

std::optional<std::array<std::uint8_t, 4>> parse_quad(std::string_view text) {
  std::array<std::uint8_t, 4> quad{};
  for (std::size_t i = 0; i < quad.size(); ++i) {
    const std::size_t dot = text.find('.');
    if ((dot == std::string_view::npos) != (i == 3)) return std::nullopt;
    const auto octet = parse_octet(text.substr(0, dot));
    if (!octet) return std::nullopt;
    quad[i] = *octet;
    text = i == 3 ? std::string_view{} : text.substr(dot + 1);
  }
  return quad;
}

std::optional<std::uint16_t> parse_group(std::string_view text) {
  if (text.empty() || text.size() > 4) return std::nullopt;
  unsigned value = 0;
  for (const char c : text) {
    unsigned digit = 0;
    if (c >= '0' && c <= '9') {
      digit = static_cast<unsigned>(c - '0');
    } else if (c >= 'a' && c <= 'f') {
      digit = static_cast<unsigned>(c - 'a') + 10;
    } else if (c >= 'A' && c <= 'F') {
      digit = static_cast<unsigned>(c - 'A') + 10;
    } else {
      return std::nullopt;
    }
    value = value * 16 + digit;
  }
  return static_cast<std::uint16_t>(value);
}

// Colon-separated groups, the last of which may be a dotted quad; appends their bytes. An empty text has no groups.
bool parse_groups(std::string_view text, bool quad_allowed, std::array<std::uint8_t, 16>& bytes, std::size_t& count) {
  count = 0;
  while (!text.empty()) {
    const std::size_t colon = text.find(':');
    const std::string_view group = text.substr(0, colon);
    if (colon == std::string_view::npos && quad_allowed && group.find('.') != std::string_view::npos) {
      const auto quad = parse_quad(group);
      if (!quad || count + 4 > bytes.size()) return false;
      std::copy(quad->begin(), quad->end(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
      count += 4;
      return true;
    }
    const auto value = parse_group(group);
    if (!value || count + 2 > bytes.size()) return false;
    bytes[count++] = static_cast<std::uint8_t>(*value >> 8);
    bytes[count++] = static_cast<std::uint8_t>(*value & 0xff);
    if (colon == std::string_view::npos) return true;
    text = text.substr(colon + 1);
    if (text.empty()) return false;  // a lone colon at the end
  }
  return true;
}

std::optional<Address> parse_ipv6(std::string_view text) {
  Address address;
  const std::size_t gap = text.find("::");
  std::size_t head = 0;
  if (gap == std::string_view::npos) {
    if (!parse_groups(text, true, address.bytes, head) || head != address.bytes.size()) return std::nullopt;
    return address;
  }
  const std::string_view before = text.substr(0, gap);
  const std::string_view after = text.substr(gap + 2);
  std::array<std::uint8_t, 16> tail_bytes{};
  std::size_t tail = 0;
  if (after.find("::") != std::string_view::npos || after.starts_with(':')) return std::nullopt;
  if (!parse_groups(before, false, address.bytes, head) || !parse_groups(after, true, tail_bytes, tail)) {
    return std::nullopt;
  }
  if (head + tail > address.bytes.size() - 2) return std::nullopt;  // :: stands for one group at least
  std::fill(address.bytes.begin() + static_cast<std::ptrdiff_t>(head), address.bytes.end(), std::uint8_t{0});
  std::copy_n(tail_bytes.begin(), tail, address.bytes.end() - static_cast<std::ptrdiff_t>(tail));
  return address;
}

std::string quad_text(const std::uint8_t* bytes) {
  std::string text;
  for (int i = 0; i < 4; ++i) {
    if (i != 0) text += '.';
    text += std::to_string(bytes[i]);
  }
  return text;
}

// First of the longest runs of zero groups; runs of one are written out (RFC 5952, 4.2.2 and 4.2.3).
struct ZeroRun {
  std::size_t begin = 8;
  std::size_t length = 0;
};
ZeroRun longest_zero_run(const std::array<std::uint16_t, 8>& groups) {
  ZeroRun best;
  for (std::size_t i = 0; i < groups.size();) {
    std::size_t end = i;
    while (end < groups.size() && groups[end] == 0) ++end;
    if (end - i >= 2 && end - i > best.length) best = {i, end - i};
    i = end + 1;
  }
  return best;
}

std::string hex_text(std::uint16_t value) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (int shift = 12; shift >= 0; shift -= 4) {
    const unsigned digit = (value >> shift) & 0xfu;
    if (digit != 0 || !text.empty() || shift == 0) text += digits[digit];
  }
  return text;
}

std::uint64_t half(const std::array<std::uint8_t, 16>& bytes, std::size_t offset) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < 8; ++i) value = value << 8 | bytes[offset + i];
  return value;
}

std::size_t family_bits(Family family) {
  return family == Family::ipv4 ? 32 : 128;
}

// Index, counted in all 128 bits, of the first host bit of a prefix.
std::size_t first_host_bit(const Prefix& prefix) {
  return std::size_t{128} - family_bits(prefix.address.family()) + prefix.length;
}

// Sets every bit from `begin` on to `ones`; says whether that changed anything.
bool fill_bits(std::array<std::uint8_t, 16>& bytes, std::size_t begin, bool ones) {
  const auto before = bytes;
  for (std::size_t byte = begin / 8; byte < bytes.size(); ++byte) {
    const std::uint8_t host =
        byte == begin / 8 ? static_cast<std::uint8_t>(0xffu >> (begin % 8)) : std::uint8_t{0xff};
    bytes[byte] = static_cast<std::uint8_t>(ones ? bytes[byte] | host : bytes[byte] & ~host);
  }
  return bytes != before;
}

}  // namespace

bool Address::unspecified() const {
  const std::size_t begin = family() == Family::ipv4 ? mapped_bytes : 0;
  return std::all_of(bytes.begin() + static_cast<std::ptrdiff_t>(begin), bytes.end(),
                     [](std::uint8_t byte) { return byte == 0; });
}

Address Address::from_ipv4(std::array<std::uint8_t, 4> bytes) {
  Address address;
  address.bytes[10] = address.bytes[11] = 0xff;
  std::copy(bytes.begin(), bytes.end(), address.bytes.begin() + mapped_bytes);
  return address;
}

std::string Address::text() const {
  if (family() == Family::ipv4) return quad_text(bytes.data() + mapped_bytes);
  std::array<std::uint16_t, 8> groups{};
  for (std::size_t i = 0; i < groups.size(); ++i) {
    groups[i] = static_cast<std::uint16_t>(bytes[2 * i] << 8 | bytes[2 * i + 1]);
  }
  const ZeroRun run = longest_zero_run(groups);
  std::string text;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    if (i == run.begin) {
      text += "::";
      i += run.length - 1;
      continue;
    }
    if (!text.empty() && !text.ends_with(':')) text += ':';
    text += hex_text(groups[i]);
  }
  return text;
}

Address Address::next() const {
  Address result = *this;
  const std::size_t begin = family() == Family::ipv4 ? mapped_bytes : 0;
  for (std::size_t i = result.bytes.size(); i-- > begin;) {
    if (++result.bytes[i] != 0) break;
  }
  // IPv6 steps over the block that stands for IPv4.
  if (begin == 0 && result.family() == Family::ipv4) {
    result.bytes.fill(0);
    result.bytes[9] = 1;
  }
  return result;
}

Result<Address> parse_address(std::string_view text) {
  if (text.find(':') == std::string_view::npos) {
    const auto quad = parse_quad(text);
    if (quad) return Address::from_ipv4(*quad);
    return not_an_address(text, "is not an IP address (four numbers from 0 to 255 without leading zeros, or IPv6)");
  }
  const auto address = parse_ipv6(text);
  if (address) return *address;
  return not_an_address(text, "is not an IPv6 address");
}

bool Prefix::contains(const Address& candidate) const {
  if (candidate.family() != address.family()) return false;
  Address network = candidate;
  fill_bits(network.bytes, first_host_bit(*this), false);
  return network == address;
}

Address Prefix::last() const {
  Address result = address;
  fill_bits(result.bytes, first_host_bit(*this), true);
  return result;
}

std::string Prefix::text() const {
  return address.text() + "/" + std::to_string(length);
}

Result<Prefix> parse_prefix(std::string_view text, bool* masked) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos)
    return not_an_address(text, "has no prefix length; one address is /32 or /128");
  const auto address = parse_address(text.substr(0, slash));
  if (!address) return address.error();
  Prefix prefix{*address, 0};
  const Family family = prefix.address.family();
  if (family == Family::ipv4 && text.find(':') != std::string_view::npos) {
    return not_an_address(text, "an IPv4 prefix is written with dots alone");
  }
  const auto length = parse_octet(text.substr(slash + 1));
  if (!length || *length > family_bits(family)) {
    return not_an_address(text, "the prefix length is a number from 0 to " + std::to_string(family_bits(family)));
  }
  prefix.length = *length;
  const bool changed = fill_bits(prefix.address.bytes, first_host_bit(prefix), false);
  if (masked != nullptr) *masked = changed;
  return prefix;
}

std::uint64_t AddressRange::size() const {
  constexpr std::uint64_t saturated = std::numeric_limits<std::int64_t>::max();
  const std::uint64_t low = half(last.bytes, 8) - half(first.bytes, 8);
  const std::uint64_t borrow = half(last.bytes, 8) < half(first.bytes, 8) ? 1 : 0;
  const std::uint64_t high = half(last.bytes, 0) - half(first.bytes, 0) - borrow;
  return high != 0 || low >= saturated ? saturated : low + 1;
}

std::string Mac::text() const {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    if (!text.empty()) text += ':';
    text += digits[byte >> 4];
    text += digits[byte & 0xfu];
  }
  return text;
}

Address solicited_node_group(const Address& address) {
  Address group;
  group.bytes = {0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x01, 0xff};
  std::copy_n(address.bytes.begin() + 13, 3, group.bytes.begin() + 13);
  return group;
}

}  // namespace xlb
