// SPDX-License-Identifier: Apache-2.0
// A TCP connection to a pod of this node, from its SYN to its last ACK.
#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/packet/packet_test.hpp"

namespace xlb {
namespace {

using namespace packet;

class TcpTest : public PacketTest {
 protected:
  // What must reach the pod when the client sent `segment` to the VIP.
  Packet to_pod(Tcp segment, const IpAddress& pod) const {
    segment.destination_port = 8080;
    return from_client(client, pod) / segment;
  }
  Packet to_pod(Tcp segment) const { return to_pod(std::move(segment), pod_a); }
  // What must leave when pod A sent `segment` to the client.
  Packet to_client(Tcp segment, const IpAddress& pod) const {
    Packet frame = from_pod(pod, vip);  // for its MACs
    segment.source_port = 80;
    return Packet(frame.get<Ethernet>()) / ip(vip, client) / segment;
  }
  Packet to_client(Tcp segment) const { return to_client(std::move(segment), pod_a); }

  Fate send(std::uint8_t flags, std::uint16_t port = kClientPort) {
    return receive(from_client() / tcp(flags, port));
  }
  Fate reply(std::uint8_t flags, std::uint16_t port = kClientPort) {
    return answer(from_pod(pod_a, client) / tcp_answer(flags, port));
  }

  const lb_flow* find(const Table<lb_flow_key, lb_flow>& table, const lb_flow_key& key) {
    const auto found = table.find(key);
    return found == table.end() ? nullptr : &found->second;
  }
  lb_flow_key forward() const { return forward_key(IPPROTO_TCP); }
  lb_flow_key reverse() const { return reverse_key(IPPROTO_TCP, pod_a); }
  // Rewrites both entries of the open connection.
  template <typename Change>
  void edit_flows(const Change& change, bool half_open = false) {
    const Traces now = rig().traces();
    for (const auto& key : {forward(), reverse()}) {
      const lb_flow* found = find(half_open ? now.half_open : now.flows, key);
      ASSERT_NE(found, nullptr);
      lb_flow flow = *found;
      change(flow);
      rig().put_flow(key, flow, half_open);
    }
  }
};
XLB_RUN_SUITE(TcpTest, kEveryWay, kBothNets);

TEST_P(TcpTest, SynGoesToThePodOfItsSlot) {
  const Packet syn = from_client() / tcp(kSyn);
  const Fate fate = receive(syn);
  expect_forwarded(fate, to_pod(tcp(kSyn)), XLB_VERDICT_TO_POD);
  EXPECT_EQ(fate.after.counters[XLB_VERDICT_TO_POD].bytes, syn.bytes().size());

  EXPECT_TRUE(fate.after.flows.empty()) << "a bare SYN opens no full flow";
  ASSERT_EQ(fate.after.half_open.size(), 2u) << describe(fate.before, fate.after);
  for (const auto& key : {forward(), reverse()}) {
    const lb_flow* flow = find(fate.after.half_open, key);
    ASSERT_NE(flow, nullptr) << describe(fate.before, fate.after);
    EXPECT_EQ(flow->backend_id, kPodA);
    EXPECT_EQ(flow->generation, kGeneration);
    EXPECT_EQ(flow->service_id, kWeb);
    EXPECT_EQ(IpAddress(flow->vip), vip);
    EXPECT_EQ(ntohs(flow->vip_port), 80);
    EXPECT_EQ(flow->l3_ifindex, lan);
    EXPECT_EQ(flow->state, XLB_FLOW_HALF_OPEN);
    EXPECT_NEAR(static_cast<double>(flow->seen_mono_ns), static_cast<double>(mono_ns()), 1e9);
  }
  const lb_svc_stats stats = fate.after.services.at(kWeb);
  EXPECT_EQ(stats.flows, 1u);
  EXPECT_EQ(stats.packets_in, 1u);
  EXPECT_EQ(stats.bytes_in, syn.bytes().size());
  EXPECT_EQ(stats.packets_out, 0u);
  EXPECT_TRUE(fate.events().empty());
}

TEST_P(TcpTest, SynAckComesBackUnderTheVip) {
  send(kSyn);
  const Packet syn_ack = from_pod(pod_a, client) / tcp_answer(kSyn | kAck);
  const Fate fate = answer(syn_ack);
  expect_forwarded(fate, to_client(tcp_answer(kSyn | kAck)), XLB_VERDICT_RETURNED);
  const lb_svc_stats stats = fate.after.services.at(kWeb);
  EXPECT_EQ(stats.packets_out, 1u);
  EXPECT_EQ(stats.bytes_out, syn_ack.bytes().size());
  EXPECT_TRUE(fate.after.flows.empty()) << "the client has not answered yet: anybody can forge a SYN";
}

TEST_P(TcpTest, TheClientsAckPromotesTheFlow) {
  send(kSyn);
  reply(kSyn | kAck);
  const Fate fate = send(kAck);
  expect_forwarded(fate, to_pod(tcp(kAck)), XLB_VERDICT_TO_POD);
  ASSERT_EQ(fate.after.flows.size(), 2u) << describe(fate.before, fate.after);
  for (const auto& key : {forward(), reverse()}) {
    const lb_flow* flow = find(fate.after.flows, key);
    ASSERT_NE(flow, nullptr);
    EXPECT_EQ(flow->state, XLB_FLOW_ESTABLISHED);
  }
  EXPECT_EQ(fate.after.services.at(kWeb).flows, 1u);
  EXPECT_EQ(fate.after.services.at(kWeb).packets_in, 2u);
}

TEST_P(TcpTest, AnAckWithoutTheBackendsAnswerDoesNotPromote) {
  send(kSyn);
  const Fate fate = send(kAck);
  expect_one_verdict(fate, XLB_VERDICT_TO_POD);
  EXPECT_TRUE(fate.after.flows.empty()) << "SYN and ACK can both be forged";
}

TEST_P(TcpTest, RetransmittedSynKeepsItsBackend) {
  send(kSyn);
  fill_slots(kWeb, {kPodB, kPodA});
  expect_forwarded(send(kSyn), to_pod(tcp(kSyn)), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, DataOfEverySizeKeepsItsChecksumsBothWays) {
  open_connection();
  for (const std::size_t size : {0u, 1u, 2u, 3u, 100u, 535u, 536u, 1220u, 1440u}) {
    const Tcp request = tcp(kAck | kPsh);
    expect_forwarded(receive(from_client() / request / Payload::of_size(size)),
                     to_pod(request) / Payload::of_size(size), XLB_VERDICT_TO_POD);
    const Tcp response = tcp_answer(kAck | kPsh);
    expect_forwarded(answer(from_pod(pod_a, client) / response / Payload::of_size(size)),
                     to_client(response) / Payload::of_size(size), XLB_VERDICT_RETURNED);
  }
}

TEST_P(TcpTest, TcpOptionsAndUrgentDataPass) {
  Tcp syn = tcp(kSyn);
  syn.options = {2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7};
  expect_forwarded(receive(from_client() / syn), to_pod(syn), XLB_VERDICT_TO_POD);
  Tcp urgent = tcp(kAck | kUrg);
  urgent.urgent = 3;
  urgent.options = Bytes(40, 1);
  expect_forwarded(receive(from_client() / urgent / Payload("abc")), to_pod(urgent) / Payload("abc"),
                   XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, ChecksumsAreRightForEveryWordValue) {
  // Incremental updates go wrong at carries: let one checksummed word take many values.
  open_connection();
  for (std::uint32_t word = 0; word < 0x10000; word += 127) {
    Tcp segment = tcp(kAck);
    segment.window = static_cast<std::uint16_t>(word);
    const Output in = rig().run(Program::lan_tc, Input{.frame = from_client() / segment, .ifindex = lan});
    ASSERT_EQ(difference(to_pod(segment).bytes(), in.frame), "");
    Tcp response = tcp_answer(kAck);
    response.window = static_cast<std::uint16_t>(word);
    const Output out = rig().run(
        Program::return_tc, Input{.frame = from_pod(pod_a, client) / response, .ifindex = sandbox().pod0.ifindex});
    ASSERT_EQ(difference(to_client(response).bytes(), out.frame), "");
  }
}

TEST_P(TcpTest, AWrongChecksumStaysWrong) {
  // The pod must see that the segment was damaged on its way.
  open_connection();
  Tcp segment = tcp(kAck);
  segment.checksum = 0x1111;
  const Fate fate = receive(from_client() / segment / Payload("x"));
  expect_one_verdict(fate, XLB_VERDICT_TO_POD);
  EXPECT_FALSE(fate.decoded().sound());
}

TEST_P(TcpTest, OrderlyCloseFromTheClient) {
  open_connection();
  expect_one_verdict(send(kFin | kAck), XLB_VERDICT_TO_POD);
  Traces now = rig().traces();
  const lb_flow* flow = find(now.flows, forward());
  ASSERT_NE(flow, nullptr);
  EXPECT_EQ(flow->state, XLB_FLOW_ESTABLISHED) << "half closed: the server may send for hours";
  expect_one_verdict(reply(kAck), XLB_VERDICT_RETURNED);
  expect_one_verdict(reply(kFin | kAck), XLB_VERDICT_RETURNED);
  now = rig().traces();
  flow = find(now.flows, forward());
  ASSERT_NE(flow, nullptr);
  EXPECT_EQ(flow->state, XLB_FLOW_CLOSING);
  EXPECT_EQ(find(now.flows, reverse())->state, XLB_FLOW_CLOSING);
  expect_forwarded(send(kAck), to_pod(tcp(kAck)), XLB_VERDICT_TO_POD);  // the last ACK still arrives
}

TEST_P(TcpTest, OrderlyCloseFromTheServer) {
  open_connection();
  expect_one_verdict(reply(kFin | kAck), XLB_VERDICT_RETURNED);
  Traces now = rig().traces();
  EXPECT_EQ(find(now.flows, forward())->state, XLB_FLOW_ESTABLISHED);
  expect_one_verdict(send(kAck), XLB_VERDICT_TO_POD);
  expect_one_verdict(send(kFin | kAck), XLB_VERDICT_TO_POD);
  now = rig().traces();
  EXPECT_EQ(find(now.flows, forward())->state, XLB_FLOW_CLOSING);
  expect_forwarded(reply(kAck), to_client(tcp_answer(kAck)), XLB_VERDICT_RETURNED);  // the last ACK still leaves
}

TEST_P(TcpTest, RepeatedFinIsStillDelivered) {
  open_connection();
  send(kFin | kAck);
  reply(kFin | kAck);
  // Its ACK got lost: both sides repeat their FIN.
  expect_forwarded(send(kFin | kAck), to_pod(tcp(kFin | kAck)), XLB_VERDICT_TO_POD);
  expect_forwarded(reply(kFin | kAck), to_client(tcp_answer(kFin | kAck)), XLB_VERDICT_RETURNED);
}

TEST_P(TcpTest, ResetOfTheClientCloses) {
  open_connection();
  expect_forwarded(send(kRst), to_pod(tcp(kRst)), XLB_VERDICT_TO_POD);
  const Traces now = rig().traces();
  const lb_flow* flow = find(now.flows, forward());
  EXPECT_TRUE(flow == nullptr || flow->state == XLB_FLOW_CLOSING) << describe(now, now);
}

TEST_P(TcpTest, ResetOfTheServerIsTranslatedAndCloses) {
  open_connection();
  expect_forwarded(reply(kRst | kAck), to_client(tcp_answer(kRst | kAck)), XLB_VERDICT_RETURNED);
  const Traces now = rig().traces();
  const lb_flow* flow = find(now.flows, forward());
  EXPECT_TRUE(flow == nullptr || flow->state == XLB_FLOW_CLOSING) << describe(now, now);
}

TEST_P(TcpTest, RefusedByThePodIsToldToTheClient) {
  send(kSyn);
  expect_forwarded(reply(kRst | kAck), to_client(tcp_answer(kRst | kAck)), XLB_VERDICT_RETURNED);
}

TEST_P(TcpTest, AForgedResetDoesNotEndTheConnection) {
  // The programs cannot check sequence numbers; the pod can, and goes on talking.
  open_connection();
  fill_slots(kWeb, {kPodB, kPodB});
  send(kRst);
  expect_forwarded(reply(kAck | kPsh), to_client(tcp_answer(kAck | kPsh)), XLB_VERDICT_RETURNED);
  expect_forwarded(send(kAck), to_pod(tcp(kAck)), XLB_VERDICT_TO_POD);
  expect_forwarded(reply(kAck), to_client(tcp_answer(kAck)), XLB_VERDICT_RETURNED);
  expect_forwarded(send(kAck), to_pod(tcp(kAck)), XLB_VERDICT_TO_POD);
  const Traces now = rig().traces();
  for (const auto& key : {forward(), reverse()}) {
    const lb_flow* flow = find(now.flows, key);
    ASSERT_NE(flow, nullptr) << describe(now, now);
    EXPECT_EQ(flow->state, XLB_FLOW_ESTABLISHED) << "idle time counts again, not the ten seconds of a closing flow";
  }
}

TEST_P(TcpTest, BareSynOnALiveFlowStaysWithItsBackend) {
  // A client that crashed and came back, or a forgery: the pod sorts it out by a challenge ACK (RFC 5961).
  open_connection();
  fill_slots(kWeb, {kPodB, kPodB});
  expect_forwarded(send(kSyn), to_pod(tcp(kSyn)), XLB_VERDICT_TO_POD);
  expect_forwarded(send(kAck), to_pod(tcp(kAck)), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, BareSynOnAClosingFlowChoosesAnew) {
  open_connection();
  send(kRst);
  fill_slots(kWeb, {kPodB, kPodA});
  expect_forwarded(send(kSyn), to_pod(tcp(kSyn), pod_b), XLB_VERDICT_TO_POD);
  EXPECT_EQ(rig().traces().services.at(kWeb).flows, 2u);
}

TEST_P(TcpTest, SamePortAgainAfterAnOrderlyClose) {
  open_connection();
  send(kFin | kAck);
  reply(kFin | kAck);
  send(kAck);
  open_connection();
  expect_forwarded(receive(from_client() / tcp(kAck) / Payload("GET")), to_pod(tcp(kAck)) / Payload("GET"),
                   XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, EstablishedFlowSurvivesAChangeOfItsSlot) {
  open_connection();
  fill_slots(kWeb, {kPodB, kPodB});
  expect_forwarded(send(kAck), to_pod(tcp(kAck)), XLB_VERDICT_TO_POD);
  expect_forwarded(reply(kAck), to_client(tcp_answer(kAck)), XLB_VERDICT_RETURNED);
}

TEST_P(TcpTest, EstablishedFlowSurvivesTheRemovalOfItsService) {
  // Edits go VIPs, services, slots, backends: between two of them connections still live.
  open_connection();
  rig().set_service(
      kVipId, 80, IPPROTO_TCP,
      lb_service{.service_id = kWeb, .flags = 0, .slot_base = 0, .slot_count = 0, .affinity_s = 0, .hash_seed = 0,
                 .local_slot_base = 0, .local_slot_count = 0});
  expect_forwarded(send(kAck), to_pod(tcp(kAck)), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, ReusedBackendIdIsAMiss) {
  // The id has been given to another endpoint: nothing of the old flow may reach it under its own name.
  open_connection();
  change_backend(kPodA, XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL, kGeneration + 1);
  fill_slots(kWeb, {kPodB, kPodA});
  expect_forwarded(send(kSyn), to_pod(tcp(kSyn), pod_b), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, DeadBackendIsAMiss) {
  open_connection();
  change_backend(kPodA, 0);
  expect_forwarded(send(kSyn), to_pod(tcp(kSyn), pod_b), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, SecondBackendTakesOverNewFlows) {
  change_backend(kPodA, XLB_BACKEND_LOCAL);  // not live
  expect_forwarded(send(kSyn), to_pod(tcp(kSyn), pod_b), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, DrainingBackendKeepsItsFlowsAndGetsNoNewOnes) {
  open_connection();
  change_backend(kPodA, XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL | XLB_BACKEND_DRAINING);
  expect_forwarded(send(kAck), to_pod(tcp(kAck)), XLB_VERDICT_TO_POD);
  expect_forwarded(reply(kAck), to_client(tcp_answer(kAck)), XLB_VERDICT_RETURNED);
  expect_forwarded(send(kSyn, 41000), to_pod(tcp(kSyn, 41000), pod_b), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, BackendOnADeadNodeIsPassedOver) {
  lb_backend remote = backend_row(pod_a, 8080, IPPROTO_TCP, 0);
  remote.flags = XLB_BACKEND_LIVE;
  remote.node_id = 5;
  rig().set_backend(kPodA, remote);
  expect_forwarded(send(kSyn), to_pod(tcp(kSyn), pod_b), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, IdleFlowEndsAfterItsTime) {
  open_connection();
  fill_slots(kWeb, {kPodB, kPodA});
  edit_flows([&](lb_flow& flow) { flow.seen_mono_ns = mono_ns() - node.tcp_idle_ns + 5 * XLB_SECOND_NS; });
  expect_one_verdict(send(kAck), XLB_VERDICT_TO_POD);
  EXPECT_EQ(find(rig().traces().flows, forward())->backend_id, kPodA) << "five seconds were left";
  edit_flows([&](lb_flow& flow) { flow.seen_mono_ns = mono_ns() - node.tcp_idle_ns - XLB_SECOND_NS; });
  expect_forwarded(send(kSyn), to_pod(tcp(kSyn), pod_b), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, IdleTimeIsTheNodesSetting) {
  open_connection();
  node.tcp_idle_ns = 60 * XLB_SECOND_NS;
  rig().set_node(node);
  fill_slots(kWeb, {kPodB, kPodA});
  edit_flows([&](lb_flow& flow) { flow.seen_mono_ns = mono_ns() - 61 * XLB_SECOND_NS; });
  expect_forwarded(send(kSyn), to_pod(tcp(kSyn), pod_b), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, HalfOpenFlowEndsAfterAMinute) {
  send(kSyn);
  fill_slots(kWeb, {kPodB, kPodA});
  edit_flows([&](lb_flow& flow) { flow.seen_mono_ns = mono_ns() - XLB_HALF_OPEN_NS - XLB_SECOND_NS; }, true);
  expect_forwarded(send(kSyn), to_pod(tcp(kSyn), pod_b), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, ForwardHitRecreatesAnEvictedReverseEntry) {
  open_connection();
  edit_flows([&](lb_flow& flow) { flow.touched_mono_ns = mono_ns() - 2 * XLB_SECOND_NS; });
  rig().remove_flow(reverse());
  send(kAck);
  expect_forwarded(reply(kAck), to_client(tcp_answer(kAck)), XLB_VERDICT_RETURNED);
}

TEST_P(TcpTest, ReverseHitRecreatesAnEvictedForwardEntry) {
  // A download: the client's ACKs may be rare, and its slot may have changed meanwhile.
  open_connection();
  edit_flows([&](lb_flow& flow) { flow.touched_mono_ns = mono_ns() - 2 * XLB_SECOND_NS; });
  rig().remove_flow(forward());
  fill_slots(kWeb, {kPodB, kPodB});
  reply(kAck);
  expect_forwarded(send(kAck), to_pod(tcp(kAck)), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, ForwardHitsKeepTheReverseEntryYoung) {
  open_connection();
  edit_flows([&](lb_flow& flow) {
    flow.touched_mono_ns = mono_ns() - 2 * XLB_SECOND_NS;
    flow.seen_mono_ns = mono_ns() - 100 * XLB_SECOND_NS;
  });
  send(kAck);
  const Traces now = rig().traces();
  EXPECT_GT(find(now.flows, reverse())->seen_mono_ns, mono_ns() - 2 * XLB_SECOND_NS);
  EXPECT_GT(find(now.flows, forward())->seen_mono_ns, mono_ns() - 2 * XLB_SECOND_NS);
}

TEST_P(TcpTest, SynFloodEvictsNoConnection) {
  open_connection();
  fill_slots(kWeb, {kPodB, kPodB});
  for (std::uint32_t i = 0; i < 40000; i++) {  // the table for half-open flows holds 16384 in these tests
    const IpAddress source =
        v4() ? IpAddress("172.16." + std::to_string(i >> 8 & 0xff) + "." + std::to_string(i & 0xff))
             : IpAddress("fd00:1::" + std::to_string(i >> 8 & 0xff) + ":" + std::to_string(i & 0xff));
    rig().run(Program::lan_tc,
              Input{.frame = from_client(source, vip) / tcp(kSyn, static_cast<std::uint16_t>(1024 + (i >> 16))),
                    .ifindex = lan});
  }
  expect_forwarded(send(kAck), to_pod(tcp(kAck)), XLB_VERDICT_TO_POD);
  expect_forwarded(reply(kAck), to_client(tcp_answer(kAck)), XLB_VERDICT_RETURNED);
}

TEST_P(TcpTest, MidFlowPacketOfAnUnknownConnectionFollowsItsSlot) {
  // Another node owned the VIP until now: the same slot names the same backend.
  const Fate fate = send(kAck);
  expect_forwarded(fate, to_pod(tcp(kAck)), XLB_VERDICT_TO_POD);
  expect_forwarded(reply(kAck), to_client(tcp_answer(kAck)), XLB_VERDICT_RETURNED);
  expect_one_verdict(send(kAck), XLB_VERDICT_TO_POD);
  EXPECT_NE(find(rig().traces().flows, forward()), nullptr) << "both sides spoke: established";
}

TEST_P(TcpTest, WrongGuessTriesTheSecondBackend) {
  // The slot changed since the connection began: its first backend does not know it and says RST.
  expect_forwarded(send(kAck), to_pod(tcp(kAck)), XLB_VERDICT_TO_POD);
  const Fate reset = reply(kRst);
  EXPECT_EQ(reset.output.action, kTcShot) << "the client must not hear of the wrong guess";
  expect_one_verdict(reset, XLB_VERDICT_RETRIED);
  // The client repeats its segment.
  expect_forwarded(send(kAck), to_pod(tcp(kAck), pod_b), XLB_VERDICT_TO_POD);
  const Tcp answer_b = tcp_answer(kAck);
  expect_forwarded(answer(from_pod(pod_b, client) / answer_b), to_client(answer_b, pod_b), XLB_VERDICT_RETURNED);
  expect_forwarded(send(kAck), to_pod(tcp(kAck), pod_b), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, SecondWrongGuessIsTold) {
  send(kAck);
  reply(kRst);
  send(kAck);
  const Tcp reset = tcp_answer(kRst);
  expect_forwarded(answer(from_pod(pod_b, client) / reset), to_client(reset, pod_b), XLB_VERDICT_RETURNED);
}

TEST_P(TcpTest, ResetOfAKnownConnectionIsNoGuess) {
  open_connection();
  expect_forwarded(reply(kRst), to_client(tcp_answer(kRst)), XLB_VERDICT_RETURNED);
}

TEST_P(TcpTest, MidFlowPacketOfADeadBackendNeverFallsBack) {
  // kube-proxy knows nothing of a fast-path connection: its kernel would answer under the node's own address.
  rig().set_vip(vip, vip_row(kVipId, XLB_VIP_FALL_BACK));
  open_connection();
  change_backend(kPodA, 0);
  change_backend(kPodB, 0);
  const Fate fate = send(kAck);
  expect_sent_back(fate, XLB_VERDICT_NO_BACKEND);
  EXPECT_EQ(fate.decoded().tcp_flags & kRst, kRst);
}

TEST_P(TcpTest, TtlIsLeftAloneOnTheWayIntoThePod) {
  for (const int ttl : {1, 2, 64, 255}) {
    Packet in = from_client() / tcp(kSyn), out = to_pod(tcp(kSyn));
    if (v4()) in.get<Ipv4>().ttl = out.get<Ipv4>().ttl = static_cast<std::uint8_t>(ttl);
    if (!v4()) in.get<Ipv6>().hop_limit = out.get<Ipv6>().hop_limit = static_cast<std::uint8_t>(ttl);
    expect_forwarded(receive(in), out, XLB_VERDICT_TO_POD);
  }
}

TEST_P(TcpTest, CongestionBitsAreLeftAlone) {
  Packet in = from_client() / tcp(kSyn), out = to_pod(tcp(kSyn));
  if (v4()) in.get<Ipv4>().tos = out.get<Ipv4>().tos = 0xb9;
  if (!v4()) in.get<Ipv6>().traffic_class = out.get<Ipv6>().traffic_class = 0xb9;
  expect_forwarded(receive(in), out, XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, ServedWhileTheVipIsMovingAway) {
  lb_vip row = vip_row(kVipId);
  row.owned_epoch = 0;
  rig().set_vip(vip, row);
  expect_forwarded(send(kSyn), to_pod(tcp(kSyn)), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, ServedWithTheLeaseOver) {
  node.lease_boot_ns = boot_ns() - 1;
  rig().set_node(node);
  expect_forwarded(send(kSyn), to_pod(tcp(kSyn)), XLB_VERDICT_TO_POD);
}

TEST_P(TcpTest, ForeignMacAndBroadcastPass) {
  Packet packet = from_client() / tcp(kSyn);
  for (const char* mac : {"02:00:00:00:00:77", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01"}) {
    packet.get<Ethernet>().destination = mac;
    expect_ignored(packet);
  }
}

TEST_P(TcpTest, ALinkThatIsNoLanPasses) {
  link.role = XLB_LINK_RETURN;
  rig().set_link(lan, 0, link);
  expect_ignored(from_client() / tcp(kSyn));
}

TEST_P(TcpTest, OtherAddressesPass) {
  expect_ignored(from_client(client, node_address) / tcp(kSyn));
  expect_ignored(from_client(client, pod_a) / tcp(kSyn));
}

TEST_P(TcpTest, TryDeadlineOverPassesEverything) {
  open_connection();
  node.try_mono_ns = mono_ns() - XLB_SECOND_NS;
  rig().set_node(node);
  const Packet segment = from_client() / tcp(kAck);
  expect_ignored(segment);
  const Packet response = from_pod(pod_a, client) / tcp_answer(kAck);
  expect_ignored(answer(response), response.bytes());
  expect_ignored(egress(response), response.bytes());
}

}  // namespace
}  // namespace xlb
