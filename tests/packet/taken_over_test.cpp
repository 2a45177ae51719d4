// SPDX-License-Identifier: Apache-2.0
// A VIP that was taken over from another announcer on this node: that one hears no question about it, and what it says
// does not leave. And connections that were open before go on where they were opened.
#include <netinet/in.h>

#include "tests/packet/packet_test.hpp"

namespace xlb {
namespace {

using namespace packet;

constexpr std::uint32_t kSolicited = 0x40000000, kOverride = 0x20000000;

class TakenOverTest : public PacketTest {
 protected:
  void SetUp() override {
    PacketTest::SetUp();
    if (rig_is_up()) take_over(0);
  }
  void take_over(std::uint64_t owned_epoch, std::uint32_t more_flags = 0) {
    lb_vip row = vip_row(kVipId, XLB_VIP_PING | XLB_VIP_TAKEN_OVER | more_flags);
    row.owned_epoch = owned_epoch;
    rig().set_vip(vip, row);
  }
  // As hosts ask: with the frame to everybody who may know, or to this node, which they knew it from.
  Packet question(const IpAddress& about, bool unicast = false) const {
    if (v4())
      return Ethernet{.source = client_mac, .destination = unicast ? own_mac : kBroadcast} /
             Arp{.operation = 1, .sender_mac = client_mac, .sender = client, .target = about};
    return Ethernet{.source = client_mac, .destination = unicast ? own_mac : multicast_mac(solicited_node(about))} /
           Ipv6{.source = client, .destination = unicast ? about : solicited_node(about), .hop_limit = 255} /
           neighbor_solicitation(about, client_mac);
  }
  // What somebody on this node says of an address.
  Packet answer_about(const IpAddress& about) const {
    if (v4())
      return Ethernet{.source = own_mac, .destination = client_mac} /
             Arp{.operation = 2, .sender_mac = own_mac, .sender = about, .target_mac = client_mac, .target = client};
    return Ethernet{.source = own_mac, .destination = client_mac} /
           Ipv6{.source = node_address, .destination = client, .hop_limit = 255} /
           neighbor_advertisement(about, kSolicited, own_mac);
  }
  std::vector<Packet> announcements(const IpAddress& about) const {
    if (v4()) {
      std::vector<Packet> both;
      for (const std::uint16_t operation : {std::uint16_t{1}, std::uint16_t{2}})
        both.push_back(Ethernet{.source = own_mac, .destination = kBroadcast} /
                       Arp{.operation = operation, .sender_mac = own_mac, .sender = about, .target_mac = kBroadcast, .target = about});
      return both;
    }
    return {Ethernet{.source = own_mac, .destination = "33:33:00:00:00:01"} /
            Ipv6{.source = node_address, .destination = "ff02::1", .hop_limit = 255} /
            neighbor_advertisement(about, kOverride, own_mac)};
  }
  void expect_silenced(const Packet& packet) { expect_dropped(egress(packet), XLB_VERDICT_SILENCED); }
  void expect_leaves(const Packet& packet, std::uint32_t mark = 0) {
    expect_ignored(egress(packet, 0, mark), packet.bytes());
  }
};
XLB_RUN_SUITE(TakenOverTest, kEveryWay, kBothNets);

TEST_P(TakenOverTest, QuestionAboutAVipOfAnotherNodeIsKept) {
  for (const bool unicast : {false, true}) {
    const Fate fate = receive(question(vip, unicast));
    expect_dropped(fate, XLB_VERDICT_TAKEN_OVER);
    if (with_xdp()) {
      EXPECT_TRUE(fate.in_xdp);
    }
  }
}

TEST_P(TakenOverTest, ProbeForItIsKept) {
  const Packet probe = v4() ? Ethernet{.source = client_mac, .destination = kBroadcast} /
                                  Arp{.operation = 1, .sender_mac = client_mac, .sender = "0.0.0.0", .target = vip}
                            : Ethernet{.source = client_mac, .destination = multicast_mac(solicited_node(vip))} /
                                  Ipv6{.source = "::", .destination = solicited_node(vip), .hop_limit = 255} /
                                  neighbor_solicitation(vip, std::nullopt);
  expect_dropped(receive(probe), XLB_VERDICT_TAKEN_OVER);
}

TEST_P(TakenOverTest, TheOwnerAnswers) {
  take_over(node.epoch);
  expect_sent_back(receive(question(vip)), v4() ? XLB_VERDICT_ARP_REPLY : XLB_VERDICT_ND_REPLY);
}

TEST_P(TakenOverTest, OtherAddressesAreAskedForAsEver) {
  expect_ignored(question(node_address));
  lb_vip row = vip_row(kOtherVipId);
  row.owned_epoch = 0;
  rig().set_vip(other_vip, row);
  expect_ignored(question(other_vip));
}

TEST_P(TakenOverTest, AnswersAndAnnouncementsOfOthersDoNotLeave) {
  for (const auto epoch : std::initializer_list<std::uint64_t>{0, node.epoch}) {  // on the owner, too
    take_over(epoch);
    expect_silenced(answer_about(vip));
    for (const Packet& packet : announcements(vip)) expect_silenced(packet);
  }
}

TEST_P(TakenOverTest, OursLeave) {
  for (const Packet& packet : announcements(vip)) expect_leaves(packet, XLB_MARK_OWN);
  expect_leaves(answer_about(vip), XLB_MARK_OWN);
  expect_silenced(answer_about(vip));
}

TEST_P(TakenOverTest, WhatIsSaidOfOtherAddressesLeaves) {
  expect_leaves(answer_about(node_address));
  for (const IpAddress& about : {node_address, other_vip})
    for (const Packet& packet : announcements(about)) expect_leaves(packet);
}

TEST_P(TakenOverTest, AVipThatWasNotTakenOverIsNobodysBusiness) {
  rig().set_vip(vip, vip_row(kVipId));
  expect_leaves(answer_about(vip));
  for (const Packet& packet : announcements(vip)) expect_leaves(packet);
}

TEST_P(TakenOverTest, QuestionsLeave) {
  // Of the kernel, which may ask under the VIP where that is an address of its own.
  const Packet asked = v4() ? Ethernet{.source = own_mac, .destination = kBroadcast} /
                                  Arp{.operation = 1, .sender_mac = own_mac, .sender = vip, .target = client}
                            : Ethernet{.source = own_mac, .destination = multicast_mac(solicited_node(client))} /
                                  Ipv6{.source = vip, .destination = solicited_node(client), .hop_limit = 255} /
                                  neighbor_solicitation(client, own_mac);
  expect_leaves(asked);
}

TEST_P(TakenOverTest, TrialOverSilencesNobody) {
  node.try_mono_ns = mono_ns() - XLB_SECOND_NS;
  rig().set_node(node);
  expect_ignored(question(vip));
  expect_leaves(answer_about(vip));
}

TEST_P(TakenOverTest, ConnectionsThatWereOpenGoOnInTheKernel) {
  take_over(node.epoch, XLB_VIP_CONTINUES);
  for (const int flags : {kAck + 0, kFin | kAck, kRst + 0, kSyn | kAck}) {
    const Bytes frame = (from_client() / tcp(static_cast<std::uint8_t>(flags))).bytes();
    expect_left(receive(Input{.frame = frame, .ifindex = lan}), frame, XLB_VERDICT_FALL_BACK);
  }
  EXPECT_TRUE(rig().traces().half_open.empty()) << "nothing is guessed";
}

TEST_P(TakenOverTest, AnEarlierLifeOfTheClientsPortChangesNothing) {
  take_over(node.epoch, XLB_VIP_CONTINUES);
  open_connection();
  receive(from_client() / tcp(kRst));
  for (const auto& [key, flow] : rig().traces().half_open) {
    lb_flow old = flow;
    old.seen_mono_ns = mono_ns() - XLB_CLOSING_NS - XLB_SECOND_NS;
    rig().put_flow(key, old, true);
  }
  const Bytes frame = (from_client() / tcp(kAck)).bytes();
  expect_left(receive(Input{.frame = frame, .ifindex = lan}), frame, XLB_VERDICT_FALL_BACK);
}

TEST_P(TakenOverTest, ConnectionsThatBeginAreOurs) {
  take_over(node.epoch, XLB_VIP_CONTINUES);
  open_connection();
  expect_one_verdict(receive(from_client() / tcp(kAck)), XLB_VERDICT_TO_POD);
}

TEST_P(TakenOverTest, WithoutThatFlagAnUnknownConnectionIsGuessed) {
  take_over(node.epoch);
  expect_one_verdict(receive(from_client() / tcp(kAck)), XLB_VERDICT_TO_POD);
}

TEST_P(TakenOverTest, UdpIsOursAtOnce) {
  take_over(node.epoch, XLB_VIP_CONTINUES);
  expect_one_verdict(receive(from_client() / udp()), XLB_VERDICT_TO_POD);
}

}  // namespace
}  // namespace xlb
