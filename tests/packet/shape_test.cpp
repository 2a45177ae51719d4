// SPDX-License-Identifier: Apache-2.0
// Frames of odd shape for a VIP: cut short, with options and extension headers, contradicting themselves, tagged,
// large.
#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/packet/packet_test.hpp"

namespace xlb {
namespace {

using namespace packet;

class ShapeTest : public PacketTest {
 protected:
  Packet ethernet() const { return Ethernet{.source = client_mac, .destination = own_mac}; }
  std::size_t header() const { return v4() ? 20 : 40; }
};
XLB_RUN_SUITE(ShapeTest, kEveryWay, kBothNets);
class ShapeIpv6Test : public ShapeTest {};
XLB_RUN_SUITE(ShapeIpv6Test, kEveryWay, kIpv6Only);
class ShapeRefusedTest : public ShapeTest {};
XLB_RUN_SUITE(ShapeRefusedTest, kResizing, kIpv6Only);
class ShapeIpv4Test : public ShapeTest {};
XLB_RUN_SUITE(ShapeIpv4Test, kEveryWay, kIpv4Only);

// What is too short to show an address passes; what shows a VIP and ends within its headers is dropped and counted.
// The kernel has cut tc's frames to their IP length before; the programs do not rely on it.
TEST_P(ShapeTest, CutAtEveryByte) {
  const std::vector<Packet> wholes = {
      from_client() / tcp(kSyn) / Payload("data"),
      from_client() / udp() / Payload("data"),
      from_client() / (v4() ? Packet(Icmp{}) : Packet(Icmp6{})) / Payload("data"),
      from_client() / (v4() ? Packet(Icmp{.type = 3, .code = 4}) : Packet(Icmp6{.type = 2})) / ip(vip, client) /
          Tcp{.source_port = 80, .destination_port = kClientPort},
  };
  for (const Packet& whole : wholes) {
    const Bytes frame = whole;
    for (std::size_t length = 14; length < frame.size(); length++) {
      if (length < 14 + header()) {
        expect_ignored_cut(frame, length);
        continue;
      }
      const Fate fate = receive_cut(frame, length);
      expect_dropped(fate, XLB_VERDICT_MALFORMED);
      EXPECT_TRUE(fate.after.half_open.empty());
      if (HasFailure()) FAIL() << "cut at " << length << " of " << decode(frame).text();
    }
  }
}

TEST_P(ShapeTest, CutWithFallBackGoesToTheKernel) {
  rig().set_vip(vip, vip_row(kVipId, XLB_VIP_FALL_BACK));
  const Bytes frame = from_client() / tcp(kSyn);
  for (std::size_t length = 14 + header(); length < frame.size(); length++) {
    const Fate fate = receive_cut(frame, length);
    expect_left(fate, Bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length)),
                XLB_VERDICT_FALL_BACK);
  }
}

TEST_P(ShapeTest, AnswersCutAtEveryBytePassAsTheyAre) {
  open_connection();
  const Bytes frame = from_pod(pod_a, client) / tcp_answer(kAck) / Payload("data");
  for (std::size_t length = 14; length < frame.size(); length++) {
    Traces before = rig().traces();
    const Output output = rig().run(
        Program::return_tc,
        Input{.frame = frame, .ifindex = sandbox().pod0.ifindex, .cut = static_cast<std::uint32_t>(length)});
    EXPECT_EQ(output.action, kTcUnspec) << length;
    EXPECT_EQ(difference(Bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length)), output.frame),
              "");
  }
}

TEST_P(ShapeIpv4Test, IpOptions) {
  for (std::size_t size = 4; size <= 40; size += 4) {
    Packet in = from_client() / tcp(kSyn), out = from_client(client, pod_a) / tcp(kSyn, kClientPort, 8080);
    in.get<Ipv4>().options = out.get<Ipv4>().options = Bytes(size, 1);
    expect_forwarded(receive(in), out, XLB_VERDICT_TO_POD);
  }
  Packet answered = from_pod(pod_a, client) / tcp_answer(kSyn | kAck);
  answered.get<Ipv4>().options = Bytes(12, 1);
  const Fate fate = answer(answered);
  expect_one_verdict(fate, XLB_VERDICT_RETURNED);
  EXPECT_TRUE(fate.decoded().sound()) << fate.decoded().text();
}

TEST_P(ShapeIpv6Test, ExtensionHeaders) {
  const auto with = [&](const IpAddress& to, std::uint16_t port, const std::vector<Ipv6Extension>& extensions) {
    Packet packet = from_client(client, to);
    for (const Ipv6Extension& extension : extensions) packet /= extension;
    return packet / tcp(kSyn, kClientPort, port);
  };
  const Ipv6Extension hop{.kind = 0, .body = Bytes(6, 0)}, options{.kind = 60, .body = Bytes(14, 0)},
      routing{.kind = 43, .body = Bytes{0, 0, 0, 0, 0, 0}};
  for (const auto& extensions : {std::vector<Ipv6Extension>{hop},
                                 {options},
                                 {routing},
                                 {hop, options},
                                 {hop, options, routing},
                                 {hop, options, routing, options}}) {
    expect_forwarded(receive(with(vip, 80, extensions)), with(pod_a, 8080, extensions), XLB_VERDICT_TO_POD);
  }
}

TEST_P(ShapeRefusedTest, ExtensionHeadersWithoutEnd) {
  // More of them, or longer ones, than anybody sends: dropped, never half understood.
  for (const std::size_t count : {7u, 12u, 60u}) {
    Packet packet = from_client();
    for (std::size_t i = 0; i < count; i++) packet /= Ipv6Extension{.kind = 60, .body = Bytes(6, 0)};
    const Fate fate = receive(packet / tcp(kSyn));
    EXPECT_EQ(fate.verdicts().size(), 1u);
    EXPECT_NE(fate.output.action, fate.in_xdp ? kXdpPass : kTcUnspec) << "never to a forwarding kernel";
    EXPECT_TRUE(fate.after.half_open.empty());
  }
  for (const std::size_t size : {256u, 1024u, 2038u}) {
    const Fate fate = receive(from_client() / Ipv6Extension{.kind = 60, .body = Bytes(size, 0)} / tcp(kSyn));
    EXPECT_EQ(fate.verdicts().size(), 1u);
    EXPECT_TRUE(fate.after.half_open.empty());
  }
  // One that points beyond the packet.
  Bytes liar = from_client() / Ipv6Extension{.kind = 60, .body = Bytes(6, 0)} / tcp(kSyn);
  liar[14 + 40 + 1] = 200;
  expect_dropped(receive(Input{.frame = liar, .ifindex = lan}), XLB_VERDICT_MALFORMED);
}

TEST_P(ShapeIpv6Test, NoNextHeader) {
  Packet packet = from_client();
  packet.get<Ipv6>().next_header = 59;
  expect_one_verdict(receive(packet / Payload("x")), XLB_VERDICT_UNKNOWN_PROTOCOL);
}

TEST_P(ShapeTest, HeadersThatContradictThemselves) {
  std::vector<Packet> broken;
  for (const int words : {0, 1, 4}) {
    Tcp segment = tcp(kSyn);
    segment.header_words = static_cast<std::uint8_t>(words);
    broken.push_back(from_client() / segment);
  }
  Tcp beyond = tcp(kSyn);
  beyond.header_words = 15;
  broken.push_back(from_client() / beyond);
  if (v4()) {
    for (const int words : {0, 1, 4}) {
      Packet packet = from_client() / tcp(kSyn);
      packet.get<Ipv4>().header_words = static_cast<std::uint8_t>(words);
      broken.push_back(packet);
    }
    for (const int length : {0, 19, 20, 39, 41, 1500}) {
      Packet packet = from_client() / tcp(kSyn);
      packet.get<Ipv4>().total_length = static_cast<std::uint16_t>(length);
      broken.push_back(packet);
    }
  } else {
    for (const int length : {0, 1, 19, 21, 1500}) {
      Packet packet = from_client() / tcp(kSyn);
      packet.get<Ipv6>().payload_length = static_cast<std::uint16_t>(length);
      broken.push_back(packet);
    }
  }
  for (const Packet& packet : broken) {
    const Fate fate = receive(packet);
    expect_dropped(fate, XLB_VERDICT_MALFORMED);
    EXPECT_TRUE(fate.after.half_open.empty()) << decode(packet.bytes()).text();
  }
}

TEST_P(ShapeTest, VersionThatIsNotTheTypes) {
  Bytes frame = from_client() / tcp(kSyn);
  frame[14] = static_cast<std::uint8_t>((frame[14] & 0x0f) | (v4() ? 0x60 : 0x40));
  expect_dropped(receive(Input{.frame = frame, .ifindex = lan}), XLB_VERDICT_MALFORMED);
}

TEST_P(ShapeIpv6Test, MappedAddressesInIpv6AreNobodysVip) {
  // ::ffff:192.168.0.200 is how the tables keep the IPv4 VIP. On the wire it means nothing.
  rig().set_vip("192.168.0.200", vip_row(9));
  rig().set_service(9, 80, IPPROTO_TCP, service_row(kWeb));
  const IpAddress mapped_client("::ffff:192.168.0.50"), mapped_vip("::ffff:192.168.0.200");
  expect_ignored(ethernet() / Ipv6{.source = mapped_client, .destination = mapped_vip} / tcp(kSyn));
  const Fate fate = receive(ethernet() / Ipv6{.source = mapped_client, .destination = vip} / tcp(kSyn));
  EXPECT_NE(fate.output.action, kTcRedirect) << "a mapped source is no client";
}

TEST_P(ShapeTest, EthernetPaddingStaysOutside) {
  Bytes in = from_client() / tcp(kAck), out = from_client(client, pod_a) / tcp(kAck, kClientPort, 8080);
  in.resize(in.size() + 6, 0x99);
  out.resize(out.size() + 6, 0x99);
  const Fate fate = receive(Input{.frame = in, .ifindex = lan});
  expect_one_verdict(fate, XLB_VERDICT_TO_POD);
  EXPECT_EQ(difference(out, fate.output.frame), "");
}

// ---- tags ----

TEST_P(ShapeTest, TaggedClientIsServedOnItsVlan) {
  lb_link tagged = link;
  tagged.l3_ifindex = sandbox().lan1.ifindex;  // stands in for the VLAN device
  rig().set_link(lan, 7, tagged);
  const Packet packet = ethernet() / Vlan{.id = 7, .priority = 3} / ip(client, vip) / tcp(kSyn);
  const Fate fate = receive(packet);
  // The pod's side knows no tags.
  expect_forwarded(fate, from_client(client, pod_a) / tcp(kSyn, kClientPort, 8080), XLB_VERDICT_TO_POD);
  ASSERT_EQ(fate.after.half_open.size(), 2u);
}

TEST_P(ShapeTest, AnotherVlanIsNotOurs) {
  rig().set_link(lan, 7, link);
  expect_ignored(ethernet() / Vlan{.id = 8} / ip(client, vip) / tcp(kSyn));
}

TEST_P(ShapeTest, TwoTagsPass) {
  rig().set_link(lan, 7, link);
  rig().set_link(lan, 8, link);
  expect_ignored(ethernet() / Vlan{.id = 7} / Vlan{.id = 8} / ip(client, vip) / tcp(kSyn));
  expect_ignored(ethernet() / Vlan{.id = 7, .tag_type = kTypeQinq} / Vlan{.id = 8} / ip(client, vip) / tcp(kSyn));
  expect_ignored(ethernet() / Vlan{.id = 7} / Vlan{.id = 8} / Vlan{.id = 7} / ip(client, vip) / tcp(kSyn));
}

TEST_P(ShapeTest, TagWithoutAnythingBehindPasses) {
  const Bytes frame = ethernet() / Vlan{.id = 7, .type = kTypeIpv4};
  const Output output =
      rig().run(with_xdp() ? Program::lan_xdp : Program::lan_tc, Input{.frame = frame, .ifindex = lan});
  EXPECT_EQ(output.action, with_xdp() ? kXdpPass : kTcUnspec);
  EXPECT_EQ(difference(frame, output.frame), "");
}

}  // namespace
}  // namespace xlb
