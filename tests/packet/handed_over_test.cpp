// SPDX-License-Identifier: Apache-2.0
// What a peer hands over goes to a backend of this node or nowhere.
#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/packet/peers.hpp"

namespace xlb {
namespace {

using namespace packet;

class HandedOverTest : public WithPeers {
 protected:
  Packet at_pod(const Packet& inner) const {
    Packet packet = from_peer() / inner;
    if (v4()) packet.get<Ipv4>().destination = pod_a;
    if (!v4()) packet.get<Ipv6>().destination = pod_a;
    return packet;
  }
  void set_fall_back() { rig().set_vip(vip, vip_row(kVipId, XLB_VIP_PING | XLB_VIP_FALL_BACK)); }
  // To the client by its neighbour entry: the frame's source is the peer.
  void expect_refused(const Fate& fate) {
    EXPECT_EQ(fate.output.action, kTcRedirect);
    const Decoded got = fate.decoded();
    EXPECT_TRUE(got.sound()) << got.text();
    EXPECT_EQ(got.source, vip);
    EXPECT_EQ(got.destination, client);
    expect_one_verdict(fate, XLB_VERDICT_NO_LOCAL_BACKEND);
    EXPECT_TRUE(fate.after.half_open.empty());
  }
};
XLB_RUN_SUITE(HandedOverTest, kEveryWay, kBothNets);
class HandedOverResizing : public HandedOverTest {};
XLB_RUN_SUITE(HandedOverResizing, kResizing, kBothNets);

TEST_P(HandedOverTest, GoesToTheBackendOfThisNode) {
  const Fate syn = receive(from_peer() / tcp(kSyn));
  expect_forwarded(syn, at_pod(tcp(kSyn, kClientPort, 8080)), XLB_VERDICT_TO_POD);
  EXPECT_EQ(syn.after.half_open.size(), 2u);  // and back: the answer goes to the client directly
  const Fate back = answer(from_pod(pod_a, client) / tcp_answer(kSyn | kAck));
  expect_one_verdict(back, XLB_VERDICT_RETURNED);
  EXPECT_EQ(back.decoded().source, vip);
  EXPECT_EQ(back.decoded().destination, client);
  expect_forwarded(receive(from_peer() / tcp(kAck)), at_pod(tcp(kAck, kClientPort, 8080)), XLB_VERDICT_TO_POD);
  expect_forwarded(receive(from_peer() / udp() / Payload("q")), at_pod(udp(kClientPort, 5353) / Payload("q")),
                   XLB_VERDICT_TO_POD);
}

TEST_P(HandedOverTest, TheFlowStaysWhoeverOwnsTheVip) {
  expect_one_verdict(receive(from_peer() / tcp(kSyn)), XLB_VERDICT_TO_POD);
  expect_one_verdict(answer(from_pod(pod_a, client) / tcp_answer(kSyn | kAck)), XLB_VERDICT_RETURNED);
  // This node takes the VIP over: its slots would lead elsewhere, but the flow is here.
  expect_forwarded(receive(from_client() / tcp(kAck)), from_client(client, pod_a) / tcp(kAck, kClientPort, 8080),
                   XLB_VERDICT_TO_POD);
}

TEST_P(HandedOverTest, IsNeverHandedOnAgain) {
  // This node owned the VIP before, and gave the flow to pi2; now pi2 owns it and thinks that the flow is here.
  const Packet ack = from_client() / tcp(kAck);
  expect_handed_over(from_client() / tcp(kSyn), pi2_mac);
  expect_handed_over(ack, pi2_mac);
  expect_forwarded(receive(from_peer() / tcp(kAck)), at_pod(tcp(kAck, kClientPort, 8080)), XLB_VERDICT_TO_POD);
  // By another peer, too.
  Packet by_pi3 = from_peer() / tcp(kSyn, 50001);
  by_pi3.get<Ethernet>().source = pi3_mac;
  expect_one_verdict(receive(by_pi3), XLB_VERDICT_TO_POD);
}

TEST_P(HandedOverTest, ASlotThatLagsBehindLeadsNowhereElse) {
  // The endpoint has moved to pi2, and its row says so already.
  lb_backend moved = remote_row(pod_a, 8080, IPPROTO_TCP, kPi2);
  rig().set_backend(kPodA, moved);
  fill_both(kWeb, {kPodA, 0}, {kPodA, kPodB});
  const Fate fate = receive(from_peer() / tcp(kSyn));
  expect_one_verdict(fate, XLB_VERDICT_TO_POD);
  EXPECT_EQ(fate.decoded().destination, pod_b);
}

TEST_P(HandedOverResizing, WithoutABackendHereTheClientIsRefused) {
  set_web(0, 0);
  rig().set_service(kVipId, 53, IPPROTO_UDP, [&] {
    lb_service dns = service_row(kDns);
    dns.local_slot_count = 0;
    return dns;
  }());
  for (const std::uint8_t flags : {kSyn, kAck}) {
    const Fate fate = receive(from_peer() / tcp(flags));
    expect_refused(fate);
    EXPECT_TRUE(fate.decoded().tcp_flags & kRst);
  }
  expect_refused(receive(from_peer() / udp() / Payload::of_size(40)));
}

TEST_P(HandedOverResizing, OnlyALoneSynFallsBack) {
  set_web(0, 0);
  set_fall_back();
  const Packet syn = from_peer() / tcp(kSyn);
  const Fate fate = receive(syn);
  expect_left(fate, syn.bytes(), XLB_VERDICT_FALL_BACK);
  expect_refused(receive(from_peer() / tcp(kAck)));
}

TEST_P(HandedOverResizing, OfAServiceThatIsNotHereOnlyALoneSynFallsBack) {
  set_fall_back();
  const Packet syn = from_peer() / tcp(kSyn, kClientPort, 81);
  expect_left(receive(syn), syn.bytes(), XLB_VERDICT_FALL_BACK);
  const Fate fate = receive(from_peer() / tcp(kAck, kClientPort, 81));
  expect_one_verdict(fate, XLB_VERDICT_NO_BACKEND);
  EXPECT_EQ(fate.decoded().destination, client);
}

TEST_P(HandedOverTest, APeersOwnAddressIsAClientLikeAnyOther) {
  const Packet syn = from_peer(pi2) / tcp(kSyn);
  fill_both(kWeb, {kPodD, 0}, {kPodA, 0});
  expect_handed_over(syn, pi3_mac);
  // Another peer that sends from that address hands it over: a peer is its MAC and its address.
  Packet other = from_peer(pi2) / tcp(kSyn, 50001);
  other.get<Ethernet>().source = pi3_mac;
  expect_one_verdict(receive(other), XLB_VERDICT_TO_POD);
}

TEST_P(HandedOverTest, FragmentsGoToTheBackendOfThisNode) {
  const auto pieces = fragments(from_peer() / udp() / Payload::of_size(3000), 1208);
  for (std::size_t i = 0; i < pieces.size(); i++) {
    const Fate fate = receive(pieces[i]);
    expect_one_verdict(fate, i == 0 ? XLB_VERDICT_TO_POD : XLB_VERDICT_FRAGMENT_IN);
    EXPECT_EQ(fate.decoded().destination, pod_a);
  }
}

TEST_P(HandedOverTest, FragmentsAreNotHandedOnAgain) {
  const auto from_outside = fragments(from_client() / udp() / Payload::of_size(3000), 1208);
  expect_handed_over_by_twin(receive(from_outside[0]), from_outside[0].bytes(), pi2_mac);
  const auto pieces = fragments(from_peer() / udp() / Payload::of_size(3000), 1208);
  expect_dropped(receive(pieces[1]), XLB_VERDICT_FRAGMENT_UNKNOWN);
}

TEST_P(HandedOverTest, IcmpErrorsGoToTheBackendOfThisNode) {
  const IpAddress router = v4() ? "198.51.100.1" : "2001:db8:51::1";
  const Packet too_big = v4() ? Packet(Icmp{.type = 3, .code = 4, .rest = 1280})
                              : Packet(Icmp6{.type = 2, .code = 0, .rest = 1280});
  const Packet error = from_peer(router) / too_big / ip(vip, client) /
                       Tcp{.source_port = 80, .destination_port = kClientPort, .flags = kAck} / Payload::of_size(64);
  const auto expect_here = [&] {
    const Fate fate = receive(error);
    expect_one_verdict(fate, XLB_VERDICT_ICMP_ERROR_IN);
    EXPECT_EQ(fate.decoded().destination, pod_a);
    EXPECT_TRUE(fate.decoded().sound()) << fate.decoded().text();
  };
  expect_here();  // by this node's slot
  expect_handed_over(from_client() / tcp(kSyn), pi2_mac);
  expect_here();  // whatever this node once did with the flow
  set_web(0, 0);
  expect_dropped(receive(error), XLB_VERDICT_ICMP_UNKNOWN);
}

TEST_P(HandedOverTest, AffinityToABackendOnAPeerDoesNotCount) {
  set_web(XLB_SERVICE_AFFINITY);
  expect_one_verdict(receive(from_client() / tcp(kSyn)), XLB_VERDICT_TO_PEER);
  const Fate fate = receive(from_peer() / tcp(kSyn, 50001));
  expect_one_verdict(fate, XLB_VERDICT_TO_POD);
  EXPECT_EQ(fate.decoded().destination, pod_a);
}

TEST_P(HandedOverTest, DeniedSourcesAreDeniedHereToo) {
  set_web(XLB_SERVICE_SOURCES);
  expect_dropped(receive(from_peer() / tcp(kSyn)), XLB_VERDICT_DENIED);
}

TEST_P(HandedOverTest, AStrangersMacMakesAClient) {
  Packet packet = from_peer() / tcp(kSyn);
  packet.get<Ethernet>().source = "02:00:00:00:00:99";
  expect_handed_over(packet, pi2_mac);
}

}  // namespace
}  // namespace xlb
