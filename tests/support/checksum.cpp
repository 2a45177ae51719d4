// SPDX-License-Identifier: Apache-2.0
#include "tests/support/checksum.hpp"

#include <cstring>

namespace xlb::packet {

std::uint64_t sum_words(std::span<const std::uint8_t> bytes, std::uint64_t start) {
  std::uint64_t sum = start;
  for (std::size_t i = 0; i < bytes.size(); i += 2) {
    const std::uint32_t low = i + 1 < bytes.size() ? bytes[i + 1] : 0;
    sum += (static_cast<std::uint32_t>(bytes[i]) << 8) | low;
  }
  return sum;
}

std::uint16_t finish_checksum(std::uint64_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum & 0xffff);
}

std::uint16_t internet_checksum(std::span<const std::uint8_t> bytes) {
  return finish_checksum(sum_words(bytes));
}

std::uint64_t pseudo_header_sum(const lb_addr& source, const lb_addr& destination, std::uint8_t protocol,
                                std::uint32_t length) {
  // The words in front of a mapped IPv4 address (::ffff:a.b.c.d) are no part of IPv4's pseudo-header.
  const bool ipv4 =
      destination.word[0] == 0 && destination.word[1] == 0 && destination.word[2] == __builtin_bswap32(0x0000ffffu);
  std::uint64_t sum = protocol + (length >> 16) + (length & 0xffff);
  for (const lb_addr* address : {&source, &destination}) {
    std::uint8_t bytes[16];
    std::memcpy(bytes, address, sizeof bytes);
    sum = sum_words(ipv4 ? std::span<const std::uint8_t>(bytes + 12, 4) : std::span<const std::uint8_t>(bytes, 16),
                    sum);
  }
  return sum;
}

}  // namespace xlb::packet
