// SPDX-License-Identifier: Apache-2.0
// Who has the VIP? ARP (RFC 826), probes and announcements (RFC 5227).
#include <netinet/in.h>

#include "tests/packet/packet_test.hpp"

namespace xlb {
namespace {

using namespace packet;

class ArpTest : public PacketTest {
 protected:
  Packet request(const IpAddress& sender, const IpAddress& target, const MacAddress& to = kBroadcast) const {
    return Ethernet{.source = client_mac, .destination = to} /
           Arp{.operation = 1, .sender_mac = client_mac, .sender = sender, .target = target};
  }

  void expect_reply(const Fate& fate, const IpAddress& to, const IpAddress& about, const MacAddress& mac) {
    expect_sent_back(fate, XLB_VERDICT_ARP_REPLY);
    if (with_xdp()) {
      EXPECT_TRUE(fate.in_xdp) << "XDP answers ARP itself";
    }
    const Decoded got = fate.decoded();
    ASSERT_TRUE(got.arp) << got.text();
    EXPECT_EQ(got.destination_mac, client_mac);
    EXPECT_EQ(got.source_mac, mac);
    EXPECT_EQ(got.arp->operation, 2);
    EXPECT_EQ(got.arp->sender_mac, mac);
    EXPECT_EQ(got.arp->sender, about);
    EXPECT_EQ(got.arp->target_mac, client_mac);
    EXPECT_EQ(got.arp->target, to);
    EXPECT_EQ(got.arp->hardware, 1);
    EXPECT_EQ(got.arp->protocol, kTypeIpv4);
    EXPECT_EQ(got.arp->hardware_length, 6);
    EXPECT_EQ(got.arp->protocol_length, 4);
  }
};
XLB_RUN_SUITE(ArpTest, kEveryWay, kIpv4Only);

TEST_P(ArpTest, BroadcastRequestForAnOwnedVipIsAnswered) {
  const Packet question = request(client, vip);
  const Fate fate = receive(question);
  expect_reply(fate, client, vip, own_mac);
  EXPECT_EQ(fate.after.counters[XLB_VERDICT_ARP_REPLY].bytes, question.bytes().size());
  EXPECT_TRUE(fate.after.events.empty());
}

TEST_P(ArpTest, AnswersAreCountedForEachVip) {
  receive(request(client, vip));
  receive(request(client, other_vip));
  const Fate fate = receive(request(client, other_vip));
  EXPECT_EQ(fate.after.answers[kVipId], 1u);
  EXPECT_EQ(fate.after.answers[kOtherVipId], 2u);
}

TEST_P(ArpTest, UnicastRequestToOurMacIsAnswered) {
  expect_reply(receive(request(client, vip, own_mac)), client, vip, own_mac);
}

TEST_P(ArpTest, RequestPaddedToTheEthernetMinimumIsAnswered) {
  const Fate fate = receive(request(client, vip) / Payload(Bytes(18, 0)));
  expect_reply(fate, client, vip, own_mac);
  EXPECT_EQ(fate.output.frame.size(), 60u);
}

TEST_P(ArpTest, ProbeFromNobodyIsAnswered) {
  // A host that checks whether the address is free must hear that it is not (RFC 5227, 2.1.1).
  expect_reply(receive(request("0.0.0.0", vip)), "0.0.0.0", vip, own_mac);
}

TEST_P(ArpTest, RequestToAForeignMacPasses) {
  expect_ignored(request(client, vip, "02:00:00:00:00:77"));
}

TEST_P(ArpTest, RequestToAMulticastGroupPasses) {
  expect_ignored(request(client, vip, "01:00:5e:00:00:01"));
}

TEST_P(ArpTest, RequestForTheNodeItselfOrSomebodyElsePasses) {
  expect_ignored(request(client, node_address));
  expect_ignored(request(client, "192.168.0.77"));
}

TEST_P(ArpTest, VipThatIsNotOwnedPasses) {
  lb_vip row = vip_row(kVipId);
  row.owned_epoch = 0;
  rig().set_vip(vip, row);
  expect_ignored(request(client, vip));
}

TEST_P(ArpTest, VipOwnedInAnotherEpochPasses) {
  for (const std::uint64_t epoch : {node.epoch - 1, node.epoch + 1}) {
    lb_vip row = vip_row(kVipId);
    row.owned_epoch = epoch;
    rig().set_vip(vip, row);
    expect_ignored(request(client, vip));
  }
}

TEST_P(ArpTest, NodeWithoutEpochOwnsNothing) {
  node.epoch = 0;
  rig().set_node(node);
  lb_vip row = vip_row(kVipId);
  row.owned_epoch = 0;
  rig().set_vip(vip, row);
  expect_ignored(request(client, vip));
}

TEST_P(ArpTest, VipOfAnotherLinkPasses) {
  lb_vip row = vip_row(kVipId);
  row.link_mask = 2;
  rig().set_vip(vip, row);
  expect_ignored(request(client, vip));
}

TEST_P(ArpTest, UnknownLinkPasses) {
  const Bytes frame = request(client, vip);
  const Fate fate = receive(Input{.frame = frame, .ifindex = sandbox().lan1.ifindex});
  expect_ignored(fate, frame);
}

TEST_P(ArpTest, LeaseOverLeavesItUnanswered) {
  node.lease_boot_ns = boot_ns() - 1;
  rig().set_node(node);
  const Bytes frame = request(client, vip);
  expect_left(receive(Input{.frame = frame, .ifindex = lan}), frame, XLB_VERDICT_LEASE_OVER);
}

TEST_P(ArpTest, LeaseOfAnotherMinuteIsFresh) {
  node.lease_boot_ns = boot_ns() + 60 * XLB_SECOND_NS;
  rig().set_node(node);
  expect_reply(receive(request(client, vip)), client, vip, own_mac);
}

TEST_P(ArpTest, LeaseOverDoesNotCountForOthersAddresses) {
  node.lease_boot_ns = boot_ns() - 1;
  rig().set_node(node);
  expect_ignored(request(client, "192.168.0.77"));
}

TEST_P(ArpTest, TryDeadlineOverPasses) {
  node.try_mono_ns = mono_ns() - XLB_SECOND_NS;
  rig().set_node(node);
  expect_ignored(request(client, vip));
}

TEST_P(ArpTest, TryDeadlineAheadAnswers) {
  node.try_mono_ns = mono_ns() + 60 * XLB_SECOND_NS;
  rig().set_node(node);
  expect_reply(receive(request(client, vip)), client, vip, own_mac);
}

TEST_P(ArpTest, SomebodyElsesAnnouncementIsAConflict) {
  const MacAddress thief("02:00:00:00:00:66");
  for (const std::uint16_t operation : std::initializer_list<std::uint16_t>{1, 2}) {
    for (const MacAddress& to : {kBroadcast, own_mac}) {
      const Bytes frame =
          Ethernet{.source = thief, .destination = to} /
          Arp{.operation = operation, .sender_mac = thief, .sender = vip, .target_mac = own_mac, .target = vip};
      const Fate fate = receive(Input{.frame = frame, .ifindex = lan});
      expect_left(fate, frame, XLB_VERDICT_CONFLICT);
      ASSERT_EQ(fate.events().size(), 1u);
      const lb_event event = fate.events()[0];
      EXPECT_EQ(event.kind, XLB_EVENT_CONFLICT);
      EXPECT_EQ(event.verdict, XLB_VERDICT_CONFLICT);
      EXPECT_EQ(std::memcmp(event.mac, thief.bytes.data(), 6), 0);
      EXPECT_EQ(IpAddress(event.destination), vip);
      EXPECT_EQ(event.ifindex, lan);
    }
  }
}

TEST_P(ArpTest, ReplyToUsThatClaimsAVipIsAConflict) {
  const MacAddress thief("02:00:00:00:00:66");
  const Bytes frame =
      Ethernet{.source = thief, .destination = own_mac} /
      Arp{.operation = 2, .sender_mac = thief, .sender = vip, .target_mac = own_mac, .target = node_address};
  const Fate fate = receive(Input{.frame = frame, .ifindex = lan});
  expect_left(fate, frame, XLB_VERDICT_CONFLICT);
  EXPECT_EQ(fate.events().size(), 1u);
}

TEST_P(ArpTest, ClaimToAVipThatIsNotOursIsNoConflict) {
  lb_vip row = vip_row(kVipId);
  row.owned_epoch = 0;
  rig().set_vip(vip, row);
  expect_ignored(Ethernet{.source = "02:00:00:00:00:66", .destination = kBroadcast} /
                 Arp{.operation = 2, .sender_mac = "02:00:00:00:00:66", .sender = vip, .target = vip});
}

TEST_P(ArpTest, OurOwnAnnouncementThatComesBackIsNoConflict) {
  expect_ignored(
      Ethernet{.source = own_mac, .destination = kBroadcast} /
      Arp{.operation = 2, .sender_mac = own_mac, .sender = vip, .target_mac = own_mac, .target = "192.168.0.77"});
}

TEST_P(ArpTest, ConflictEventsAreLimitedButEveryOneIsCounted) {
  const MacAddress thief("02:00:00:00:00:66");
  const Bytes frame = Ethernet{.source = thief, .destination = kBroadcast} /
                      Arp{.operation = 2, .sender_mac = thief, .sender = vip, .target = vip};
  std::size_t events = 0;
  std::uint64_t counted = 0;
  const std::uint64_t start = mono_ns();
  for (int i = 0; i < 60; i++) {
    const Fate fate = receive(Input{.frame = frame, .ifindex = lan});
    events += fate.events().size();
    counted += fate.verdicts().size();
  }
  EXPECT_EQ(counted, 60u);
  const std::uint64_t seconds = (mono_ns() - start) / XLB_SECOND_NS + 1;
  EXPECT_GE(events, XLB_EVENTS_PER_SECOND);
  EXPECT_LE(events, XLB_EVENTS_PER_SECOND * 2 * (seconds + 1)) << "two CPUs, each with its own budget";
}

TEST_P(ArpTest, RepliesAndOtherOperationsPass) {
  for (const std::uint16_t operation : std::initializer_list<std::uint16_t>{0, 2, 3, 4, 8, 256}) {
    expect_ignored(Ethernet{.source = client_mac, .destination = own_mac} /
                   Arp{.operation = operation, .sender_mac = client_mac, .sender = client, .target = vip});
  }
}

TEST_P(ArpTest, OddHardwareOrProtocolPasses) {
  const Packet good = request(client, vip);
  for (int field = 0; field < 4; field++) {
    Packet odd = good;
    Arp& arp = odd.get<Arp>();
    if (field == 0) arp.hardware = 6;
    if (field == 1) arp.protocol = kTypeIpv6;
    if (field == 2) arp.hardware_length = 8;
    if (field == 3) arp.protocol_length = 16;
    expect_ignored(odd);
  }
}

TEST_P(ArpTest, CutAtEveryBytePasses) {
  const Bytes whole = request(client, vip);
  for (std::size_t length = 14; length < 42; length++) expect_ignored_cut(whole, length);
}

TEST_P(ArpTest, TaggedRequestIsAnsweredOnItsVlanOnly) {
  lb_link tagged = link;
  const MacAddress vlan_mac("02:00:00:00:00:17");
  std::memcpy(tagged.mac, vlan_mac.bytes.data(), 6);
  tagged.link_bit = 2;
  rig().set_link(lan, 7, tagged);
  lb_vip row = vip_row(kVipId);
  row.link_mask = 2;
  rig().set_vip(vip, row);
  const auto on_vlan = [&](std::uint16_t id) {
    return Ethernet{.source = client_mac, .destination = kBroadcast} / Vlan{.id = id, .priority = 5} /
           Arp{.operation = 1, .sender_mac = client_mac, .sender = client, .target = vip};
  };
  const Fate fate = receive(on_vlan(7));
  expect_reply(fate, client, vip, vlan_mac);
  if (fate.in_xdp) {
    EXPECT_EQ(fate.decoded().vlans, std::vector<std::uint16_t>{7}) << "the tag stays in the frame";
  }
  expect_ignored(request(client, vip));  // untagged: another link
  expect_ignored(on_vlan(8));
}

TEST_P(ArpTest, PriorityTagIsTheUntaggedLink) {
  const Fate fate = receive(Ethernet{.source = client_mac, .destination = kBroadcast} / Vlan{.id = 0, .priority = 5} /
                            Arp{.operation = 1, .sender_mac = client_mac, .sender = client, .target = vip});
  expect_reply(fate, client, vip, own_mac);
}

TEST_P(ArpTest, TwoTagsPass) {
  expect_ignored(Ethernet{.source = client_mac, .destination = kBroadcast} / Vlan{.id = 0} / Vlan{.id = 0} /
                 Arp{.operation = 1, .sender_mac = client_mac, .sender = client, .target = vip});
  expect_ignored(Ethernet{.source = client_mac, .destination = kBroadcast} / Vlan{.id = 1, .tag_type = kTypeQinq} /
                 Vlan{.id = 0} / Arp{.operation = 1, .sender_mac = client_mac, .sender = client, .target = vip});
}

}  // namespace
}  // namespace xlb
