// SPDX-License-Identifier: Apache-2.0
#include "tests/support/checksum.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "tests/support/packet.hpp"

namespace xlb::packet {
namespace {

TEST(Checksum, ExampleOfRfc1071) {
  const std::vector<std::uint8_t> bytes{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(sum_words(bytes), 0x2ddf0u);
  EXPECT_EQ(internet_checksum(bytes), static_cast<std::uint16_t>(~0xddf2));
}

TEST(Checksum, OddLengthCountsAHighByte) {
  const std::vector<std::uint8_t> odd{0x12, 0x34, 0x56};
  const std::vector<std::uint8_t> even{0x12, 0x34, 0x56, 0x00};
  EXPECT_EQ(internet_checksum(odd), internet_checksum(even));
}

TEST(Checksum, NothingSumsToAllOnes) {
  EXPECT_EQ(internet_checksum({}), 0xffff);
}

TEST(Checksum, PseudoHeaderOfIpv4LeavesTheMappedPrefixOut) {
  const IpAddress a("192.168.0.1"), b("192.168.0.200");
  EXPECT_EQ(pseudo_header_sum(a.abi(), b.abi(), 6, 20), 0xc0a8u + 0x0001u + 0xc0a8u + 0x00c8u + 6u + 20u);
}

TEST(Checksum, PseudoHeaderOfIpv6TakesAllWordsAndALongLength) {
  const IpAddress a("fd00::1"), b("fd00::2");
  EXPECT_EQ(pseudo_header_sum(a.abi(), b.abi(), 17, 0x12345), 0xfd00u + 1u + 0xfd00u + 2u + 17u + 0x1u + 0x2345u);
}

}  // namespace
}  // namespace xlb::packet
