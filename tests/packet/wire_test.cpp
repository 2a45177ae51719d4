// SPDX-License-Identifier: Apache-2.0
// What a test run cannot show: the programs attached to real interfaces, and frames on both ends of the wires. Here
// it counts where a redirect leads to, which MAC address a reply gets, and what happens to GSO packets and partial
// checksums.
#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <functional>

#include "tests/packet/packet_test.hpp"
#include "tests/support/checksum.hpp"

namespace xlb {
namespace {

using namespace packet;

// What PACKET_VNET_HDR puts in front of a frame (virtio specification, 5.1.6); <linux/virtio_net.h> is no C++.
struct VnetHeader {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t hdr_len = 0;
  std::uint16_t gso_size = 0;
  std::uint16_t csum_start = 0;
  std::uint16_t csum_offset = 0;
};
static_assert(sizeof(VnetHeader) == 10);
constexpr std::uint8_t kNeedsChecksum = 1, kGsoTcp4 = 1, kGsoTcp6 = 4;

struct WireFrame {
  Bytes bytes{};
  VnetHeader header{};
};

// A frame as a local sender hands it to its NIC: the transport checksum holds the pseudo-header's sum only.
WireFrame with_partial_checksum(const Packet& packet) {
  WireFrame out{.bytes = packet.bytes()};
  const Decoded said = decode(out.bytes);
  const std::size_t l4 = 14 + (said.ipv4 ? 20 : 40);
  const std::size_t field = l4 + (said.tcp ? 16 : 6);
  const std::uint16_t sum = static_cast<std::uint16_t>(~finish_checksum(pseudo_header_sum(
      said.source.abi(), said.destination.abi(), said.protocol, static_cast<std::uint32_t>(out.bytes.size() - l4))));
  out.bytes[field] = static_cast<std::uint8_t>(sum >> 8);
  out.bytes[field + 1] = static_cast<std::uint8_t>(sum);
  out.header.flags = kNeedsChecksum;
  out.header.csum_start = static_cast<std::uint16_t>(l4);
  out.header.csum_offset = static_cast<std::uint16_t>(field - l4);
  return out;
}

// With only the Ethernet header in the packet's linear part, as some drivers deliver it; needs more than a page.
WireFrame scattered(const Packet& packet) {
  WireFrame out{.bytes = packet.bytes()};
  out.header.hdr_len = 14;
  return out;
}

// The same as one packet of many segments.
WireFrame as_gso(const Packet& packet, std::uint16_t segment) {
  WireFrame out = with_partial_checksum(packet);
  out.header.gso_type = decode(out.bytes).ipv4 ? kGsoTcp4 : kGsoTcp6;
  out.header.gso_size = segment;
  out.header.hdr_len = static_cast<std::uint16_t>(out.header.csum_start + 20);
  return out;
}

// What a NIC would do: completes a partial checksum.
Bytes completed(WireFrame frame) {
  if (frame.header.flags & kNeedsChecksum) {
    const std::size_t start = frame.header.csum_start, field = start + frame.header.csum_offset;
    std::uint16_t sum = internet_checksum(std::span(frame.bytes).subspan(start));
    if (sum == 0) sum = 0xffff;
    frame.bytes.at(field) = static_cast<std::uint8_t>(sum >> 8);
    frame.bytes.at(field + 1) = static_cast<std::uint8_t>(sum);
  }
  return frame.bytes;
}

class Socket {
 public:
  explicit Socket(int file) : file_(file) {
    const int yes = 1;
    setsockopt(file_, SOL_PACKET, PACKET_VNET_HDR, &yes, sizeof yes);
    setsockopt(file_, SOL_PACKET, PACKET_AUXDATA, &yes, sizeof yes);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { close(file_); }

  [[nodiscard]] bool send(const WireFrame& frame) const {
    Bytes whole(sizeof frame.header);
    std::memcpy(whole.data(), &frame.header, sizeof frame.header);
    whole.insert(whole.end(), frame.bytes.begin(), frame.bytes.end());
    return write(file_, whole.data(), whole.size()) == static_cast<ssize_t>(whole.size());
  }

  // The next frame that came in (not one that went out) and is what the caller waits for.
  [[nodiscard]] std::optional<WireFrame> receive(const std::function<bool(const Decoded&)>& wanted,
                                                 int wait_ms = 1500) const {
    const std::uint64_t until = mono_ns() + static_cast<std::uint64_t>(wait_ms) * 1000000;
    while (mono_ns() < until) {
      pollfd poll_file{.fd = file_, .events = POLLIN, .revents = 0};
      if (poll(&poll_file, 1, static_cast<int>((until - mono_ns()) / 1000000) + 1) <= 0) break;
      WireFrame frame;
      if (read_one(frame) && wanted(decode(frame.bytes))) return frame;
    }
    return std::nullopt;
  }

 private:
  // False: it went out, or was too short. A tag that the kernel took out of the frame is put back.
  bool read_one(WireFrame& frame) const {
    frame.bytes.resize(70000);
    iovec parts[] = {{&frame.header, sizeof frame.header}, {frame.bytes.data(), frame.bytes.size()}};
    sockaddr_ll from{};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(tpacket_auxdata))];
    msghdr message{};
    message.msg_name = &from;
    message.msg_namelen = sizeof from;
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t got = recvmsg(file_, &message, 0);
    if (got < static_cast<ssize_t>(sizeof frame.header) || from.sll_pkttype == PACKET_OUTGOING) return false;
    frame.bytes.resize(static_cast<std::size_t>(got) - sizeof frame.header);
    for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr; each = CMSG_NXTHDR(&message, each)) {
      if (each->cmsg_level != SOL_PACKET || each->cmsg_type != PACKET_AUXDATA) continue;
      tpacket_auxdata data{};
      std::memcpy(&data, CMSG_DATA(each), sizeof data);
      if (!(data.tp_status & TP_STATUS_VLAN_VALID)) continue;
      const std::uint8_t tag[] = {0x81, 0, static_cast<std::uint8_t>(data.tp_vlan_tci >> 8),
                                  static_cast<std::uint8_t>(data.tp_vlan_tci)};
      frame.bytes.insert(frame.bytes.begin() + 12, tag, tag + 4);
      if (frame.header.flags & kNeedsChecksum)
        frame.header.csum_start = static_cast<std::uint16_t>(frame.header.csum_start + 4);
    }
    return true;
  }

  int file_;
};

class WireTest : public PacketTest {
 protected:
  void SetUp() override {
    PacketTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    attach_tc(sandbox().lan0, "xlb_lan_tc", BPF_TC_INGRESS);
    attach_tc(sandbox().lan0, "xlb_egress", BPF_TC_EGRESS);
    attach_tc(sandbox().pod0, "xlb_return", BPF_TC_INGRESS);
    if (with_xdp()) {
      ASSERT_EQ(bpf_xdp_attach(static_cast<int>(lan), rig().program_file("xlb_lan"), XDP_FLAGS_SKB_MODE, nullptr), 0);
    }
    ASSERT_TRUE(
        sandbox().in_pod("ip route replace default via 10.42.0.1 dev eth0\n"
                         "ip neigh replace 10.42.0.1 lladdr 02:00:00:00:01:10 dev eth0\n"
                         "ip -6 route replace default via fd42::1 dev eth0\n"
                         "ip neigh replace fd42::1 lladdr 02:00:00:00:01:10 dev eth0\n"));
    wire_ = std::make_unique<Socket>(sandbox().open_wire(sandbox().wire0));
    pod_ = std::make_unique<Socket>(sandbox().open_pod(sandbox().eth0));
  }

  void TearDown() override {
    if (rig_is_up()) {
      bpf_xdp_detach(static_cast<int>(lan), XDP_FLAGS_SKB_MODE, nullptr);
      for (const Interface* each : {&sandbox().lan0, &sandbox().pod0}) {
        LIBBPF_OPTS(bpf_tc_hook, hook);
        hook.ifindex = static_cast<int>(each->ifindex);
        hook.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
        bpf_tc_hook_destroy(&hook);
      }
    }
  }

  void attach_tc(const Interface& interface, const char* program, bpf_tc_attach_point point) {
    LIBBPF_OPTS(bpf_tc_hook, hook);
    hook.ifindex = static_cast<int>(interface.ifindex);
    hook.attach_point = point;
    const int made = bpf_tc_hook_create(&hook);
    ASSERT_TRUE(made == 0 || made == -EEXIST) << interface.name << " " << made;
    LIBBPF_OPTS(bpf_tc_opts, options);
    options.prog_fd = rig().program_file(program);
    ASSERT_EQ(bpf_tc_attach(&hook, &options), 0) << program << " on " << interface.name;
  }

  [[nodiscard]] bool send(const Packet& packet) const { return wire_->send({.bytes = packet.bytes()}); }
  [[nodiscard]] std::optional<Decoded> reply(const std::function<bool(const Decoded&)>& wanted) const {
    const auto frame = wire_->receive(wanted);
    if (!frame) return std::nullopt;
    return decode(completed(*frame));
  }
  std::uint64_t counted(enum xlb_verdict verdict) { return rig().traces().counters[verdict].packets; }
  // The kernel's answer may take a moment longer than the frame that we waited for.
  void expect_counted(enum xlb_verdict verdict, std::uint64_t times) {
    for (int i = 0; i < 50 && counted(verdict) < times; i++) usleep(10000);
    EXPECT_EQ(counted(verdict), times) << verdict_name(verdict);
  }

  // The web service's only backend is on a peer, which is on the LAN or in a VLAN of it.
  void add_peer(std::uint16_t vlan) {
    lb_peer peer{};
    peer.flags = XLB_PEER_ALIVE;
    peer.attach_ifindex = lan;
    peer.vlan = vlan;
    std::copy(peer_mac.bytes.begin(), peer_mac.bytes.end(), peer.mac);
    rig().set_peer(5, peer);
    rig().set_peer_mac(peer_mac, 5);
    lb_backend there = backend_row(pod_a, 8080, IPPROTO_TCP, 0);
    there.flags = XLB_BACKEND_LIVE;
    there.node_id = 5;
    rig().set_backend(kPodA, there);
    lb_service web = service_row(kWeb);
    web.local_slot_count = 0;
    rig().set_service(kVipId, 80, IPPROTO_TCP, web);
    fill_slots(kWeb, {kPodA, 0});
  }

  const MacAddress peer_mac{"02:00:00:00:00:12"};
  std::unique_ptr<Socket> wire_, pod_;
};
XLB_RUN_SUITE(WireTest, kResizing, kBothNets);

TEST_P(WireTest, SynReachesThePodAndItsResetComesBackUnderTheVip) {
  // Nothing listens in the pod: its own kernel answers, having checked every checksum.
  ASSERT_TRUE(send(from_client() / tcp(kSyn)));
  const auto got = reply([](const Decoded& frame) { return frame.tcp; });
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->sound()) << got->text();
  EXPECT_EQ(got->source, vip);
  EXPECT_EQ(got->destination, client);
  EXPECT_EQ(got->source_port, 80);
  EXPECT_EQ(got->destination_port, kClientPort);
  EXPECT_EQ(got->tcp_flags, kRst | kAck);
  EXPECT_EQ(got->acknowledgment, 1001u);
  EXPECT_EQ(got->source_mac, own_mac);
  EXPECT_EQ(got->destination_mac, client_mac) << "straight to the client's own neighbour entry";
  expect_counted(XLB_VERDICT_TO_POD, 1);
  expect_counted(XLB_VERDICT_RETURNED, 1);
  expect_counted(XLB_VERDICT_RETURNED_KERNEL, 0);
}

TEST_P(WireTest, EgressDoesNotLookAtWhatReturnHasSent) {
  // A bait: to xlb_egress the returned frame would look like an answer of "backend VIP:80" through the other VIP.
  lb_flow_key key = reverse_key(IPPROTO_TCP, vip);
  key.source_port = htons(80);
  lb_flow bait{};
  bait.vip = other_vip.abi();
  bait.vip_port = htons(80);
  bait.seen_mono_ns = mono_ns();
  bait.touched_mono_ns = mono_ns();
  bait.backend_id = kPodA;
  bait.generation = kGeneration;
  bait.service_id = kWeb;
  bait.l3_ifindex = lan;
  bait.state = XLB_FLOW_ESTABLISHED;
  rig().put_flow(key, bait);
  ASSERT_TRUE(send(from_client() / tcp(kSyn)));
  const auto got = reply([](const Decoded& frame) { return frame.tcp; });
  ASSERT_TRUE(got);
  EXPECT_EQ(got->source, vip);
  expect_counted(XLB_VERDICT_RETURNED, 1);
  expect_counted(XLB_VERDICT_RETURNED_KERNEL, 0);
}

TEST_P(WireTest, FarClientIsAnsweredThroughTheGateway) {
  ASSERT_TRUE(send(from_client(far_client, vip) / tcp(kSyn)));
  const auto got = reply([](const Decoded& frame) { return frame.tcp; });
  ASSERT_TRUE(got);
  EXPECT_EQ(got->destination, far_client);
  EXPECT_EQ(got->source, vip);
  EXPECT_EQ(got->destination_mac, MacAddress("02:00:00:00:00:01"));
}

TEST_P(WireTest, ClosedUdpPortInThePodIsTold) {
  ASSERT_TRUE(send(from_client() / udp() / Payload("query")));
  const auto got = reply([](const Decoded& frame) { return frame.icmp && frame.inner; });
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->sound()) << got->text();
  EXPECT_EQ(got->source, vip);
  EXPECT_EQ(got->inner->source, client);
  EXPECT_EQ(got->inner->destination, vip);
  EXPECT_EQ(got->inner->destination_port, 53);
  EXPECT_EQ(got->icmp_type, v4() ? 3 : 1);
  expect_counted(XLB_VERDICT_ICMP_ERROR_OUT, 1);
}

TEST_P(WireTest, ArpAndPingAreAnsweredOnTheWire) {
  if (v4()) {
    ASSERT_TRUE(send(Ethernet{.source = client_mac, .destination = kBroadcast} /
                     Arp{.operation = 1, .sender_mac = client_mac, .sender = client, .target = vip}));
    const auto got = reply([](const Decoded& frame) { return frame.arp.has_value(); });
    ASSERT_TRUE(got);
    EXPECT_EQ(got->arp->operation, 2);
    EXPECT_EQ(got->arp->sender_mac, own_mac);
    expect_counted(XLB_VERDICT_ARP_REPLY, 1);
  } else {
    ASSERT_TRUE(send(Ethernet{.source = client_mac, .destination = multicast_mac(solicited_node(vip))} /
                     Ipv6{.source = client, .destination = solicited_node(vip), .hop_limit = 255} /
                     neighbor_solicitation(vip, std::nullopt)));
    const auto got = reply([](const Decoded& frame) { return frame.icmp && frame.icmp_type == 136; });
    ASSERT_TRUE(got);
    EXPECT_TRUE(got->sound()) << got->text();
    EXPECT_EQ(got->source, vip);
    expect_counted(XLB_VERDICT_ND_REPLY, 1);
  }
  ASSERT_TRUE(send(from_client() / (v4() ? Packet(Icmp{}) : Packet(Icmp6{})) / Payload::of_size(100)));
  const auto echo = reply([&](const Decoded& frame) { return frame.icmp && frame.icmp_type == (v4() ? 0 : 129); });
  ASSERT_TRUE(echo);
  EXPECT_TRUE(echo->sound()) << echo->text();
  expect_counted(XLB_VERDICT_PING_REPLY, 1);
}

TEST_P(WireTest, TaggedClientReachesThePodUntagged) {
  // A tag in the metadata would make the pod's stack look for a VLAN device and drop the frame.
  rig().set_link(lan, 7, link);
  ASSERT_TRUE(send(Packet(Ethernet{.source = client_mac, .destination = own_mac}) / Vlan{.id = 7} / ip(client, vip) /
                   tcp(kSyn)));
  const auto got = reply([](const Decoded& frame) { return frame.tcp; });
  ASSERT_TRUE(got);
  EXPECT_EQ(got->source, vip);
  EXPECT_EQ(got->tcp_flags, kRst | kAck);
}

TEST_P(WireTest, TaggedQuestionsAreAnsweredTagged) {
  rig().set_link(lan, 7, link);
  ASSERT_TRUE(send(Packet(Ethernet{.source = client_mac, .destination = own_mac}) / Vlan{.id = 7} / ip(client, vip) /
                   (v4() ? Packet(Icmp{}) : Packet(Icmp6{})) / Payload::of_size(100)));
  const auto echo = reply([&](const Decoded& frame) { return frame.icmp && frame.icmp_type == (v4() ? 0 : 129); });
  ASSERT_TRUE(echo);
  EXPECT_EQ(echo->vlans, std::vector<std::uint16_t>{7});
  ASSERT_TRUE(send(Packet(Ethernet{.source = client_mac, .destination = own_mac}) / Vlan{.id = 7} / ip(client, vip) /
                   tcp(kSyn, kClientPort, 81)));
  const auto reset = reply([](const Decoded& frame) { return frame.tcp; });
  ASSERT_TRUE(reset);
  EXPECT_TRUE(reset->sound()) << reset->text();
  EXPECT_EQ(reset->vlans, std::vector<std::uint16_t>{7});
  EXPECT_EQ(reset->tcp_flags, kRst | kAck);
}

TEST_P(WireTest, AFlowIsHandedOverWithPartialChecksumsAndInSegments) {
  add_peer(0);
  const Packet large = from_client() / tcp(kAck) / Payload::of_size(5000);
  for (const WireFrame& frame : {with_partial_checksum(from_client() / tcp(kSyn)), as_gso(large, 1000)}) {
    ASSERT_TRUE(wire_->send(frame));
    const auto got = reply([&](const Decoded& each) { return each.destination_mac == peer_mac; });
    ASSERT_TRUE(got);
    EXPECT_TRUE(got->sound()) << got->text();
    EXPECT_EQ(got->source_mac, own_mac);
    EXPECT_EQ(got->source, client);
    EXPECT_EQ(got->destination, vip);
  }
  expect_counted(XLB_VERDICT_TO_PEER, 2);
}

TEST_P(WireTest, APeerInAnotherVlanGetsItsTag) {
  rig().set_link(lan, 7, link);
  add_peer(7);
  ASSERT_TRUE(send(from_client() / tcp(kSyn)));
  const auto tagged = reply([&](const Decoded& each) { return each.destination_mac == peer_mac; });
  ASSERT_TRUE(tagged);
  EXPECT_EQ(tagged->vlans, std::vector<std::uint16_t>{7});
  EXPECT_EQ(tagged->destination, vip);
  add_peer(0);
  ASSERT_TRUE(send(Packet(Ethernet{.source = client_mac, .destination = own_mac}) / Vlan{.id = 7} / ip(client, vip) /
                   tcp(kSyn, 50001)));
  const auto bare = reply([&](const Decoded& each) { return each.destination_mac == peer_mac; });
  ASSERT_TRUE(bare);
  EXPECT_TRUE(bare->vlans.empty());
  EXPECT_EQ(bare->destination, vip);
}

TEST_P(WireTest, WhatAPeerHandsOverIsRefusedToTheClientItself) {
  add_peer(0);
  Packet packet = from_client() / tcp(kSyn);
  packet.get<Ethernet>().source = peer_mac;
  ASSERT_TRUE(send(packet));
  const auto got = reply([](const Decoded& frame) { return frame.tcp; });
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->sound()) << got->text();
  EXPECT_EQ(got->tcp_flags, kRst | kAck);
  EXPECT_EQ(got->destination, client);
  EXPECT_EQ(got->destination_mac, client_mac);
  expect_counted(XLB_VERDICT_NO_LOCAL_BACKEND, 1);
}

TEST_P(WireTest, RefusalOfASegmentWithAPartialChecksum) {
  // Sender on the same machine, or on a virtual NIC: the checksum has never been completed.
  ASSERT_TRUE(wire_->send(with_partial_checksum(from_client() / tcp(kSyn, kClientPort, 81) / Payload("data"))));
  const auto got = reply([](const Decoded& frame) { return frame.tcp; });
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->sound()) << got->text();
  EXPECT_EQ(got->tcp_flags, kRst | kAck);
  expect_counted(XLB_VERDICT_REJECTED_TCP, 1);
}

TEST_P(WireTest, RefusalOfADatagramWithAPartialChecksum) {
  ASSERT_TRUE(wire_->send(with_partial_checksum(from_client() / udp(kClientPort, 81) / Payload("data"))));
  const auto got = reply([](const Decoded& frame) { return frame.icmp && frame.inner; });
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->sound()) << got->text();
  EXPECT_EQ(got->inner->destination_port, 81);
  expect_counted(XLB_VERDICT_REJECTED_UDP, 1);
}

TEST_P(WireTest, DatagramWithAPartialChecksumReachesThePod) {
  ASSERT_TRUE(wire_->send(with_partial_checksum(from_client() / udp() / Payload("query"))));
  const auto frame = pod_->receive([](const Decoded& each) { return each.udp; });
  ASSERT_TRUE(frame);
  const Decoded got = decode(completed(*frame));
  EXPECT_TRUE(got.sound()) << got.text();
  EXPECT_EQ(got.destination, pod_a);
  EXPECT_EQ(got.destination_port, 5353);
}

TEST_P(WireTest, GsoPacketReachesThePodWhole) {
  const Payload payload = Payload::of_size(8000);
  ASSERT_TRUE(wire_->send(as_gso(from_client() / tcp(kAck) / payload, 1400)));
  const auto frame = pod_->receive(
      [](const Decoded& each) { return each.ip && each.protocol == IPPROTO_TCP && each.payload.size() > 500; });
  ASSERT_TRUE(frame);
  const Decoded got = decode(completed(*frame));
  EXPECT_TRUE(got.sound()) << got.text();
  EXPECT_EQ(got.destination, pod_a);
  EXPECT_EQ(got.payload, payload.bytes);
  EXPECT_EQ(frame->header.gso_size, 1400) << "not cut into segments on the way";
  expect_counted(XLB_VERDICT_TO_POD, 1);
  expect_counted(XLB_VERDICT_TO_KERNEL, 0);
}

TEST_P(WireTest, GsoSegmentsThatDoNotFitThePodGoByTheKernel) {
  fill_slots(kWeb, {kPodB, 0});  // its veth: MTU 1280
  ASSERT_TRUE(wire_->send(as_gso(from_client() / tcp(kAck) / Payload::of_size(8000), 1400)));
  expect_counted(XLB_VERDICT_TO_KERNEL, 1);
  expect_counted(XLB_VERDICT_TO_POD, 0);
}

TEST_P(WireTest, GsoAnswerOfThePodReachesTheClientWhole) {
  open_connection();
  const Payload payload = Payload::of_size(8000);
  ASSERT_TRUE(pod_->send(as_gso(from_pod(pod_a, client) / tcp_answer(kAck) / payload, 1400)));
  const auto frame = wire_->receive(
      [](const Decoded& each) { return each.ip && each.protocol == IPPROTO_TCP && each.payload.size() > 500; });
  ASSERT_TRUE(frame);
  const Decoded got = decode(completed(*frame));
  EXPECT_TRUE(got.sound()) << got.text();
  EXPECT_EQ(got.source, vip);
  EXPECT_EQ(got.source_port, 80);
  EXPECT_EQ(got.payload, payload.bytes);
  EXPECT_EQ(frame->header.gso_size, 1400);
}

TEST_P(WireTest, HeadersInPageFragments) {
  ASSERT_TRUE(sandbox().in_pod("ip link set eth0 mtu 9000"));
  ASSERT_TRUE(sandbox().in_node("ip link set pod0 mtu 9000"));
  const Payload payload = Payload::of_size(6000);
  const auto large = [](const Decoded& each) { return each.tcp && each.payload.size() == 6000; };
  open_connection();
  const bool sent_out = pod_->send(scattered(from_pod(pod_a, client) / tcp_answer(kAck) / payload));
  const auto out = wire_->receive(large);
  // Second, because the pod's kernel knows nothing of this connection and resets it.
  const bool sent_in = wire_->send(scattered(from_client() / tcp(kAck) / payload));
  const auto in = pod_->receive(large);
  const bool sent_closed = wire_->send(scattered(from_client() / tcp(kAck, kClientPort, 81) / payload));
  const auto refused = reply([](const Decoded& each) { return each.tcp && each.source_port == 81; });
  EXPECT_TRUE(sandbox().in_node("ip link set pod0 mtu 1500"));
  EXPECT_TRUE(sandbox().in_pod("ip link set eth0 mtu 1500"));
  ASSERT_TRUE(sent_in && sent_out && sent_closed);
  ASSERT_TRUE(in);
  EXPECT_EQ(difference((from_client(client, pod_a) / tcp(kAck, kClientPort, 8080) / payload).bytes(), in->bytes), "");
  ASSERT_TRUE(out);
  const Decoded got = decode(out->bytes);
  EXPECT_TRUE(got.sound()) << got.text();
  EXPECT_EQ(got.source, vip);
  EXPECT_EQ(got.payload, payload.bytes);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->tcp_flags, kRst);
}

TEST_P(WireTest, HostSocketAnswersUnderTheVip) {
  // The backend is the node's own address; nothing listens, so its kernel resets.
  lb_backend row = backend_row(node_address, 8080, IPPROTO_TCP, 0);
  row.flags |= XLB_BACKEND_HOST;
  rig().set_backend(kPodA, row);
  ASSERT_TRUE(send(from_client() / tcp(kSyn)));
  const auto got = reply([](const Decoded& frame) { return frame.tcp; });
  ASSERT_TRUE(got);
  EXPECT_TRUE(got->sound()) << got->text();
  EXPECT_EQ(got->source, vip);
  EXPECT_EQ(got->source_port, 80);
  EXPECT_EQ(got->tcp_flags, kRst | kAck);
  EXPECT_EQ(got->destination_mac, client_mac);
  expect_counted(XLB_VERDICT_TO_HOST, 1);
  expect_counted(XLB_VERDICT_RETURNED_KERNEL, 1);
}

TEST_P(WireTest, ForwardingSwitchedOffStillServes) {
  ASSERT_TRUE(
      sandbox().in_node("echo 0 > /proc/sys/net/ipv4/ip_forward; echo 0 > /proc/sys/net/ipv6/conf/all/forwarding"));
  const bool sent = send(from_client() / tcp(kSyn));
  const auto got = reply([](const Decoded& frame) { return frame.tcp; });
  EXPECT_TRUE(
      sandbox().in_node("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding"));
  ASSERT_TRUE(sent);
  ASSERT_TRUE(got);
  EXPECT_EQ(got->source, vip);
}

TEST_P(WireTest, WhatIsNotForAVipReachesTheNode) {
  ASSERT_TRUE(send(from_client(client, node_address) / tcp(kSyn, kClientPort, 9)));
  const auto got = reply([](const Decoded& frame) { return frame.tcp; });
  ASSERT_TRUE(got);
  EXPECT_EQ(got->source, node_address);
  EXPECT_EQ(got->tcp_flags, kRst | kAck) << "the node's own kernel";
  const Traces now = rig().traces();
  for (const lb_counter& counter : now.counters) EXPECT_EQ(counter.packets, 0u);
}

}  // namespace
}  // namespace xlb
