// SPDX-License-Identifier: Apache-2.0
#include "tests/support/packet.hpp"

#include <gtest/gtest.h>

#include "tests/support/decode.hpp"

namespace xlb::packet {
namespace {

const IpAddress kClient("192.168.0.50"), kVip("192.168.0.200");
const IpAddress kClient6("fd00::50"), kVip6("fd00::200");

TEST(Packet, KnownIpv4HeaderBytes) {
  // Header of the example in many textbooks: checksum b861 for 192.168.0.1 -> 192.168.0.199, UDP, length 115.
  const Bytes bytes =
      Ipv4{.source = "192.168.0.1", .destination = "192.168.0.199", .id = 0, .protocol = 17} / Payload::of_size(95);
  ASSERT_EQ(bytes.size(), 115u);
  EXPECT_EQ(bytes[10], 0xb8);
  EXPECT_EQ(bytes[11], 0x61);
}

TEST(Packet, LayersAnnounceWhatFollows) {
  const Bytes bytes = Ethernet{} / Vlan{.id = 7, .priority = 3} / Vlan{.id = 9} /
                      Ipv4{.source = kClient, .destination = kVip} / Udp{.source_port = 1, .destination_port = 53};
  EXPECT_EQ(bytes[12], 0x81);
  EXPECT_EQ(bytes[14], 0x60);
  EXPECT_EQ(bytes[15], 7);
  EXPECT_EQ(bytes[16], 0x81);
  EXPECT_EQ(bytes[20], 0x08);
  EXPECT_EQ(bytes[22 + 9], 17);
  EXPECT_EQ(bytes.size(), 14u + 8 + 20 + 8);
}

TEST(Packet, GivenFieldsAreWrittenAsGiven) {
  const Bytes bytes =
      Ipv4{.source = kClient, .destination = kVip, .protocol = 99, .total_length = 7, .checksum = 0xbeef} /
      Tcp{.checksum = 0xdead};
  EXPECT_EQ(bytes[9], 99);
  EXPECT_EQ(bytes[3], 7);
  EXPECT_EQ(bytes[10], 0xbe);
  EXPECT_EQ(bytes[20 + 16], 0xde);
}

TEST(Packet, UdpThatSumsToZeroIsWrittenAsAllOnes) {
  bool seen = false;
  for (std::uint32_t filler = 0; filler <= 0xffff && !seen; filler++) {
    const Bytes bytes = Ipv4{.source = kClient, .destination = kVip} /
                        Udp{.source_port = 1000, .destination_port = 53} /
                        Payload(Bytes{static_cast<std::uint8_t>(filler >> 8), static_cast<std::uint8_t>(filler)});
    seen = bytes[26] == 0xff && bytes[27] == 0xff;
    EXPECT_FALSE(bytes[26] == 0 && bytes[27] == 0);
    if (seen) {
      EXPECT_TRUE(decode_ip(bytes, false).sound());
    }
  }
  EXPECT_TRUE(seen);
}

TEST(Packet, ExtensionHeadersArePaddedToEightBytes) {
  for (std::size_t body = 0; body < 20; body++) {
    const Bytes bytes = Ipv6{.source = kClient6, .destination = kVip6} /
                        Ipv6Extension{.kind = 0, .body = Bytes(body, 1)} / Ipv6Extension{.kind = 60} /
                        Tcp{.source_port = 1, .destination_port = 2};
    EXPECT_EQ(bytes.size() % 8, (40u + 20u) % 8);
    const Decoded got = decode_ip(bytes, false);
    EXPECT_TRUE(got.sound()) << got.text();
    EXPECT_TRUE(got.tcp);
  }
}

TEST(Packet, FragmentsCarryEverythingOnceInBothFamilies) {
  for (const bool ipv4 : {true, false}) {
    const Packet ip = ipv4 ? Packet(Ipv4{.source = kClient, .destination = kVip})
                           : Packet(Ipv6{.source = kClient6, .destination = kVip6});
    const Packet whole = Packet(Ethernet{}) / ip / Packet(Udp{.source_port = 4711, .destination_port = 53}) /
                         Packet(Payload::of_size(3000));
    const std::vector<Packet> pieces = fragments(whole, 1480);
    ASSERT_EQ(pieces.size(), 3u);
    Bytes collected;
    for (std::size_t i = 0; i < pieces.size(); i++) {
      const Decoded got = decode(pieces[i].bytes());
      EXPECT_TRUE(got.faults.empty()) << got.text();
      EXPECT_TRUE(got.fragment);
      EXPECT_EQ(got.more_fragments, i + 1 < pieces.size());
      EXPECT_EQ(got.fragment_offset, i * 1480);
      EXPECT_EQ(got.protocol, 17);
      if (i == 0) {
        EXPECT_TRUE(got.udp);
        EXPECT_EQ(got.destination_port, 53);
      }
      collected.insert(collected.end(), got.payload.begin(), got.payload.end());
    }
    EXPECT_EQ(collected, Payload::of_size(3000).bytes);
  }
}

TEST(Packet, IcmpErrorHoldsASoundInnerPacket) {
  const Bytes bytes = Ethernet{} / Ipv4{.source = kClient, .destination = kVip} /
                      Icmp{.type = 3, .code = 4, .rest = 1280} / Ipv4{.source = kVip, .destination = kClient} /
                      Tcp{.source_port = 80, .destination_port = 4711} / Payload::of_size(10);
  const Decoded got = decode(bytes);
  EXPECT_TRUE(got.sound()) << got.text();
  ASSERT_NE(got.inner, nullptr);
  EXPECT_EQ(got.inner->source_port, 80);
}

TEST(Packet, AddressesReadAndPrint) {
  EXPECT_EQ(IpAddress("192.168.0.200").text(), "192.168.0.200");
  EXPECT_TRUE(IpAddress("192.168.0.200").is_ipv4());
  EXPECT_EQ(IpAddress("fd00::1").text(), "fd00::1");
  EXPECT_EQ(IpAddress(IpAddress("fd00::1").abi()), IpAddress("fd00::1"));
  EXPECT_EQ(solicited_node("fd00::12:3456").text(), "ff02::1:ff12:3456");
  EXPECT_EQ(multicast_mac("ff02::1:ff12:3456").text(), "33:33:ff:12:34:56");
  EXPECT_THROW(IpAddress("192.168.0"), std::invalid_argument);
  EXPECT_THROW(MacAddress("02:00"), std::invalid_argument);
  EXPECT_EQ(MacAddress("02:00:00:00:00:0a").text(), "02:00:00:00:00:0a");
}

}  // namespace
}  // namespace xlb::packet
