// SPDX-License-Identifier: Apache-2.0
// Neighbour discovery (RFC 4861) for a VIP: solicitations are answered, advertisements of others are conflicts.
#include <netinet/in.h>

#include "tests/packet/packet_test.hpp"

namespace xlb {
namespace {

using namespace packet;

constexpr std::uint32_t kSolicited = 0x40000000, kOverride = 0x20000000, kRouter = 0x80000000;

class NdTest : public PacketTest {
 protected:
  // As hosts ask: from a unicast address to the solicited-node group.
  Packet solicitation(std::optional<MacAddress> source_link) const {
    return solicitation_to(multicast_mac(solicited_node(vip)), solicited_node(vip), source_link);
  }
  Packet solicitation_to(const MacAddress& mac, const IpAddress& to, std::optional<MacAddress> source_link) const {
    return Ethernet{.source = client_mac, .destination = mac} /
           Ipv6{.source = client, .destination = to, .hop_limit = 255} / neighbor_solicitation(vip, source_link);
  }

  void expect_advertisement(const Fate& fate, const IpAddress& to, const MacAddress& to_mac, std::uint32_t flags,
                            const MacAddress& mac) {
    expect_sent_back(fate, XLB_VERDICT_ND_REPLY);
    const Packet expected = Ethernet{.source = mac, .destination = to_mac} /
                            Ipv6{.source = vip, .destination = to, .hop_limit = 255} /
                            neighbor_advertisement(vip, flags, mac);
    EXPECT_EQ(difference(expected.bytes(), fate.output.frame), "");
  }
};
XLB_RUN_SUITE(NdTest, kEveryWay, kIpv6Only);

TEST_P(NdTest, SolicitationToTheGroupIsAnswered) {
  const Packet question = solicitation(client_mac);
  const Fate fate = receive(question);
  expect_advertisement(fate, client, client_mac, kSolicited, own_mac);
  if (with_xdp()) {
    EXPECT_TRUE(fate.in_xdp) << "the option's place is there: XDP answers";
  }
  EXPECT_EQ(fate.after.counters[XLB_VERDICT_ND_REPLY].bytes, question.bytes().size());
}

TEST_P(NdTest, UnicastSolicitationIsAnswered) {
  // As hosts check a neighbour that they know (RFC 4861, 7.3.3): with and without the option.
  expect_advertisement(receive(solicitation_to(own_mac, vip, client_mac)), client, client_mac, kSolicited, own_mac);
  expect_advertisement(receive(solicitation_to(own_mac, vip, std::nullopt)), client, client_mac, kSolicited, own_mac);
}

TEST_P(NdTest, SolicitationWithoutOptionIsAnsweredByTheTwin) {
  const Fate fate = receive(solicitation(std::nullopt));
  expect_advertisement(fate, client, client_mac, kSolicited, own_mac);
  EXPECT_FALSE(fate.in_xdp);
}

TEST_P(NdTest, DuplicateAddressDetectionIsToldToAllNodes) {
  // From ::, without option; the answer goes to all nodes, unsolicited (RFC 4861, 7.2.4).
  const Fate fate = receive(Ethernet{.source = client_mac, .destination = multicast_mac(solicited_node(vip))} /
                            Ipv6{.source = "::", .destination = solicited_node(vip), .hop_limit = 255} /
                            neighbor_solicitation(vip, std::nullopt));
  expect_advertisement(fate, "ff02::1", "33:33:00:00:00:01", 0, own_mac);
}

TEST_P(NdTest, DetectionWithNonceIsToldToAllNodes) {
  // Enhanced duplicate address detection (RFC 7527) adds a nonce option.
  Packet question = Ethernet{.source = client_mac, .destination = multicast_mac(solicited_node(vip))} /
                    Ipv6{.source = "::", .destination = solicited_node(vip), .hop_limit = 255} /
                    neighbor_solicitation(vip, std::nullopt);
  question /= Payload(Bytes{14, 1, 1, 2, 3, 4, 5, 6});
  expect_advertisement(receive(question), "ff02::1", "33:33:00:00:00:01", 0, own_mac);
}

TEST_P(NdTest, FurtherOptionsDoNotHinder) {
  Packet question = solicitation(client_mac);
  question /= Payload(Bytes{14, 1, 1, 2, 3, 4, 5, 6});
  expect_advertisement(receive(question), client, client_mac, kSolicited, own_mac);
}

TEST_P(NdTest, ReplyGoesToTheAskersLinkAddress) {
  // Frames come through a switch; the option may name another MAC than the frame only on odd networks. RFC
  // 4861, 7.2.4: the answer goes to the solicitation's source, whose link address the frame shows.
  const Fate fate = receive(solicitation(client_mac));
  EXPECT_EQ(fate.decoded().destination_mac, client_mac);
}

TEST_P(NdTest, HopLimitMustBe255) {
  for (const int limit : {0, 1, 64, 254}) {
    Packet question = solicitation(client_mac);
    question.get<Ipv6>().hop_limit = static_cast<std::uint8_t>(limit);
    expect_ignored(question);
  }
}

TEST_P(NdTest, CodeMustBeZero) {
  Packet question = solicitation(client_mac);
  question.get<Icmp6>().code = 1;
  expect_ignored(question);
}

TEST_P(NdTest, ChecksumMustBeRight) {
  Packet question = solicitation(client_mac);
  question.get<Icmp6>().checksum = 0x1234;
  expect_ignored(question);
}

TEST_P(NdTest, DetectionToAUnicastAddressIsInvalid) {
  // RFC 4861, 7.1.1: from :: only to a solicited-node group, and never with a source link address.
  expect_ignored(Ethernet{.source = client_mac, .destination = own_mac} /
                 Ipv6{.source = "::", .destination = vip, .hop_limit = 255} /
                 neighbor_solicitation(vip, std::nullopt));
  expect_ignored(Ethernet{.source = client_mac, .destination = multicast_mac(solicited_node(vip))} /
                 Ipv6{.source = "::", .destination = solicited_node(vip), .hop_limit = 255} /
                 neighbor_solicitation(vip, client_mac));
}

TEST_P(NdTest, ForeignMacPasses) {
  expect_ignored(solicitation_to("02:00:00:00:00:77", vip, client_mac));
}

TEST_P(NdTest, OtherTargetsPass) {
  expect_ignored(Ethernet{.source = client_mac, .destination = multicast_mac(solicited_node(node_address))} /
                 Ipv6{.source = client, .destination = solicited_node(node_address), .hop_limit = 255} /
                 neighbor_solicitation(node_address, client_mac));
}

TEST_P(NdTest, TargetThatIsAMappedIpv4VipPasses) {
  // IPv4 VIPs are kept as ::ffff:a.b.c.d; over IPv6 nobody may ask for that.
  rig().set_vip("192.168.0.200", vip_row(9));
  expect_ignored(
      Ethernet{.source = client_mac, .destination = multicast_mac(solicited_node("::ffff:192.168.0.200"))} /
      Ipv6{.source = client, .destination = solicited_node("::ffff:192.168.0.200"), .hop_limit = 255} /
      neighbor_solicitation("::ffff:192.168.0.200", client_mac));
}

TEST_P(NdTest, VipThatIsNotOwnedHereAndNowPasses) {
  lb_vip row = vip_row(kVipId);
  row.owned_epoch = 0;
  rig().set_vip(vip, row);
  expect_ignored(solicitation(client_mac));
  row.owned_epoch = node.epoch + 1;
  rig().set_vip(vip, row);
  expect_ignored(solicitation(client_mac));
  row = vip_row(kVipId);
  row.link_mask = 2;
  rig().set_vip(vip, row);
  expect_ignored(solicitation(client_mac));
}

TEST_P(NdTest, LeaseOverLeavesItUnanswered) {
  node.lease_boot_ns = boot_ns() - 1;
  rig().set_node(node);
  for (const auto& option : {std::optional<MacAddress>(client_mac), std::optional<MacAddress>()}) {
    const Bytes frame = solicitation(option);
    expect_left(receive(Input{.frame = frame, .ifindex = lan}), frame, XLB_VERDICT_LEASE_OVER);
  }
}

TEST_P(NdTest, TaggedSolicitationIsAnsweredWithThatVlansMac) {
  lb_link tagged = link;
  const MacAddress vlan_mac("02:00:00:00:00:17");
  std::memcpy(tagged.mac, vlan_mac.bytes.data(), 6);
  rig().set_link(lan, 7, tagged);
  const auto question = [&](std::uint16_t id) {
    return Ethernet{.source = client_mac, .destination = multicast_mac(solicited_node(vip))} / Vlan{.id = id} /
           Ipv6{.source = client, .destination = solicited_node(vip), .hop_limit = 255} /
           neighbor_solicitation(vip, client_mac);
  };
  const Fate fate = receive(question(7));
  expect_sent_back(fate, XLB_VERDICT_ND_REPLY);
  Packet expected = Ethernet{.source = vlan_mac, .destination = client_mac};
  if (fate.in_xdp) expected /= Vlan{.id = 7};
  expected /= Ipv6{.source = vip, .destination = client, .hop_limit = 255} /
              neighbor_advertisement(vip, kSolicited, vlan_mac);
  EXPECT_EQ(difference(expected.bytes(), fate.output.frame), "");
  expect_ignored(question(8));
}

TEST_P(NdTest, CutAtEveryBytePasses) {
  const Bytes whole = solicitation(client_mac);
  for (std::size_t length = 14; length < whole.size(); length++) expect_ignored_cut(whole, length);
}

TEST_P(NdTest, LengthFieldShorterThanTheMessagePasses) {
  Packet question = solicitation(client_mac);
  question.get<Ipv6>().payload_length = 20;
  expect_ignored(question);
}

TEST_P(NdTest, OptionOfLengthZeroIsInvalid) {
  // RFC 4861, 7.1.1: all options have a length greater than zero.
  Packet question = Ethernet{.source = client_mac, .destination = multicast_mac(solicited_node(vip))} /
                    Ipv6{.source = client, .destination = solicited_node(vip), .hop_limit = 255} /
                    neighbor_solicitation(vip, std::nullopt) / Payload(Bytes{1, 0, 2, 0, 0, 0, 0, 0x50});
  expect_ignored(question);
}

TEST_P(NdTest, SomebodyElsesAdvertisementIsAConflict) {
  const MacAddress thief("02:00:00:00:00:66");
  const IpAddress thief_address("fd00::66");
  for (const std::uint32_t flags : {0u, kOverride, kSolicited | kOverride, kRouter}) {
    const Bytes frame = Ethernet{.source = thief, .destination = "33:33:00:00:00:01"} /
                        Ipv6{.source = thief_address, .destination = "ff02::1", .hop_limit = 255} /
                        neighbor_advertisement(vip, flags, thief);
    const Fate fate = receive(Input{.frame = frame, .ifindex = lan});
    expect_left(fate, frame, XLB_VERDICT_CONFLICT);
    ASSERT_EQ(fate.events().size(), 1u);
    EXPECT_EQ(fate.events()[0].kind, XLB_EVENT_CONFLICT);
    EXPECT_EQ(std::memcmp(fate.events()[0].mac, thief.bytes.data(), 6), 0);
    EXPECT_EQ(IpAddress(fate.events()[0].destination), vip);
  }
}

TEST_P(NdTest, AdvertisementFromTheVipItselfIsAConflict) {
  // Another owner answers with the VIP as its source, unicast to us.
  const MacAddress thief("02:00:00:00:00:66");
  const Bytes frame = Ethernet{.source = thief, .destination = own_mac} /
                      Ipv6{.source = vip, .destination = node_address, .hop_limit = 255} /
                      neighbor_advertisement(vip, kSolicited | kOverride, thief);
  expect_left(receive(Input{.frame = frame, .ifindex = lan}), frame, XLB_VERDICT_CONFLICT);
}

TEST_P(NdTest, AdvertisementsThatProveNothingPass) {
  const MacAddress thief("02:00:00:00:00:66");
  const Packet claim = Ethernet{.source = thief, .destination = "33:33:00:00:00:01"} /
                       Ipv6{.source = "fd00::66", .destination = "ff02::1", .hop_limit = 255} /
                       neighbor_advertisement(vip, kOverride, thief);
  Packet routed = claim;
  routed.get<Ipv6>().hop_limit = 64;  // from outside the link: forged
  expect_ignored(routed);
  Packet broken = claim;
  broken.get<Icmp6>().checksum = 1;
  expect_ignored(broken);
  Packet ours = claim;  // our own announcement coming back
  ours.get<Ethernet>().source = own_mac;
  expect_ignored(ours);
  lb_vip row = vip_row(kVipId);
  row.owned_epoch = 0;
  rig().set_vip(vip, row);
  expect_ignored(claim);
}

}  // namespace
}  // namespace xlb
