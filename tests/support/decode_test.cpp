// SPDX-License-Identifier: Apache-2.0
#include "tests/support/decode.hpp"

#include <gtest/gtest.h>

#include <random>

namespace xlb::packet {
namespace {

const IpAddress kClient("192.168.0.50"), kVip("192.168.0.200");
const IpAddress kClient6("fd00::50"), kVip6("fd00::200");

std::vector<Packet> samples() {
  std::vector<Packet> out;
  for (const bool ipv4 : {true, false}) {
    const Packet ip = Packet(Ethernet{}) / (ipv4 ? Packet(Ipv4{.source = kClient, .destination = kVip})
                                                 : Packet(Ipv6{.source = kClient6, .destination = kVip6}));
    out.push_back(ip / Tcp{.source_port = 4711, .destination_port = 80} / Payload("hello"));
    out.push_back(ip / Udp{.source_port = 4711, .destination_port = 53} / Payload("hello"));
    out.push_back(ipv4 ? ip / Icmp{.rest = 7} / Payload("ping") : ip / Icmp6{.rest = 7} / Payload("ping"));
  }
  return out;
}

TEST(Decode, SoundPacketsHaveNoFaults) {
  for (const Packet& packet : samples()) {
    const Decoded got = decode(packet.bytes());
    EXPECT_TRUE(got.sound()) << got.text();
  }
}

TEST(Decode, EveryFlippedByteAfterTheEthernetHeaderIsNoticed) {
  for (const Packet& packet : samples()) {
    const Bytes right = packet.bytes();
    for (std::size_t i = 14; i < right.size(); i++) {
      Bytes wrong = right;
      wrong[i] ^= 0x5a;
      const Decoded got = decode(wrong);
      // IPv6 has no header checksum: class, flow label and hop limit are covered by nothing.
      const bool covered = packet.bytes()[12] == 0x08 || !(i < 18 || i == 21);
      // A changed protocol number, or a fragment offset, takes the checksum out of sight in IPv6's next header.
      if (!covered || i == 20) continue;
      EXPECT_FALSE(got.sound()) << "byte " << i << ": " << got.text();
    }
  }
}

TEST(Decode, NamesTheChecksumThatWouldBeRight) {
  Bytes frame =
      Ethernet{} / Ipv4{.source = kClient, .destination = kVip} / Tcp{.source_port = 1, .destination_port = 2};
  const Bytes right = frame;
  frame[14 + 20 + 16] ^= 0xff;
  const Decoded got = decode(frame);
  ASSERT_EQ(got.faults.size(), 1u);
  char expected[8];
  std::snprintf(expected, sizeof expected, "%02x%02x", right[14 + 20 + 16], right[14 + 20 + 17]);
  EXPECT_NE(got.faults[0].find(std::string("should be ") + expected), std::string::npos) << got.faults[0];
}

TEST(Decode, InnerPacketOfAnErrorMayBeCutShort) {
  const Bytes inner = Ipv4{.source = kVip, .destination = kClient} /
                      Tcp{.source_port = 80, .destination_port = 4711} / Payload::of_size(500);
  for (const std::size_t kept : {28u, 36u, 40u, 200u}) {
    const Bytes frame = Ethernet{} / Ipv4{.source = kClient, .destination = kVip} / Icmp{.type = 3, .code = 4} /
                        Payload(Bytes(inner.begin(), inner.begin() + static_cast<std::ptrdiff_t>(kept)));
    const Decoded got = decode(frame);
    EXPECT_TRUE(got.sound()) << got.text();
    ASSERT_NE(got.inner, nullptr);
    EXPECT_EQ(got.inner->source_port, 80);
    EXPECT_EQ(got.inner->destination_port, 4711);
  }
}

TEST(Decode, AnyPrefixAndAnyNoiseIsReadWithoutHarm) {
  std::mt19937 random(20240601);
  for (const Packet& packet : samples()) {
    const Bytes whole = packet.bytes();
    for (std::size_t length = 0; length < whole.size(); length++) {
      const Decoded got = decode(std::span(whole).first(length));
      EXPECT_FALSE(got.text().empty());
    }
  }
  for (int round = 0; round < 20000; round++) {
    Bytes noise(random() % 120);
    for (std::uint8_t& byte : noise) byte = static_cast<std::uint8_t>(random());
    if (noise.size() > 14 && round % 2) {
      noise[12] = round % 4 == 1 ? 0x08 : 0x86;
      noise[13] = round % 4 == 1 ? 0x00 : 0xdd;
    }
    EXPECT_FALSE(decode(noise).text().empty());
  }
}

TEST(Difference, ShowsBothPacketsAndTheLines) {
  const Bytes a =
      Ethernet{} / Ipv4{.source = kClient, .destination = kVip} / Udp{.source_port = 1, .destination_port = 2};
  Bytes b = a;
  b[20] ^= 1;
  EXPECT_EQ(difference(a, a), "");
  EXPECT_NE(difference(a, b).find("+ 0010"), std::string::npos) << difference(a, b);
  b.push_back(0);
  EXPECT_NE(difference(a, b).find("length 43, expected 42"), std::string::npos) << difference(a, b);
}

}  // namespace
}  // namespace xlb::packet
