// SPDX-License-Identifier: Apache-2.0
// The way back: xlb_return on the pods' veths, xlb_egress on the LAN for host sockets and the kernel path. What does
// not belong to a flow passes as it is.
#include <arpa/inet.h>
#include <netinet/in.h>

#include "tests/packet/packet_test.hpp"

namespace xlb {
namespace {

using namespace packet;

class ReturnTest : public PacketTest {
 protected:
  Packet pod_answer(std::uint8_t flags = kAck) const { return from_pod(pod_a, client) / tcp_answer(flags); }
  // What the kernel sends out of lan0 for it.
  Packet on_lan(const IpAddress& from, const Tcp& segment) const {
    return Packet(Ethernet{.source = own_mac, .destination = client_mac}) / ip(from, client) / segment;
  }
  Tcp under_vip(std::uint8_t flags) const {
    Tcp segment = tcp_answer(flags);
    segment.source_port = 80;
    return segment;
  }
  void make_backend_a(std::uint32_t flags) { change_backend(kPodA, XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL | flags); }
};
XLB_RUN_SUITE(ReturnTest, kEveryWay, kBothNets);

TEST_P(ReturnTest, WithoutAFlowEverythingPasses) {
  for (const Packet& packet : {pod_answer(), pod_answer(kSyn), from_pod(pod_a, client) / udp_answer() / Payload("x"),
                               from_pod(pod_a, pod_b) / tcp_answer(kAck), from_pod(pod_a, vip) / tcp(kSyn)}) {
    const Bytes frame = packet;
    expect_ignored(answer(packet), frame);
    expect_ignored(egress(packet), frame);
  }
}

TEST_P(ReturnTest, ArpAndOtherTypesPass) {
  const Packet arp =
      Ethernet{.source = "02:00:00:00:01:01", .destination = kBroadcast} /
      Arp{.operation = 1, .sender_mac = "02:00:00:00:01:01", .sender = "10.42.0.2", .target = "10.42.0.1"};
  const Packet lldp = Ethernet{.source = "02:00:00:00:01:01", .type = 0x88cc} / Payload::of_size(50);
  for (const Packet& packet : {arp, lldp}) {
    expect_ignored(answer(packet), packet.bytes());
    expect_ignored(egress(packet), packet.bytes());
  }
}

TEST_P(ReturnTest, OtherPortsAndPeersOfThePodPass) {
  open_connection();
  Tcp other_port = tcp_answer(kAck);
  other_port.source_port = 8081;
  Tcp other_client_port = tcp_answer(kAck);
  other_client_port.destination_port++;
  for (const Packet& packet :
       {from_pod(pod_a, client) / other_port, from_pod(pod_a, client) / other_client_port,
        from_pod(pod_a, far_client) / tcp_answer(kAck), from_pod(pod_b, client) / tcp_answer(kAck)}) {
    expect_ignored(answer(packet), packet.bytes());
  }
}

TEST_P(ReturnTest, AStaleEntryDoesNotBreakADirectConnection) {
  // The client talked to the VIP once; now it talks to the pod itself, by chance from the same port.
  open_connection();
  const Traces now = rig().traces();
  for (const auto& [key, flow] : now.flows) {
    lb_flow old = flow;
    old.seen_mono_ns = mono_ns() - node.tcp_idle_ns - XLB_SECOND_NS;
    rig().put_flow(key, old);
  }
  const Packet packet = pod_answer(kSyn | kAck);
  expect_ignored(answer(packet), packet.bytes());
}

TEST_P(ReturnTest, AnEndedFlowDoesNotBreakADirectConnection) {
  open_connection();
  receive(from_client() / tcp(kFin | kAck));
  answer(pod_answer(kFin | kAck));
  receive(from_client() / tcp(kAck));
  // Seconds later, directly: the pod's SYN|ACK must not go out under the VIP.
  const Packet packet = pod_answer(kSyn | kAck);
  const Fate fate = answer(packet);
  EXPECT_EQ(fate.output.action, kTcUnspec);
  EXPECT_EQ(difference(packet.bytes(), fate.output.frame), "");
}

TEST_P(ReturnTest, AFlowOfAClosedStateEndsAfterTenSeconds) {
  open_connection();
  receive(from_client() / tcp(kRst));
  const Traces now = rig().traces();
  for (const bool half_open : {false, true}) {
    for (const auto& [key, flow] : half_open ? now.half_open : now.flows) {
      lb_flow old = flow;
      old.seen_mono_ns = mono_ns() - XLB_CLOSING_NS - XLB_SECOND_NS;
      rig().put_flow(key, old, half_open);
    }
  }
  const Packet packet = pod_answer();
  expect_ignored(answer(packet), packet.bytes());
}

TEST_P(ReturnTest, AnswerTooLargeForTheLanIsTheKernelsToRefuse) {
  open_connection();
  ASSERT_TRUE(sandbox().in_node("ip link set lan0 mtu 1400"));
  const Packet packet = pod_answer() / Payload::of_size(1440 - (v4() ? 0u : 20u));
  const Fate fate = answer(packet);
  EXPECT_TRUE(sandbox().in_node("ip link set lan0 mtu 9000"));
  // Either the kernel gets it as it was and tells the pod, or it has been told otherwise; it must not vanish.
  EXPECT_EQ(fate.output.action, kTcUnspec);
  EXPECT_EQ(difference(packet.bytes(), fate.output.frame), "");
}

TEST_P(ReturnTest, GsoAnswerLeavesWhole) {
  open_connection();
  const Packet packet = pod_answer() / Payload::of_size(3000);
  const Output output = rig().run(
      Program::return_tc, Input{.frame = packet.bytes(), .ifindex = sandbox().pod0.ifindex, .gso_size = 1400});
  EXPECT_EQ(output.action, kTcRedirect);
  const Decoded got = decode(output.frame);
  EXPECT_TRUE(got.sound()) << got.text();
  EXPECT_EQ(got.source, vip);
}

// ---- host sockets and the kernel path ----

TEST_P(ReturnTest, HostSocketGetsItsPacketsByTheKernel) {
  make_backend_a(XLB_BACKEND_HOST);
  const Fate syn = receive(from_client() / tcp(kSyn));
  expect_passed_up(syn, from_client(client, pod_a) / tcp(kSyn, kClientPort, 8080), XLB_VERDICT_TO_HOST);
  const Fate out = egress(on_lan(pod_a, tcp_answer(kSyn | kAck)));
  expect_passed_up(out, on_lan(vip, under_vip(kSyn | kAck)), XLB_VERDICT_RETURNED_KERNEL);
  const Fate ack = receive(from_client() / tcp(kAck));
  expect_one_verdict(ack, XLB_VERDICT_TO_HOST);
  EXPECT_EQ(ack.after.flows.size(), 2u) << describe(ack.before, ack.after);
}

TEST_P(ReturnTest, KernelPathOfAPodIsTranslatedAtEgressOnly) {
  make_backend_a(XLB_BACKEND_KERNEL);
  expect_passed_up(receive(from_client() / tcp(kSyn)), from_client(client, pod_a) / tcp(kSyn, kClientPort, 8080),
                   XLB_VERDICT_TO_KERNEL);
  // netfilter must see the answer under the pod's address: its connection tracking knows no VIP.
  const Packet packet = pod_answer(kSyn | kAck);
  expect_ignored(answer(packet), packet.bytes());
  expect_passed_up(egress(on_lan(pod_a, tcp_answer(kSyn | kAck))), on_lan(vip, under_vip(kSyn | kAck)),
                   XLB_VERDICT_RETURNED_KERNEL);
}

TEST_P(ReturnTest, UnknownVethMeansTheKernelPath) {
  lb_backend row = backend_row(pod_a, 8080, IPPROTO_TCP, 0);
  rig().set_backend(kPodA, row);
  expect_passed_up(receive(from_client() / tcp(kSyn)), from_client(client, pod_a) / tcp(kSyn, kClientPort, 8080),
                   XLB_VERDICT_TO_KERNEL);
}

TEST_P(ReturnTest, AVethThatHasGoneMeansTheKernelPath) {
  rig().set_backend(kPodA, backend_row(pod_a, 8080, IPPROTO_TCP, 4242));  // no such interface
  for (const std::size_t size : {0u, 200u, 1400u}) {
    const Packet packet = from_client() / tcp(kAck) / Payload::of_size(size);
    expect_passed_up(receive(packet),
                     from_client(client, pod_a) / tcp(kAck, kClientPort, 8080) / Payload::of_size(size),
                     XLB_VERDICT_TO_KERNEL);
  }
}

TEST_P(ReturnTest, KernelPathDatagramsBothWays) {
  change_backend(kPodAUdp, XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL | XLB_BACKEND_HOST);
  expect_passed_up(receive(from_client() / udp() / Payload("q")),
                   from_client(client, pod_a) / udp(kClientPort, 5353) / Payload("q"), XLB_VERDICT_TO_HOST);
  const Packet out = Packet(Ethernet{.source = own_mac, .destination = client_mac}) / ip(pod_a, client) /
                     udp_answer() / Payload("a");
  const Packet expected = Packet(Ethernet{.source = own_mac, .destination = client_mac}) / ip(vip, client) /
                          udp(53, kClientPort) / Payload("a");
  expect_passed_up(egress(out), expected, XLB_VERDICT_RETURNED_KERNEL);
}

TEST_P(ReturnTest, KernelPathFragmentsBothWays) {
  change_backend(kPodAUdp, XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL | XLB_BACKEND_HOST);
  const auto in = fragments(from_client() / udp() / Payload::of_size(2000), 1200);
  const auto in_expected =
      fragments(from_client(client, pod_a) / udp(kClientPort, 5353) / Payload::of_size(2000), 1200);
  expect_passed_up(receive(in[0]), in_expected[0], XLB_VERDICT_TO_HOST);
  expect_passed_up(receive(in[1]), in_expected[1], XLB_VERDICT_FRAGMENT_IN);
  const Packet lan_frame = Ethernet{.source = own_mac, .destination = client_mac};
  const auto out = fragments(lan_frame / ip(pod_a, client) / udp_answer() / Payload::of_size(2000), 1200);
  const auto out_expected =
      fragments(lan_frame / ip(vip, client) / udp(53, kClientPort) / Payload::of_size(2000), 1200);
  expect_passed_up(egress(out[0]), out_expected[0], XLB_VERDICT_RETURNED_KERNEL);
  expect_passed_up(egress(out[1]), out_expected[1], XLB_VERDICT_FRAGMENT_OUT);
}

TEST_P(ReturnTest, EgressLetsTheWorkOfReturnPass) {
  // xlb_return's own frames come by here again, already under the VIP. The mark spares the lookup; even without it
  // nothing may happen to them.
  open_connection();
  const Packet done = on_lan(vip, under_vip(kAck));
  expect_ignored(egress(done, XLB_TC_INDEX_DONE), done.bytes());
  expect_ignored(egress(done), done.bytes());
  // The mark alone decides: a frame that would be translated is not looked at.
  make_backend_a(XLB_BACKEND_HOST);
  receive(from_client() / tcp(kSyn, 41000));
  const Packet marked = on_lan(pod_a, tcp_answer(kSyn | kAck, 41000));
  expect_ignored(egress(marked, XLB_TC_INDEX_DONE), marked.bytes());
  expect_one_verdict(egress(marked, 0x77), XLB_VERDICT_RETURNED_KERNEL);
}

TEST_P(ReturnTest, NodesOwnTrafficPassesEgress) {
  for (const Packet& packet :
       {on_lan(node_address, tcp_answer(kAck)),
        Packet(Ethernet{.source = own_mac, .destination = kBroadcast}) /
            Arp{.operation = 1, .sender_mac = own_mac, .sender = "192.168.0.10", .target = "192.168.0.1"}}) {
    expect_ignored(egress(packet), packet.bytes());
  }
}

TEST_P(ReturnTest, OffLinkClientsReplyLeavesByItsRoute) {
  // Comes in by lan1, but no route leads to the client through lan1: bpf_redirect_neigh() would ask lan1's neighbours
  // for an address that lives behind lan0's gateway.
  const Interface& lan1 = sandbox().lan1;
  lb_link second = link;
  second.l3_ifindex = lan1.ifindex;
  std::memcpy(second.mac, lan1.mac.bytes.data(), 6);
  rig().set_link(lan1.ifindex, 0, second);
  Packet packet = from_client(far_client, vip) / tcp(kSyn);
  packet.get<Ethernet>().destination = lan1.mac;
  receive(Input{.frame = packet.bytes(), .ifindex = lan1.ifindex});
  const Traces now = rig().traces();
  ASSERT_EQ(now.half_open.size(), 2u);
  for (const auto& [key, flow] : now.half_open) {
    EXPECT_TRUE(flow.l3_ifindex == lan || (flow.flags & XLB_FLOW_KERNEL)) << "l3 " << flow.l3_ifindex;
  }
}

TEST_P(ReturnTest, ClientOfTheSecondLanIsAnsweredThere) {
  const Interface& lan1 = sandbox().lan1;
  lb_link second = link;
  second.l3_ifindex = lan1.ifindex;
  std::memcpy(second.mac, lan1.mac.bytes.data(), 6);
  rig().set_link(lan1.ifindex, 0, second);
  Packet packet = from_client(stranger, vip) / tcp(kSyn);
  packet.get<Ethernet>().destination = lan1.mac;
  receive(Input{.frame = packet.bytes(), .ifindex = lan1.ifindex});
  const Traces now = rig().traces();
  ASSERT_EQ(now.half_open.size(), 2u);
  for (const auto& [key, flow] : now.half_open) EXPECT_EQ(flow.l3_ifindex, lan1.ifindex);
}

TEST_P(ReturnTest, FarClientBehindTheGatewayLeavesByTheLan) {
  receive(from_client(far_client, vip) / tcp(kSyn));
  for (const auto& [key, flow] : rig().traces().half_open) {
    EXPECT_EQ(flow.l3_ifindex, lan);
    EXPECT_FALSE(flow.flags & XLB_FLOW_KERNEL);
  }
}

TEST_P(ReturnTest, ForwardingMayBeSwitchedOff) {
  const std::string key = v4() ? "/proc/sys/net/ipv4/ip_forward" : "/proc/sys/net/ipv6/conf/all/forwarding";
  ASSERT_TRUE(sandbox().in_node("echo 0 > " + key));
  const Fate fate = receive(from_client() / tcp(kSyn));
  const Fate out = answer(pod_answer(kSyn | kAck));
  EXPECT_TRUE(sandbox().in_node("echo 1 > " + key));
  expect_one_verdict(fate, XLB_VERDICT_TO_POD);
  expect_one_verdict(out, XLB_VERDICT_RETURNED);
}

}  // namespace
}  // namespace xlb
