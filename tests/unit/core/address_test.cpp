// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/address.hpp"

#include <arpa/inet.h>

#include <cstring>

#include "tests/unit/core/build.hpp"

namespace xlb {
namespace {

using test::address;
using test::below;
using test::prefix;
using test::range;

TEST(Address, IPv4IsHeldMapped) {
  const Address parsed = address("192.168.0.200");
  EXPECT_EQ(parsed.family(), Family::ipv4);
  EXPECT_EQ(parsed.bytes[10], 0xff);
  EXPECT_EQ(parsed.bytes[12], 192);
  EXPECT_EQ(parsed.text(), "192.168.0.200");
  EXPECT_EQ(parsed, Address::from_ipv4({192, 168, 0, 200}));
  EXPECT_EQ(address("::ffff:192.168.0.200"), parsed);
  EXPECT_EQ(Address::from_abi(parsed.to_abi()), parsed);
}

TEST(Address, WritesIPv6AsRfc5952) {
  const std::pair<const char*, const char*> cases[] = {
      {"2001:0DB8:0:0:0:0:0:1", "2001:db8::1"},          // 4.1, 4.2.1, 4.3
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},  // 4.2.2: a single zero group is written
      {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},           // 4.2.3: the longest run
      {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},     // and of equals the first
      {"::", "::"},
      {"::1", "::1"},
      {"1::", "1::"},
      {"fe80::0:1.2.3.4", "fe80::102:304"},
      {"0:0:1::", "0:0:1::"},
      {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
      {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
  };
  for (const auto& [from, to] : cases) EXPECT_EQ(address(from).text(), to) << from;
}

TEST(Address, RefusesWhatIsNoAddress) {
  for (const char* text : {"",
                           "1",
                           "1.2.3",
                           "1.2.3.4.5",
                           "1.2.3.256",
                           "01.2.3.4",
                           "1.2.3.4 ",
                           " 1.2.3.4",
                           "1..2.3",
                           "1.2.3.",
                           ".1.2.3",
                           "1.2.3.4/24",
                           "a.b.c.d",
                           "0x1.2.3.4",
                           "-1.2.3.4",
                           ":",
                           ":::",
                           "1::2::3",
                           "::1::",
                           "1:2:3:4:5:6:7",
                           "1:2:3:4:5:6:7:8:9",
                           "1:2:3:4:5:6:7:8::",
                           "::1:2:3:4:5:6:7:8",
                           "12345::",
                           "g::",
                           "fe80::1%eth0",
                           "1:2:3:4:5:6:7:",
                           ":1:2:3:4:5:6:7",
                           "1:2:3:4:5:6:1.2.3",
                           "1.2.3.4::",
                           "::1.2.3.4:5",
                           "1:2:3:4:5:6:7:1.2.3.4",
                           "[::1]",
                           "::ffff:1.2.3.04"}) {
    const auto parsed = parse_address(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_NE(parsed.error().text.find(text), std::string::npos);
  }
}

// Random addresses with many zero groups; the C library is the second opinion.
TEST(Address, RoundTripsLikeTheCLibrary) {
  test::Random random(1);
  for (int i = 0; i < 20000; ++i) {
    Address original;
    for (std::size_t byte = 0; byte < 16; byte += 2) {
      if (test::chance(random, 50)) continue;
      original.bytes[byte] = static_cast<std::uint8_t>(test::chance(random, 50) ? 0 : random());
      original.bytes[byte + 1] = static_cast<std::uint8_t>(random());
    }
    const std::string text = original.text();
    EXPECT_EQ(address(text), original) << text;
    in6_addr other{};
    ASSERT_EQ(
        inet_pton(AF_INET6, text.find(':') == std::string::npos ? ("::ffff:" + text).c_str() : text.c_str(), &other),
        1)
        << text;
    EXPECT_EQ(std::memcmp(&other, original.bytes.data(), 16), 0) << text;
  }
}

TEST(Address, RandomTextIsJudgedLikeTheCLibrary) {
  test::Random random(2);
  const std::string alphabet = "0123abf:::...";
  int accepted = 0;
  for (int i = 0; i < 300000; ++i) {
    std::string text;
    for (std::uint32_t length = below(random, 14); length > 0; --length) text += alphabet[below(random, 13)];
    in6_addr six{};
    in_addr four{};
    const bool theirs = inet_pton(AF_INET6, text.c_str(), &six) == 1 || inet_pton(AF_INET, text.c_str(), &four) == 1;
    const bool ours = static_cast<bool>(parse_address(text));
    EXPECT_EQ(ours, theirs) << text;
    accepted += ours ? 1 : 0;
  }
  EXPECT_GT(accepted, 100);
}

TEST(Address, NextStaysInItsFamily) {
  EXPECT_EQ(address("192.168.0.255").next(), address("192.168.1.0"));
  EXPECT_EQ(address("255.255.255.255").next(), address("0.0.0.0"));
  EXPECT_EQ(address("fd00::ffff").next(), address("fd00::1:0"));
  EXPECT_EQ(address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff").next(), address("::"));
  EXPECT_EQ(address("::fffe:ffff:ffff").next(), address("::1:0:0:0"));  // over the IPv4 block
}

TEST(Address, Unspecified) {
  EXPECT_TRUE(address("::").unspecified());
  EXPECT_TRUE(address("0.0.0.0").unspecified());
  EXPECT_FALSE(address("::1").unspecified());
  EXPECT_FALSE(address("0.0.0.1").unspecified());
}

TEST(Prefix, MasksHostBitsAndSaysSo) {
  bool masked = false;
  auto parsed = parse_prefix("192.168.0.200/24", &masked);
  ASSERT_TRUE(parsed);
  EXPECT_TRUE(masked);
  EXPECT_EQ(parsed->text(), "192.168.0.0/24");
  parsed = parse_prefix("192.168.0.0/24", &masked);
  EXPECT_FALSE(masked);
  EXPECT_EQ(prefix("10.1.2.3/0").text(), "0.0.0.0/0");
  EXPECT_EQ(prefix("fd00:1:2:3::5/61").text(), "fd00:1:2::/61");
  EXPECT_EQ(prefix("::1/128").last(), address("::1"));
}

TEST(Prefix, ContainsItsOwnFamilyOnly) {
  EXPECT_TRUE(prefix("192.168.0.0/24").contains(address("192.168.0.255")));
  EXPECT_FALSE(prefix("192.168.0.0/24").contains(address("192.168.1.0")));
  EXPECT_TRUE(prefix("0.0.0.0/0").contains(address("8.8.8.8")));
  EXPECT_FALSE(prefix("::/0").contains(address("8.8.8.8")));
  EXPECT_FALSE(prefix("0.0.0.0/0").contains(address("fd00::1")));
  EXPECT_TRUE(prefix("::/0").contains(address("fd00::1")));
}

TEST(Prefix, LastAddress) {
  EXPECT_EQ(prefix("192.168.0.0/23").last(), address("192.168.1.255"));
  EXPECT_EQ(prefix("fd00::/64").last(), address("fd00::ffff:ffff:ffff:ffff"));
  EXPECT_EQ(prefix("192.168.0.7/32").last(), address("192.168.0.7"));
}

TEST(Prefix, RefusesWhatIsNone) {
  for (const char* text :
       {"192.168.0.1", "192.168.0.0/33", "192.168.0.0/", "/24", "192.168.0.0/-1", "192.168.0.0/024",
        "192.168.0.0/24/8", "fd00::/129", "::ffff:1.2.3.0/120", "1.2.3.0 /24", "1.2.3.0/24 "}) {
    EXPECT_FALSE(parse_prefix(text)) << text;
  }
}

TEST(AddressRange, CountsItsAddresses) {
  EXPECT_EQ(range("192.168.0.200-192.168.0.250").size(), 51u);
  EXPECT_EQ(range("192.168.0.7/32").size(), 1u);
  EXPECT_EQ(range("0.0.0.0/0").size(), std::uint64_t{1} << 32);
  EXPECT_EQ(range("fd00::ffff-fd00::1:0").size(), 2u);
  EXPECT_EQ(range("fd00::/66").size(), std::uint64_t{1} << 62);
  EXPECT_EQ(range("fd00::/65").size(), (std::uint64_t{1} << 63) - 1);  // saturated
  EXPECT_EQ(range("fd00::/64").size(), (std::uint64_t{1} << 63) - 1);
  EXPECT_EQ(range("::/0").size(), (std::uint64_t{1} << 63) - 1);
  EXPECT_EQ(range("fd00::ffff:ffff:ffff:ffff-fd00:0:0:1::").size(), 2u);  // borrow over the halves
}

TEST(Mac, Text) {
  EXPECT_EQ((Mac{{0x02, 0, 0xab, 0xcd, 0xef, 0x1f}}.text()), "02:00:ab:cd:ef:1f");
}

TEST(SolicitedNodeGroup, TakesTheLowest24Bits) {
  EXPECT_EQ(solicited_node_group(address("fd00::1:abcd:ef12")).text(), "ff02::1:ffcd:ef12");
}

}  // namespace
}  // namespace xlb
