// SPDX-License-Identifier: Apache-2.0
// `xdp-lb trace`: packets are sampled while somebody listens, and only then.
#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/packet/packet_test.hpp"

namespace xlb {
namespace {

using namespace packet;

class TraceTest : public PacketTest {
 protected:
  void listen(std::uint32_t every = 1) {
    node.trace_until_mono_ns = mono_ns() + 60 * XLB_SECOND_NS;
    node.trace_every = every;
    rig().set_node(node);
  }
  void expect_trace(const Fate& fate, enum xlb_verdict verdict, std::uint32_t program) {
    ASSERT_EQ(fate.events().size(), 1u) << describe(fate.before, fate.after);
    const lb_event event = fate.events()[0];
    EXPECT_EQ(event.kind, XLB_EVENT_TRACE);
    EXPECT_EQ(event.verdict, static_cast<std::uint32_t>(verdict));
    EXPECT_EQ(event.program, program);
    EXPECT_NEAR(static_cast<double>(event.mono_ns), static_cast<double>(mono_ns()), 1e9);
  }
  std::uint32_t program_of(const Fate& fate) const { return fate.in_xdp ? XLB_PROGRAM_LAN_XDP : XLB_PROGRAM_LAN_TC; }
};
XLB_RUN_SUITE(TraceTest, kEveryWay, kBothNets);

TEST_P(TraceTest, ForwardedPacketIsTold) {
  listen();
  const Packet packet = from_client() / tcp(kSyn);
  const Fate fate = receive(packet);
  expect_trace(fate, XLB_VERDICT_TO_POD, XLB_PROGRAM_LAN_TC);
  const lb_event event = fate.events()[0];
  EXPECT_EQ(IpAddress(event.source), client);
  EXPECT_EQ(IpAddress(event.destination), vip);
  EXPECT_EQ(ntohs(event.source_port), kClientPort);
  EXPECT_EQ(ntohs(event.destination_port), 80);
  EXPECT_EQ(IpAddress(event.backend), pod_a);
  EXPECT_EQ(ntohs(event.backend_port), 8080);
  EXPECT_EQ(event.protocol, IPPROTO_TCP);
  EXPECT_EQ(event.ifindex, lan);
  EXPECT_EQ(event.length, packet.bytes().size());
  EXPECT_EQ(event.vlan, 0);
  expect_trace(answer(from_pod(pod_a, client) / tcp_answer(kSyn | kAck)), XLB_VERDICT_RETURNED, XLB_PROGRAM_RETURN);
}

TEST_P(TraceTest, AnswersAndRefusalsAreTold) {
  listen();
  const Fate ping = receive(from_client() / (v4() ? Packet(Icmp{}) : Packet(Icmp6{})) / Payload("x"));
  expect_trace(ping, XLB_VERDICT_PING_REPLY, program_of(ping));
  const Fate closed = receive(from_client() / tcp(kSyn, kClientPort, 81));
  expect_trace(closed, XLB_VERDICT_REJECTED_TCP, XLB_PROGRAM_LAN_TC);
  EXPECT_EQ(ntohs(closed.events()[0].destination_port), 81);
  if (v4()) {
    const Fate arp = receive(Ethernet{.source = client_mac, .destination = kBroadcast} /
                             Arp{.operation = 1, .sender_mac = client_mac, .sender = client, .target = vip});
    expect_trace(arp, XLB_VERDICT_ARP_REPLY, program_of(arp));
  }
}

TEST_P(TraceTest, TheVlanIsTold) {
  listen();
  rig().set_link(lan, 7, link);
  const Fate fate = receive(Packet(Ethernet{.source = client_mac, .destination = own_mac}) /
                            Vlan{.id = 7, .priority = 6} / ip(client, vip) / tcp(kSyn));
  ASSERT_EQ(fate.events().size(), 1u);
  EXPECT_EQ(fate.events()[0].vlan, 7);
}

TEST_P(TraceTest, NobodyListens) {
  EXPECT_TRUE(receive(from_client() / tcp(kSyn)).events().empty());
  listen();
  node.trace_until_mono_ns = mono_ns() - XLB_SECOND_NS;
  rig().set_node(node);
  EXPECT_TRUE(receive(from_client() / tcp(kSyn)).events().empty()) << "the listener has gone without a word";
}

TEST_P(TraceTest, WhatPassesIsNotTold) {
  listen();
  expect_ignored(from_client(client, node_address) / tcp(kSyn));
}

TEST_P(TraceTest, OneOfMany) {
  listen(10);
  open_connection();
  rig().drain_events();
  const Bytes frame = from_client() / tcp(kAck);
  for (int i = 0; i < 2000; i++) rig().run(Program::lan_tc, Input{.frame = frame, .ifindex = lan});
  const std::size_t events = rig().events().size();
  EXPECT_GT(events, 130u);  // 200 expected, deviation 13
  EXPECT_LT(events, 270u);
}

TEST_P(TraceTest, AFullRingStopsNothing) {
  listen();
  open_connection();
  const Bytes frame = from_client() / tcp(kAck);
  for (std::uint32_t i = 0; i < XLB_EVENT_RING_BYTES / sizeof(lb_event) + 100; i++) {
    ASSERT_EQ(rig().run(Program::lan_tc, Input{.frame = frame, .ifindex = lan}).action, kTcRedirect);
  }
  rig().drain_events();
  expect_trace(receive(from_client() / tcp(kAck)), XLB_VERDICT_TO_POD, XLB_PROGRAM_LAN_TC);
}

}  // namespace
}  // namespace xlb
