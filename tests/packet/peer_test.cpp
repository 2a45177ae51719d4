// SPDX-License-Identifier: Apache-2.0
// Backends on other nodes: flows are handed over by MAC addresses, and stay where they began.
#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/packet/peers.hpp"

namespace xlb {
namespace {

using namespace packet;

constexpr std::uint8_t kFirstTenure = 1u << XLB_FLOW_TENURE_SHIFT;  // claim 1

class PeerTest : public WithPeers {
 protected:
  Fate send(std::uint8_t flags, std::uint16_t port = kClientPort) { return receive(from_client() / tcp(flags, port)); }
  void expect_to(std::uint8_t flags, const MacAddress& to) { expect_handed_over(from_client() / tcp(flags), to); }
  void open_to_pi2() {
    expect_to(kSyn, pi2_mac);
    expect_to(kAck, pi2_mac);
  }
  void begin_tenure(std::uint64_t claim_epoch) {
    lb_vip row = vip_row(kVipId);
    row.claim_epoch = claim_epoch;
    rig().set_vip(vip, row);
  }
  lb_flow flow_of(const Fate& fate, std::uint8_t protocol = IPPROTO_TCP) const {
    const auto found = fate.after.flows.find(forward_key(protocol));
    return found == fate.after.flows.end() ? lb_flow{} : found->second;
  }
  lb_flow half_open_of(const Fate& fate, std::uint8_t protocol = IPPROTO_TCP) const {
    const auto found = fate.after.half_open.find(forward_key(protocol));
    return found == fate.after.half_open.end() ? lb_flow{} : found->second;
  }
};
XLB_RUN_SUITE(PeerTest, kEveryWay, kBothNets);
class PeerIpv4Test : public PeerTest {};
XLB_RUN_SUITE(PeerIpv4Test, kEveryWay, kIpv4Only);
class PeerIpv6Test : public PeerTest {};
XLB_RUN_SUITE(PeerIpv6Test, kEveryWay, kIpv6Only);

// ---- the frame

TEST_P(PeerTest, OnlyMacAddressesAndTheTimeToLiveChange) {
  for (const std::size_t size : {0u, 1u, 7u, 1400u}) {
    expect_handed_over(from_client() / tcp(kAck) / Payload::of_size(size), pi2_mac);
    expect_handed_over(from_client() / udp() / Payload::of_size(size), pi2_mac);
  }
}

TEST_P(PeerTest, WrongOrUnfinishedChecksumsAreNoneOfItsBusiness) {
  Tcp partial = tcp(kSyn);
  partial.checksum = 0x1234;
  expect_handed_over(from_client() / partial, pi2_mac);
  Udp none = udp();
  none.checksum = 0;
  expect_handed_over(from_client() / none / Payload("x"), pi2_mac);
}

TEST_P(PeerIpv4Test, EveryTimeToLiveGivesTheRightChecksum) {
  for (unsigned ttl = 2; ttl < 256; ttl++) {
    Packet packet = from_client() / tcp(kAck);
    packet.get<Ipv4>().ttl = static_cast<std::uint8_t>(ttl);
    packet.get<Ipv4>().id = static_cast<std::uint16_t>(ttl * 257);
    expect_handed_over(packet, pi2_mac);
  }
}

TEST_P(PeerIpv4Test, OptionsStay) {
  Packet packet = from_client() / tcp(kSyn);
  packet.get<Ipv4>().options = Bytes(12, 1);
  expect_handed_over(packet, pi2_mac);
}

TEST_P(PeerIpv6Test, ExtensionHeadersStay) {
  expect_handed_over(from_client() / Ipv6Extension{.kind = 60, .body = Bytes(6, 0)} / tcp(kSyn), pi2_mac);
}

TEST_P(PeerTest, AWornOutPacketIsDroppedAndCounted) {
  for (const std::uint8_t ttl : {std::uint8_t{0}, std::uint8_t{1}}) {
    Packet packet = from_client() / tcp(kSyn);
    if (v4()) packet.get<Ipv4>().ttl = ttl;
    if (!v4()) packet.get<Ipv6>().hop_limit = ttl;
    expect_dropped(receive(packet), XLB_VERDICT_TTL_OVER);
  }
}

TEST_P(PeerTest, SegmentsThatTheNicHasJoinedAreHandedOverAsOne) {
  const Packet large = from_client() / tcp(kAck) / Payload::of_size(3000);
  if (with_xdp()) return;  // XDP sees none
  const Fate fate = receive(Input{.frame = large.bytes(), .ifindex = lan, .gso_size = 1448});
  expect_handed_over_by_twin(fate, large.bytes(), pi2_mac);
}

TEST_P(PeerTest, ATaggedFrameKeepsItsTag) {
  const lb_link tagged = link;
  rig().set_link(lan, 7, tagged);
  lb_peer there = peer_row(pi2, pi2_mac);
  there.vlan = 7;
  rig().set_peer(kPi2, there);
  const Packet packet =
      Packet(Ethernet{.source = client_mac, .destination = own_mac}) / Vlan{.id = 7} / ip(client, vip) / tcp(kSyn);
  Bytes expected = packet.bytes();
  if (!with_xdp()) expected.erase(expected.begin() + 12, expected.begin() + 16);  // the tag is in the metadata
  expect_handed_over(receive(packet), expected, pi2_mac);
}

TEST_P(PeerTest, APeerBehindAnotherLinkIsTheTwins) {
  lb_peer there = peer_row(pi2, pi2_mac);
  there.attach_ifindex = sandbox().lan1.ifindex;
  rig().set_peer(kPi2, there);
  const Packet packet = from_client() / tcp(kSyn);
  // There is no such link yet: dropped, rather than sent with a wrong address.
  expect_dropped(receive(packet), XLB_VERDICT_ERROR);
  lb_link other = link;
  const MacAddress other_mac{"02:00:00:00:00:11"};
  std::copy(other_mac.bytes.begin(), other_mac.bytes.end(), other.mac);
  rig().set_link(sandbox().lan1.ifindex, 0, other);
  const MacAddress lan_mac = std::exchange(own_mac, other_mac);
  Bytes frame = packet.bytes();
  const Fate fate = receive(Input{.frame = frame, .ifindex = lan});
  expect_handed_over_by_twin(fate, frame, pi2_mac);
  own_mac = lan_mac;
}

TEST_P(PeerTest, XdpSendsOnlyWhereTheLinkSaysThatItMay) {
  link.flags &= ~XLB_LINK_XDP_SENDS;
  rig().set_link(lan, 0, link);
  const Packet packet = from_client() / tcp(kSyn);
  expect_handed_over_by_twin(receive(packet), packet.bytes(), pi2_mac);
}

TEST_P(PeerTest, ServicesOfThisNodeAloneAreTheTwins) {
  set_web(XLB_SERVICE_TWIN);
  const Packet packet = from_client() / tcp(kSyn);
  expect_handed_over_by_twin(receive(packet), packet.bytes(), pi2_mac);
}

// ---- flows

TEST_P(PeerTest, AFlowHasOneEntry) {
  const Fate syn = send(kSyn);
  expect_one_verdict(syn, XLB_VERDICT_TO_PEER);
  EXPECT_TRUE(syn.after.flows.empty());
  ASSERT_EQ(syn.after.half_open.size(), 1u);
  const lb_flow begun = half_open_of(syn);
  EXPECT_EQ(begun.backend_id, kPodC);
  EXPECT_EQ(begun.generation, kGeneration);
  EXPECT_EQ(begun.state, XLB_FLOW_HALF_OPEN);
  EXPECT_EQ(begun.flags, kFirstTenure);
  EXPECT_EQ(IpAddress(begun.vip), vip);
  EXPECT_EQ(begun.vip_port, htons(80));
  EXPECT_EQ(syn.after.services.at(kWeb).flows, 1u);
  EXPECT_EQ(syn.after.services.at(kWeb).packets_in, 1u);
  EXPECT_EQ(syn.after.services.at(kWeb).bytes_in, (from_client() / tcp(kSyn)).bytes().size());

  const Fate again = send(kSyn);  // sent twice
  EXPECT_EQ(again.after.services.at(kWeb).flows, 1u);
  EXPECT_TRUE(again.after.flows.empty());

  const Fate ack = send(kAck);
  expect_one_verdict(ack, XLB_VERDICT_TO_PEER);
  EXPECT_TRUE(ack.after.half_open.empty());
  ASSERT_EQ(ack.after.flows.size(), 1u);
  EXPECT_EQ(flow_of(ack).state, XLB_FLOW_ESTABLISHED);
  EXPECT_EQ(ack.after.services.at(kWeb).packets_in, 3u);
}

TEST_P(PeerTest, AChangeOfSlotsMovesNoFlow) {
  open_to_pi2();
  expect_handed_over(from_client() / udp() / Payload("a"), pi2_mac);
  fill_both(kWeb, {kPodD, kPodC}, {kPodA, kPodB});
  fill_both(kDns, {kPodDUdp, kPodCUdp}, {kPodAUdp, kPodBUdp});
  expect_to(kAck, pi2_mac);
  expect_handed_over(from_client() / udp() / Payload("b"), pi2_mac);
  expect_handed_over(from_client() / tcp(kSyn, kClientPort + 1), pi3_mac);
  expect_handed_over(from_client() / udp(kClientPort + 1) / Payload("c"), pi3_mac);
}

TEST_P(PeerTest, AnotherEndpointUnderTheSameIdIsAMiss) {
  open_to_pi2();
  lb_backend row = remote_row(pod_c, 8080, IPPROTO_TCP, kPi2);
  row.generation++;
  rig().set_backend(kPodC, row);
  fill_both(kWeb, {kPodD, kPodC}, {kPodA, kPodB});
  const Packet packet = from_client() / tcp(kAck);
  const Fate fate = receive(packet);
  expect_handed_over_by_twin(fate, packet.bytes(), pi3_mac);  // what is left in xlb_flows is the twin's to clear
  EXPECT_TRUE(fate.after.flows.empty());
  EXPECT_EQ(half_open_of(fate).backend_id, kPodD);
  EXPECT_EQ(half_open_of(fate).flags, XLB_FLOW_GUESSED | kFirstTenure);
}

TEST_P(PeerTest, TheSecondBackendIsTakenWhenTheFirstOnesNodeIsDead) {
  open_to_pi2();
  expect_handed_over(from_client() / tcp(kSyn, 50001), pi2_mac);
  set_alive(kPi2, false);
  const Packet ack = from_client() / tcp(kAck);
  expect_handed_over_by_twin(receive(ack), ack.bytes(), pi3_mac);
  const Packet half_open = from_client() / tcp(kSyn, 50001);  // chosen anew as well
  expect_handed_over_by_twin(receive(half_open), half_open.bytes(), pi3_mac);
  expect_handed_over(from_client() / tcp(kSyn, 50002), pi3_mac);
  set_alive(kPi2, true);
  expect_to(kAck, pi3_mac);  // it stays where it went
  expect_handed_over(from_client() / tcp(kSyn, 50003), pi2_mac);
}

TEST_P(PeerTest, AConnectionWaitsForANodeThatWasLostAMomentAgo) {
  open_to_pi2();
  expect_handed_over(from_client() / tcp(kSyn, 50001), pi2_mac);
  set_presence(kPi2, XLB_PEER_AWAITED);
  const Fate waits = send(kAck);
  expect_dropped(waits, XLB_VERDICT_AWAITED);
  EXPECT_EQ(flow_of(waits).backend_id, kPodC);
  expect_dropped(send(kAck, 50001), XLB_VERDICT_AWAITED);
  const Packet again = from_client() / tcp(kSyn, 50002);  // what begins now does not wait
  expect_handed_over(again, pi3_mac);
  expect_dropped(send(kFin | kAck), XLB_VERDICT_AWAITED);
  set_alive(kPi2, true);
  expect_to(kAck, pi2_mac);
  set_alive(kPi2, false);
  const Packet ack = from_client() / tcp(kAck);
  expect_handed_over_by_twin(receive(ack), ack.bytes(), pi3_mac);  // who ends it, or knows it
}

TEST_P(PeerTest, AConnectionThatThisNodeHasNotSeenWaitsToo) {
  set_presence(kPi2, XLB_PEER_AWAITED);
  const Fate waits = send(kAck);
  expect_dropped(waits, XLB_VERDICT_AWAITED);
  EXPECT_TRUE(waits.after.half_open.empty());
  EXPECT_TRUE(waits.after.flows.empty());
  fill_both(kWeb, {kPodC, kPodA}, {kPodA, 0});
  expect_dropped(send(kAck), XLB_VERDICT_AWAITED);  // rather than the pod at hand
  fill_both(kWeb, {kPodD, kPodC}, {kPodA, 0});
  expect_handed_over(from_client() / tcp(kAck, 50001), pi3_mac);  // the second backend is not waited for
  fill_both(kWeb, {kPodC, kPodD}, {kPodA, 0});
  set_alive(kPi2, true);
  expect_to(kAck, pi2_mac);
}

TEST_P(PeerTest, DatagramsWaitOnceTheyWereAnswered) {
  const Packet query = from_client() / udp() / Payload("q");
  expect_handed_over(query, pi2_mac);
  lb_flow begun = half_open_of(receive(query), IPPROTO_UDP);
  begun.touched_mono_ns -= XLB_TOUCH_NS;
  rig().put_flow(forward_key(IPPROTO_UDP), begun, true);
  expect_handed_over(query, pi2_mac);
  const Packet first = from_client() / udp(50001) / Payload("q");
  expect_handed_over(first, pi2_mac);
  set_presence(kPi2, XLB_PEER_AWAITED);
  expect_dropped(receive(query), XLB_VERDICT_AWAITED);
  expect_handed_over_by_twin(receive(first), first.bytes(), pi3_mac);
  expect_handed_over(from_client() / udp(50002) / Payload("q"), pi3_mac);
}

TEST_P(PeerTest, AGuessWaitsForTheOtherBackendsNode) {
  fill_both(kWeb, {kPodA, kPodC}, {kPodA, 0});
  expect_one_verdict(send(kAck), XLB_VERDICT_TO_POD);
  set_presence(kPi2, XLB_PEER_AWAITED);
  expect_dropped(answer(from_pod(pod_a, client) / tcp_answer(kRst)), XLB_VERDICT_RETRIED);
  expect_dropped(send(kAck), XLB_VERDICT_AWAITED);
  set_alive(kPi2, true);
  expect_to(kAck, pi2_mac);
}

TEST_P(PeerTest, WhatAPeerHandsOverWaitsForNobody) {
  set_presence(kPi3, XLB_PEER_AWAITED);
  fill_both(kWeb, {kPodD, kPodC}, {kPodA, 0});
  expect_one_verdict(receive(from_peer(client) / tcp(kAck)), XLB_VERDICT_TO_POD);
}

TEST_P(PeerTest, WithoutALivingNodeItIsRefused) {
  set_alive(kPi2, false);
  set_alive(kPi3, false);
  const Fate fate = send(kSyn);
  expect_one_verdict(fate, XLB_VERDICT_NO_BACKEND);
  EXPECT_EQ(fate.output.action, kTcRedirect);  // a RST
  EXPECT_TRUE(fate.after.half_open.empty());
}

TEST_P(PeerTest, ASecondBackendOnThisNodeServes) {
  fill_both(kWeb, {kPodC, kPodA}, {kPodA, 0});
  open_to_pi2();
  set_alive(kPi2, false);
  expect_forwarded(receive(from_client() / tcp(kSyn, 50001)),
                   from_client(client, pod_a) / tcp(kSyn, 50001, 8080), XLB_VERDICT_TO_POD);
}

TEST_P(PeerTest, AFirstBackendOnThisNodeServesBesideOnesOnPeers) {
  fill_both(kWeb, {kPodA, kPodC}, {kPodA, 0});
  open_connection();
  change_backend(kPodA, 0);
  const Packet syn = from_client() / tcp(kSyn, 50001);
  expect_handed_over(syn, pi2_mac);
}

TEST_P(PeerTest, AClashAtTheFirstBackendLeadsToThePeer) {
  fill_both(kWeb, {kPodA, kPodC}, {kPodA, 0});
  open_connection();
  lb_service other = service_row(3);
  rig().set_service(kOtherVipId, 80, IPPROTO_TCP, other);
  fill_slots(3, {kPodA, kPodC});
  const Packet syn = from_client(client, other_vip) / tcp(kSyn);
  expect_handed_over_by_twin(receive(syn), syn.bytes(), pi2_mac);
}

TEST_P(PeerTest, TheClientsFinTakesTheEntryOutOfTheLargeTable) {
  open_to_pi2();
  const Fate fin = send(kFin | kAck);
  expect_one_verdict(fin, XLB_VERDICT_TO_PEER);
  EXPECT_TRUE(fin.after.flows.empty());
  EXPECT_EQ(half_open_of(fin).state, XLB_FLOW_CLOSING);
  fill_both(kWeb, {kPodD, kPodC}, {kPodA, kPodB});
  const Fate half = send(kAck);  // the server may go on for long
  expect_handed_over(half, (from_client() / tcp(kAck)).bytes(), pi2_mac);
  EXPECT_TRUE(half.after.flows.empty());
  EXPECT_EQ(half_open_of(half).state, XLB_FLOW_CLOSING);
  expect_to(kSyn, pi3_mac);  // the next connection of that port
}

TEST_P(PeerTest, AForgedResetEndsNothingThatSpeaksAgain) {
  open_to_pi2();
  const Fate reset = send(kRst);
  expect_one_verdict(reset, XLB_VERDICT_TO_PEER);
  EXPECT_TRUE(reset.after.flows.empty());
  EXPECT_EQ(half_open_of(reset).state, XLB_FLOW_CLOSING);
  fill_both(kWeb, {kPodD, kPodC}, {kPodA, kPodB});
  const Fate ack = send(kAck);
  expect_handed_over(ack, (from_client() / tcp(kAck)).bytes(), pi2_mac);
  EXPECT_EQ(flow_of(ack).state, XLB_FLOW_ESTABLISHED);
}

// The VIP was another node's meanwhile, where the same client port may have begun another connection.
TEST_P(PeerTest, WhatEndedOrHardlyBeganInAnEarlierTenureSaysNothing) {
  open_to_pi2();
  send(kRst);
  expect_handed_over(from_client() / tcp(kSyn, 50001), pi2_mac);
  expect_handed_over(from_client() / udp() / Payload("a"), pi2_mac);
  fill_both(kWeb, {kPodD, kPodC}, {kPodA, kPodB});
  fill_both(kDns, {kPodDUdp, kPodCUdp}, {kPodAUdp, kPodBUdp});
  begin_tenure(2);
  const Fate fate = send(kAck);
  expect_handed_over(fate, (from_client() / tcp(kAck)).bytes(), pi3_mac);
  EXPECT_EQ(half_open_of(fate).backend_id, kPodD);
  EXPECT_EQ(half_open_of(fate).flags, XLB_FLOW_GUESSED | 2u << XLB_FLOW_TENURE_SHIFT);
  expect_handed_over(from_client() / tcp(kAck, 50001), pi3_mac);
  expect_handed_over(from_client() / udp() / Payload("b"), pi3_mac);
  expect_to(kAck, pi3_mac);
  EXPECT_EQ(flow_of(send(kAck)).flags, 2u << XLB_FLOW_TENURE_SHIFT);
}

TEST_P(PeerTest, AnOpenConnectionOutlivesTenures) {
  open_to_pi2();
  fill_both(kWeb, {kPodD, kPodC}, {kPodA, kPodB});
  begin_tenure(2);
  expect_to(kAck, pi2_mac);
  begin_tenure(6);
  expect_to(kAck, pi2_mac);
  send(kRst);  // it began in another tenure, but is heard of in this one
  expect_to(kAck, pi2_mac);
  send(kFin | kAck);
  expect_to(kAck, pi2_mac);
  begin_tenure(7);
  expect_to(kAck, pi3_mac);
}

TEST_P(PeerTest, ATenureEndsForBackendsOfThisNodeToo) {
  fill_both(kWeb, {kPodA, kPodC}, {kPodA, 0});
  open_connection();
  send(kRst);
  fill_both(kWeb, {kPodB, kPodC}, {kPodB, 0});
  expect_forwarded(send(kAck), from_client(client, pod_a) / tcp(kAck, kClientPort, 8080), XLB_VERDICT_TO_POD);
  send(kRst);
  begin_tenure(3);
  expect_forwarded(send(kAck), from_client(client, pod_b) / tcp(kAck, kClientPort, 8080), XLB_VERDICT_TO_POD);
}

TEST_P(PeerTest, DeadEntriesAreNoEntries) {
  lb_flow old{};
  old.vip = vip.abi();
  old.vip_port = htons(80);
  old.backend_id = kPodD;
  old.generation = kGeneration;
  old.state = XLB_FLOW_HALF_OPEN;
  old.seen_mono_ns = mono_ns() - XLB_HALF_OPEN_NS - XLB_SECOND_NS;
  rig().put_flow(forward_key(IPPROTO_TCP), old, true);
  expect_to(kAck, pi2_mac);
  old.state = XLB_FLOW_ESTABLISHED;
  old.seen_mono_ns = mono_ns() - XLB_TCP_IDLE_DEFAULT_NS - XLB_SECOND_NS;
  rig().put_flow(forward_key(IPPROTO_TCP), old);
  const Packet ack = from_client() / tcp(kAck);
  const Fate fate = receive(ack);
  expect_handed_over_by_twin(fate, ack.bytes(), pi2_mac);
  EXPECT_TRUE(fate.after.flows.empty());
}

TEST_P(PeerTest, DatagramsStayHalfOpenForASecond) {
  const Packet query = from_client() / udp() / Payload("q");
  expect_handed_over(query, pi2_mac);
  const Fate soon = receive(query);
  EXPECT_TRUE(soon.after.flows.empty());
  lb_flow begun = half_open_of(soon, IPPROTO_UDP);
  begun.touched_mono_ns -= XLB_TOUCH_NS;
  rig().put_flow(forward_key(IPPROTO_UDP), begun, true);
  const Fate later = receive(query);
  expect_handed_over(later, query.bytes(), pi2_mac);
  EXPECT_EQ(flow_of(later, IPPROTO_UDP).state, XLB_FLOW_ESTABLISHED);
}

TEST_P(PeerTest, DrainingBackendsKeepTheirFlows) {
  open_to_pi2();
  lb_backend row = remote_row(pod_c, 8080, IPPROTO_TCP, kPi2);
  row.flags |= XLB_BACKEND_DRAINING;
  rig().set_backend(kPodC, row);
  expect_to(kAck, pi2_mac);
  expect_handed_over(from_client() / tcp(kSyn, 50001), pi3_mac);
}

// ---- who may, and who does not own

TEST_P(PeerTest, AVipThatThisNodeDoesNotOwnIsServedAllTheSame) {
  lb_vip lost = vip_row(kVipId);
  lost.owned_epoch = 0;
  rig().set_vip(vip, lost);
  node.lease_boot_ns = 1;
  node.epoch++;
  rig().set_node(node);
  open_to_pi2();
}

TEST_P(PeerTest, DeniedSourcesAreNotHandedOver) {
  set_web(XLB_SERVICE_SOURCES);
  const Fate denied = send(kSyn);
  expect_dropped(denied, XLB_VERDICT_DENIED);
  rig().allow_source(kWeb, client, v4() ? 32 : 128);
  open_to_pi2();
}

TEST_P(PeerTest, AffinityPicksTheBackendOnAPeerToo) {
  set_web(XLB_SERVICE_AFFINITY);
  const Packet syn = from_client() / tcp(kSyn);
  const Fate first = receive(syn);
  expect_handed_over_by_twin(first, syn.bytes(), pi2_mac);
  EXPECT_EQ(first.after.affinity.size(), 1u);
  fill_both(kWeb, {kPodD, kPodC}, {kPodA, kPodB});
  const Packet other = from_client() / tcp(kSyn, 50001);
  expect_handed_over_by_twin(receive(other), other.bytes(), pi2_mac);
  expect_to(kAck, pi2_mac);  // a flow is a flow: no need of the twin
}

TEST_P(PeerTest, PolicyLocalKeepsFlowsHere) {
  set_web(XLB_SERVICE_LOCAL);
  expect_forwarded(send(kSyn), from_client(client, pod_a) / tcp(kSyn, kClientPort, 8080), XLB_VERDICT_TO_POD);
  set_web(XLB_SERVICE_LOCAL, 0);
  expect_one_verdict(send(kSyn, 50001), XLB_VERDICT_NO_BACKEND);
}

TEST_P(PeerTest, AGuessThatTheFirstBackendDeniesGoesToThePeer) {
  fill_both(kWeb, {kPodA, kPodC}, {kPodA, 0});
  expect_one_verdict(send(kAck), XLB_VERDICT_TO_POD);
  const Fate denied = answer(from_pod(pod_a, client) / tcp_answer(kRst));
  expect_dropped(denied, XLB_VERDICT_RETRIED);
  expect_to(kAck, pi2_mac);
}

TEST_P(PeerTest, AGuessIsNotRetriedOnADeadNode) {
  fill_both(kWeb, {kPodA, kPodC}, {kPodA, 0});
  expect_one_verdict(send(kAck), XLB_VERDICT_TO_POD);
  set_alive(kPi2, false);
  expect_one_verdict(answer(from_pod(pod_a, client) / tcp_answer(kRst)), XLB_VERDICT_RETURNED);
}

// ---- fragments and ICMP errors

TEST_P(PeerTest, FragmentsFollowTheFirst) {
  const auto pieces = fragments(from_client() / udp() / Payload::of_size(3000), 1208);
  expect_dropped(receive(pieces[1]), XLB_VERDICT_FRAGMENT_UNKNOWN);
  for (const Packet& piece : pieces) expect_handed_over_by_twin(receive(piece), piece.bytes(), pi2_mac);
  set_alive(kPi2, false);
  expect_dropped(receive(pieces[1]), XLB_VERDICT_FRAGMENT_UNKNOWN);
}

TEST_P(PeerTest, AWornOutFragmentIsDropped) {
  auto pieces = fragments(from_client() / udp() / Payload::of_size(3000), 1208);
  receive(pieces[0]);
  if (v4()) pieces[1].get<Ipv4>().ttl = 1;
  if (!v4()) pieces[1].get<Ipv6>().hop_limit = 1;
  expect_dropped(receive(pieces[1]), XLB_VERDICT_TTL_OVER);
}

TEST_P(PeerTest, IcmpErrorsFollowTheFlow) {
  const IpAddress router = v4() ? "198.51.100.1" : "2001:db8:51::1";
  const Packet too_big = v4() ? Packet(Icmp{.type = 3, .code = 4, .rest = 1280})
                              : Packet(Icmp6{.type = 2, .code = 0, .rest = 1280});
  const Packet error = from_client(router, vip) / too_big / ip(vip, client) /
                       Tcp{.source_port = 80, .destination_port = kClientPort, .flags = kAck} / Payload::of_size(64);
  expect_handed_over_by_twin(receive(error), error.bytes(), pi2_mac);  // by the slot
  open_to_pi2();
  fill_both(kWeb, {kPodD, kPodC}, {kPodA, kPodB});
  expect_handed_over_by_twin(receive(error), error.bytes(), pi2_mac);  // by the flow
  set_alive(kPi2, false);
  expect_handed_over_by_twin(receive(error), error.bytes(), pi3_mac);
}

}  // namespace
}  // namespace xlb
