// SPDX-License-Identifier: Apache-2.0
// What nobody serves is refused at once: RST (RFC 9293, 3.5.2) or ICMP unreachable, made of the packet itself.
#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/packet/packet_test.hpp"

namespace xlb {
namespace {

using namespace packet;

class RejectTest : public PacketTest {
 protected:
  static constexpr std::uint16_t kClosed = 81;

  // The RST that answers `segment` with `payload` bytes of data.
  void expect_reset(const Fate& fate, const Tcp& segment, std::size_t payload, enum xlb_verdict verdict) {
    expect_sent_back(fate, verdict);
    EXPECT_FALSE(fate.in_xdp);
    const Decoded got = fate.decoded();
    ASSERT_TRUE(got.tcp) << got.text();
    EXPECT_EQ(got.source, vip);
    EXPECT_EQ(got.destination, client);
    EXPECT_EQ(got.source_mac, own_mac);
    EXPECT_EQ(got.destination_mac, client_mac);
    EXPECT_EQ(got.source_port, segment.destination_port);
    EXPECT_EQ(got.destination_port, segment.source_port);
    EXPECT_TRUE(got.payload.empty());
    EXPECT_EQ(got.ip_length, (v4() ? 40u : 60u)) << "no options";
    EXPECT_GE(got.hop_limit, 64);
    EXPECT_FALSE(got.fragment);
    if (segment.flags & kAck) {
      EXPECT_EQ(got.tcp_flags, kRst);
      EXPECT_EQ(got.sequence, segment.acknowledgment);
    } else {
      const std::uint32_t length =
          static_cast<std::uint32_t>(payload) + ((segment.flags & kSyn) ? 1 : 0) + ((segment.flags & kFin) ? 1 : 0);
      EXPECT_EQ(got.tcp_flags, kRst | kAck);
      EXPECT_EQ(got.sequence, 0u);
      EXPECT_EQ(got.acknowledgment, segment.sequence + length);
    }
  }

  void expect_unreachable(const Fate& fate, const Packet& refused, enum xlb_verdict verdict, int type, int code) {
    expect_sent_back(fate, verdict);
    EXPECT_FALSE(fate.in_xdp);
    const Decoded got = fate.decoded();
    ASSERT_TRUE(got.icmp) << got.text();
    EXPECT_EQ(got.source, vip);
    EXPECT_EQ(got.destination, client);
    EXPECT_EQ(got.source_mac, own_mac);
    EXPECT_EQ(got.destination_mac, client_mac);
    EXPECT_EQ(got.icmp_type, type);
    EXPECT_EQ(got.icmp_code, code);
    EXPECT_EQ(got.icmp_rest, 0u);
    EXPECT_GE(got.hop_limit, 64);
    EXPECT_EQ(got.trailer, 0u);
    // The quote is a prefix of what was refused, with at least 8 bytes behind the IP header.
    const Bytes frame = refused.bytes();
    const Bytes datagram(frame.begin() + 14, frame.end());
    EXPECT_GE(got.payload.size(), std::min<std::size_t>(datagram.size(), v4() ? 28 : 48));
    EXPECT_LE(got.payload.size(), datagram.size());
    EXPECT_LE(got.ip_length, v4() ? 576u : 1280u);
    EXPECT_TRUE(std::equal(got.payload.begin(), got.payload.end(), datagram.begin()))
        << hex(got.payload) << hex(datagram);
  }
};
XLB_RUN_SUITE(RejectTest, kResizing, kBothNets);
class RejectIpv4Test : public RejectTest {};
XLB_RUN_SUITE(RejectIpv4Test, kResizing, kIpv4Only);

TEST_P(RejectTest, EveryKindOfSegmentGetsItsReset) {
  for (const int flags : {+kSyn, +kAck, kAck | kPsh, kSyn | kFin, +kFin, kFin | kAck, kSyn | kAck, 0, kPsh | kUrg}) {
    for (const std::size_t payload : {0u, 1u, 7u, 1000u}) {
      Tcp segment = tcp(static_cast<std::uint8_t>(flags), kClientPort, kClosed);
      segment.sequence = 0xfffffff0;  // wraps
      expect_reset(receive(from_client() / segment / Payload::of_size(payload)), segment, payload,
                   XLB_VERDICT_REJECTED_TCP);
    }
  }
}

TEST_P(RejectTest, SegmentWithOptionsGetsAPlainReset) {
  Tcp segment = tcp(kSyn, kClientPort, kClosed);
  segment.options = {2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7};
  expect_reset(receive(from_client() / segment), segment, 0, XLB_VERDICT_REJECTED_TCP);
}

TEST_P(RejectTest, IpOptionsAndExtensionHeadersAreLeftOut) {
  Tcp segment = tcp(kSyn, kClientPort, kClosed);
  Packet packet = Ethernet{.source = client_mac, .destination = own_mac};
  if (v4()) packet /= Ipv4{.source = client, .destination = vip, .options = Bytes(12, 1)};
  if (!v4()) packet /= ip(client, vip) / Ipv6Extension{.kind = 60, .body = Bytes(14, 0)};
  expect_reset(receive(packet / segment / Payload("hello")), segment, 5, XLB_VERDICT_REJECTED_TCP);
}

TEST_P(RejectTest, EthernetPaddingIsNotPayload) {
  Tcp segment = tcp(kSyn, kClientPort, kClosed);
  Bytes frame = from_client() / segment;
  frame.resize(frame.size() + 11, 0);
  expect_reset(receive(Input{.frame = frame, .ifindex = lan}), segment, 0, XLB_VERDICT_REJECTED_TCP);
}

TEST_P(RejectTest, AResetIsNeverAnsweredWithAReset) {
  for (const int flags : {+kRst, kRst | kAck, kRst | kSyn}) {
    const Fate fate = receive(from_client() / tcp(static_cast<std::uint8_t>(flags), kClientPort, kClosed));
    EXPECT_EQ(fate.output.action, fate.in_xdp ? kXdpDrop : kTcShot);
    EXPECT_EQ(fate.verdicts().size(), 1u);
  }
}

TEST_P(RejectTest, DatagramToAClosedPortIsUnreachable) {
  for (const std::size_t size : {0u, 1u, 20u, 500u, 1400u}) {
    const Packet packet = from_client() / udp(kClientPort, kClosed) / Payload::of_size(size);
    expect_unreachable(receive(packet), packet, XLB_VERDICT_REJECTED_UDP, v4() ? 3 : 1, v4() ? 3 : 4);
  }
}

TEST_P(RejectIpv4Test, DatagramWithoutChecksumIsUnreachableToo) {
  Udp header = udp(kClientPort, kClosed);
  header.checksum = 0;
  const Packet packet = from_client() / header / Payload("abc");
  expect_unreachable(receive(packet), packet, XLB_VERDICT_REJECTED_UDP, 3, 3);
}

TEST_P(RejectTest, UnreachableQuotesIpOptions) {
  Packet packet = Ethernet{.source = client_mac, .destination = own_mac};
  if (v4()) packet /= Ipv4{.source = client, .destination = vip, .options = Bytes(40, 1)};
  if (!v4()) packet /= ip(client, vip) / Ipv6Extension{.kind = 60, .body = Bytes(22, 0)};
  packet /= udp(kClientPort, kClosed) / Payload("query");
  expect_unreachable(receive(packet), packet, XLB_VERDICT_REJECTED_UDP, v4() ? 3 : 1, v4() ? 3 : 4);
}

TEST_P(RejectTest, FirstFragmentToAClosedPort) {
  const auto pieces = fragments(from_client() / udp(kClientPort, kClosed) / Payload::of_size(2000), 1200);
  expect_unreachable(receive(pieces[0]), pieces[0], XLB_VERDICT_REJECTED_UDP, v4() ? 3 : 1, v4() ? 3 : 4);
  expect_dropped(receive(pieces[1]), XLB_VERDICT_FRAGMENT_UNKNOWN);
}

TEST_P(RejectTest, UnknownProtocolIsRefused) {
  for (const int protocol : {2, 47, 50, 132, 253}) {
    Packet packet = from_client();
    if (v4()) packet.get<Ipv4>().protocol = static_cast<std::uint8_t>(protocol);
    if (!v4()) packet.get<Ipv6>().next_header = static_cast<std::uint8_t>(protocol);
    packet /= Payload::of_size(40);
    const Fate fate = receive(packet);
    expect_one_verdict(fate, XLB_VERDICT_UNKNOWN_PROTOCOL);
    if (fate.output.action != (fate.in_xdp ? kXdpDrop : kTcShot)) {
      expect_unreachable(fate, packet, XLB_VERDICT_UNKNOWN_PROTOCOL, v4() ? 3 : 1, v4() ? 2 : 4);
    }
  }
}

TEST_P(RejectTest, OtherFamilysIcmpIsAnUnknownProtocol) {
  Packet packet = from_client();
  if (v4()) packet.get<Ipv4>().protocol = IPPROTO_ICMPV6;
  if (!v4()) packet.get<Ipv6>().next_header = IPPROTO_ICMP;
  expect_one_verdict(receive(packet / Payload(Bytes{8, 0, 0, 0, 0, 0, 0, 0})), XLB_VERDICT_UNKNOWN_PROTOCOL);
}

TEST_P(RejectTest, ServiceOfTheOtherProtocolIsNoService) {
  expect_one_verdict(receive(from_client() / udp(kClientPort, 80) / Payload("x")), XLB_VERDICT_REJECTED_UDP);
  expect_one_verdict(receive(from_client() / tcp(kSyn, kClientPort, 53)), XLB_VERDICT_REJECTED_TCP);
}

TEST_P(RejectTest, ServiceOfAnotherVipIsNoService) {
  expect_one_verdict(receive(from_client(client, other_vip) / tcp(kSyn)), XLB_VERDICT_REJECTED_TCP);
}

TEST_P(RejectTest, VipThatDropsSaysNothing) {
  rig().set_vip(vip, vip_row(kVipId, XLB_VIP_DROP));
  const Fate tcp_fate = receive(from_client() / tcp(kSyn, kClientPort, kClosed));
  expect_dropped(tcp_fate, XLB_VERDICT_UNKNOWN_PORT);
  if (with_xdp()) {
    EXPECT_TRUE(tcp_fate.in_xdp) << "drops end in XDP";
  }
  expect_dropped(receive(from_client() / udp(kClientPort, kClosed) / Payload("x")), XLB_VERDICT_UNKNOWN_PORT);
}

TEST_P(RejectTest, VipThatFallsBackLeavesItToTheKernel) {
  rig().set_vip(vip, vip_row(kVipId, XLB_VIP_FALL_BACK));
  for (const Packet& packet :
       {from_client() / tcp(kSyn, kClientPort, kClosed), from_client() / tcp(kRst, kClientPort, kClosed),
        from_client() / udp(kClientPort, kClosed) / Payload("x")}) {
    const Bytes frame = packet;
    expect_left(receive(Input{.frame = frame, .ifindex = lan}), frame, XLB_VERDICT_FALL_BACK);
  }
}

TEST_P(RejectTest, FallBackGoesBeforeDrop) {
  rig().set_vip(vip, vip_row(kVipId, XLB_VIP_FALL_BACK | XLB_VIP_DROP));
  const Bytes frame = from_client() / tcp(kSyn, kClientPort, kClosed);
  expect_left(receive(Input{.frame = frame, .ifindex = lan}), frame, XLB_VERDICT_FALL_BACK);
}

TEST_P(RejectTest, ServiceWithoutBackendRefusesAndSaysSo) {
  lb_service empty = service_row(kWeb);
  empty.slot_count = 0;
  rig().set_service(kVipId, 80, IPPROTO_TCP, empty);
  const Tcp syn = tcp(kSyn);
  const Fate fate = receive(from_client() / syn);
  expect_reset(fate, syn, 0, XLB_VERDICT_NO_BACKEND);
  ASSERT_EQ(fate.events().size(), 1u);
  EXPECT_EQ(fate.events()[0].kind, XLB_EVENT_REFUSED);
  EXPECT_EQ(fate.events()[0].verdict, XLB_VERDICT_NO_BACKEND);
  EXPECT_EQ(IpAddress(fate.events()[0].source), client);
  EXPECT_EQ(ntohs(fate.events()[0].destination_port), 80);
  EXPECT_TRUE(fate.after.half_open.empty());
  EXPECT_EQ(fate.after.services.at(kWeb).flows, 0u);
}

TEST_P(RejectTest, DeadBackendsAreNoBackends) {
  change_backend(kPodA, XLB_BACKEND_LOCAL);
  change_backend(kPodB, XLB_BACKEND_LOCAL);
  const Tcp syn = tcp(kSyn);
  expect_reset(receive(from_client() / syn), syn, 0, XLB_VERDICT_NO_BACKEND);
  change_backend(kPodAUdp, 0);
  change_backend(kPodBUdp, 0);
  const Packet query = from_client() / udp() / Payload("x");
  expect_unreachable(receive(query), query, XLB_VERDICT_NO_BACKEND, v4() ? 3 : 1, v4() ? 3 : 4);
}

TEST_P(RejectTest, WithoutBackendAndWithFallBackItIsTheKernels) {
  rig().set_vip(vip, vip_row(kVipId, XLB_VIP_FALL_BACK));
  fill_slots(kWeb, {0, 0});
  const Bytes frame = from_client() / tcp(kSyn);
  expect_left(receive(Input{.frame = frame, .ifindex = lan}), frame, XLB_VERDICT_FALL_BACK);
}

TEST_P(RejectTest, RefusalsAreLimited) {
  node.reject_per_second = 5;
  rig().set_node(node);
  const Packet packet = from_client() / tcp(kSyn, kClientPort, kClosed);
  unsigned sent = 0, silent = 0;
  const std::uint64_t start = mono_ns();
  for (int i = 0; i < 50; i++) {
    const Fate fate = receive(packet);
    const auto verdicts = fate.verdicts();
    ASSERT_EQ(verdicts.size(), 1u);
    if (verdicts[0] == XLB_VERDICT_REJECTED_TCP) sent++;
    if (verdicts[0] == XLB_VERDICT_REJECT_LIMITED) {
      silent++;
      EXPECT_EQ(fate.output.action, kTcShot);
    }
  }
  EXPECT_EQ(sent + silent, 50u);
  EXPECT_GE(sent, 5u);
  const unsigned seconds = static_cast<unsigned>((mono_ns() - start) / XLB_SECOND_NS) + 1;
  EXPECT_LE(sent, 5 * 2 * (seconds + 1)) << "the test may run on two CPUs, each with its own budget";
}

TEST_P(RejectTest, NoBudgetMeansSilence) {
  node.reject_per_second = 0;
  rig().set_node(node);
  expect_dropped(receive(from_client() / tcp(kSyn, kClientPort, kClosed)), XLB_VERDICT_REJECT_LIMITED);
  expect_dropped(receive(from_client() / udp(kClientPort, kClosed)), XLB_VERDICT_REJECT_LIMITED);
}

TEST_P(RejectTest, TaggedSegmentIsRefusedOnItsVlan) {
  rig().set_link(lan, 7, link);
  const Fate fate = receive(Packet(Ethernet{.source = client_mac, .destination = own_mac}) / Vlan{.id = 7} /
                            ip(client, vip) / tcp(kSyn, kClientPort, kClosed));
  expect_reset(fate, tcp(kSyn, kClientPort, kClosed), 0, XLB_VERDICT_REJECTED_TCP);
}

TEST_P(RejectTest, RefusalInsideAGsoPacket) {
  Tcp segment = tcp(kAck, kClientPort, kClosed);
  Input input{.frame = from_client() / segment / Payload::of_size(2800), .ifindex = lan, .gso_size = 1400};
  expect_reset(receive(input), segment, 2800, XLB_VERDICT_REJECTED_TCP);
}

TEST_P(RejectTest, FromImpossibleSourcesNothingIsRefused) {
  const std::vector<IpAddress> sources =
      v4() ? std::vector<IpAddress>{"0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", vip}
           : std::vector<IpAddress>{"::", "::1", "ff02::1", vip};
  for (const IpAddress& source : sources) {
    expect_dropped(receive(from_client(source, vip) / tcp(kSyn, kClientPort, kClosed)), XLB_VERDICT_MALFORMED);
    expect_dropped(receive(from_client(source, vip) / tcp(kSyn)), XLB_VERDICT_MALFORMED);
  }
}

}  // namespace
}  // namespace xlb
