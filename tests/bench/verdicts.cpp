// SPDX-License-Identifier: Apache-2.0
// Nanoseconds a packet, for each thing that the programs do to one, under BPF_PROG_TEST_RUN.
//
// Every case is a frame, a program and the verdict that must come of it; the counter of that verdict proves afterwards
// that it was this path that was measured, each time. A wrapper puts the frame back before each run (verdicts.bpf.c); its
// own cost is measured beside each case and subtracted. The figure is the median of the rounds.
//
// What the kernel does with a program's answer (a redirect, a transmission) is not in here; the replay measures it.
//
//   xlb_bench_verdicts [REPEAT [ROUNDS [WORDS]]]     prints one JSON list: of the cases whose name has these words
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "tests/bench/verdicts.h"
#include "tests/bench/verdicts.skel.h"
#include "tests/packet/rig.hpp"
#include "tests/support/packet.hpp"

namespace {

using namespace xlb;
using namespace xlb::packet;

constexpr std::uint32_t kVipId = 1, kSilentVipId = 2, kWeb = 1, kDns = 2, kGuarded = 3, kFar = 4;
constexpr std::uint32_t kPodTcp = 1, kPodUdp = 2, kPodOnPeer = 3, kPeer = 1, kSlots = 64;
constexpr std::uint16_t kClientPort = 40000, kPodPort = 8080, kPodUdpPort = 5353, kGuardedPort = 81, kPeerPort = 82;

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }

struct Side {
  IpAddress client, vip, silent_vip, pod, node;
};
const Side kIpv4{"192.168.0.50", "192.168.0.200", "192.168.0.201", "10.42.0.2", "192.168.0.10"};
const Side kIpv6{"fd00::50", "fd00::200", "fd00::201", "fd42::2", "fd00::10"};
const MacAddress kClientMac{"02:00:00:00:00:50"}, kOwnMac{"02:00:00:00:00:10"}, kOtherMac{"02:00:00:00:00:99"};
const MacAddress kPodMac{"02:00:00:00:01:01"}, kPodGatewayMac{"02:00:00:00:01:10"};
const MacAddress kPeerMac{"02:00:00:00:00:12"};

Packet ip(const IpAddress& from, const IpAddress& to) {
  if (to.is_ipv4()) return Ipv4{.source = from, .destination = to};
  return Ipv6{.source = from, .destination = to};
}
Packet from_client(const IpAddress& from, const IpAddress& to) {
  return Packet(Ethernet{.source = kClientMac, .destination = kOwnMac}) / ip(from, to);
}
Packet from_pod(const IpAddress& from, const IpAddress& to) {
  return Packet(Ethernet{.source = kPodMac, .destination = kPodGatewayMac}) / ip(from, to);
}
Tcp tcp(std::uint8_t flags, std::uint16_t port = 80) {
  return {.source_port = kClientPort, .destination_port = port, .sequence = 1000, .acknowledgment = 5000, .flags = flags};
}
Tcp tcp_answer(std::uint8_t flags) {
  return {.source_port = kPodPort, .destination_port = kClientPort, .sequence = 5000, .acknowledgment = 1001, .flags = flags};
}

// One node with a pod, a VIP that refuses unknown ports and one that drops them, in both families.
class World {
 public:
  explicit World(Rig& rig) : rig_(rig), lan_(rig.sandbox().lan0.ifindex), veth_(rig.sandbox().pod0.ifindex) {
    rig_.reset();
    const lb_node node{.lease_boot_ns = XLB_FOREVER, .try_mono_ns = 0, .epoch = 1, .tcp_idle_ns = XLB_TCP_IDLE_DEFAULT_NS,
                       .trace_until_mono_ns = 0, .trace_every = 1, .reject_per_second = 1'000'000'000,
                       .abi_version = XLB_ABI_VERSION, .pad = 0};
    rig_.set_node(node);
    lb_link lan{.l3_ifindex = lan_, .role = XLB_LINK_LAN, .flags = XLB_LINK_XDP_SENDS, .link_bit = 1, .mac = {}, .pad = {}};
    std::memcpy(lan.mac, kOwnMac.bytes.data(), 6);
    rig_.set_link(lan_, 0, lan);
    lb_link back{.l3_ifindex = veth_, .role = XLB_LINK_RETURN, .flags = 0, .link_bit = 0, .mac = {}, .pad = {}};
    rig_.set_link(veth_, 0, back);
    lb_peer peer{.address4 = {}, .address6 = {}, .flags = XLB_PEER_ALIVE, .attach_ifindex = lan_, .vlan = 0, .mac = {}};
    std::memcpy(peer.mac, kPeerMac.bytes.data(), 6);
    rig_.set_peer(kPeer, peer);
    rig_.set_peer_mac(kPeerMac, kPeer);
    for (const Side* side : {&kIpv4, &kIpv6}) {
      const std::uint32_t shift = side == &kIpv4 ? 0 : 10;
      rig_.set_vip(side->vip, vip_row(kVipId + shift, XLB_VIP_PING));
      rig_.set_vip(side->silent_vip, vip_row(kSilentVipId + shift, XLB_VIP_DROP));
      rig_.set_backend(kPodTcp + shift, backend_row(side->pod, kPodPort, IPPROTO_TCP));
      rig_.set_backend(kPodUdp + shift, backend_row(side->pod, kPodUdpPort, IPPROTO_UDP));
      add_service(kVipId + shift, 80, IPPROTO_TCP, kWeb + shift, XLB_SERVICE_TWIN, kPodTcp + shift);
      add_service(kVipId + shift, 53, IPPROTO_UDP, kDns + shift, XLB_SERVICE_TWIN, kPodUdp + shift);
      lb_backend there = backend_row(side->pod, kPodPort, IPPROTO_TCP);
      there.flags = XLB_BACKEND_LIVE;
      there.node_id = kPeer;
      rig_.set_backend(kPodOnPeer + shift, there);
      add_service(kVipId + shift, kPeerPort, IPPROTO_TCP, kFar + shift, 0, kPodOnPeer + shift);
      add_service(kVipId + shift, kGuardedPort, IPPROTO_TCP, kGuarded + shift, XLB_SERVICE_SOURCES, kPodTcp + shift);
      rig_.allow_source(kGuarded + shift, side->node, side == &kIpv4 ? 32 : 128);
      open_connection(*side);
      for (const std::uint8_t flags : {kSyn, kAck}) {
        pass_through(Program::lan_tc, lan_, from_client(side->client, side->vip) / tcp(flags, kPeerPort), "to a peer");
      }
      open_udp(*side);
    }
  }

  [[nodiscard]] std::uint32_t lan() const { return lan_; }
  [[nodiscard]] std::uint32_t veth() const { return veth_; }

 private:
  static lb_vip vip_row(std::uint32_t id, std::uint32_t flags) {
    return {.owned_epoch = 1, .claim_epoch = 1, .vip_id = id, .flags = flags, .link_mask = 1, .healthy = 1};
  }
  [[nodiscard]] lb_backend backend_row(const IpAddress& address, std::uint16_t port, std::uint8_t protocol) const {
    return {.address = address.abi(), .generation = 1, .flags = XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL,
            .veth_ifindex = veth_, .node_id = 0, .port = htons(port), .protocol = protocol, .pad = 0, .vip_id = 0};
  }
  void add_service(std::uint32_t vip_id, std::uint16_t port, std::uint8_t protocol, std::uint32_t id, std::uint32_t flags,
                   std::uint32_t backend) {
    rig_.set_service(vip_id, port, protocol,
                     {.service_id = id, .flags = flags, .slot_base = id * kSlots, .slot_count = kSlots, .affinity_s = 0,
                      .hash_seed = 0x5eed0000u + id, .local_slot_base = id * kSlots, .local_slot_count = kSlots});
    for (std::uint32_t i = 0; i < kSlots; ++i) rig_.set_slot(id * kSlots + i, {backend, 0});
  }
  void pass_through(Program program, std::uint32_t ifindex, const Packet& packet, const char* what) {
    const Output output = rig_.run(program, Input{.frame = packet.bytes(), .ifindex = ifindex});
    if (output.error != 0 || output.action != kTcRedirect) {
      fail(std::string(what) + ": " + program_name(program) + " answered " + std::to_string(output.action) + ", error " +
           std::to_string(output.error));
    }
  }
  void open_connection(const Side& side) {
    pass_through(Program::lan_tc, lan_, from_client(side.client, side.vip) / tcp(kSyn), "SYN");
    pass_through(Program::return_tc, veth_, from_pod(side.pod, side.client) / tcp_answer(kSyn | kAck), "SYN-ACK");
    pass_through(Program::lan_tc, lan_, from_client(side.client, side.vip) / tcp(kAck), "ACK");
  }
  void open_udp(const Side& side) {
    const Udp question{.source_port = kClientPort, .destination_port = 53};
    const Udp answer{.source_port = kPodUdpPort, .destination_port = kClientPort};
    pass_through(Program::lan_tc, lan_, from_client(side.client, side.vip) / question / Payload("?"), "datagram");
    pass_through(Program::return_tc, veth_, from_pod(side.pod, side.client) / answer / Payload("!"), "answer");
    pass_through(Program::lan_tc, lan_, from_client(side.client, side.vip) / question / Payload("?"), "datagram");
  }

  Rig& rig_;
  std::uint32_t lan_, veth_;
};

constexpr std::uint32_t kNothing = XLB_VERDICT_PASS;  // nothing is counted

struct Case {
  const char* name;
  Program program;
  Packet packet;
  std::uint32_t verdict;
  bool new_client_each_time = false;
};

std::vector<Case> cases() {
  const Packet arp = Ethernet{.source = kClientMac, .destination = kBroadcast} /
                     Arp{.operation = 1, .sender_mac = kClientMac, .sender = kIpv4.client, .target = kIpv4.vip};
  const Packet solicitation = Packet(Ethernet{.source = kClientMac,
                                              .destination = multicast_mac(solicited_node(kIpv6.vip))}) /
                              Ipv6{.source = kIpv6.client, .destination = solicited_node(kIpv6.vip), .hop_limit = 255} /
                              neighbor_solicitation(kIpv6.vip, kClientMac);
  const Packet ping = from_client(kIpv4.client, kIpv4.vip) / Icmp{} / Payload::of_size(32);
  const Packet foreign = Packet(Ethernet{.source = kClientMac, .destination = kOtherMac}) /
                         ip(kIpv4.client, kIpv4.vip) / tcp(kAck);
  const Packet to_node = from_client(kIpv4.client, kIpv4.node) / tcp(kAck, 22);
  const Packet to_node6 = from_client(kIpv6.client, kIpv6.node) / tcp(kAck, 22);
  const Packet silent = from_client(kIpv4.client, kIpv4.silent_vip) / tcp(kSyn, 9);
  const Packet guarded = from_client(kIpv4.client, kIpv4.vip) / tcp(kSyn, kGuardedPort);
  const Packet known = from_client(kIpv4.client, kIpv4.vip) / tcp(kAck) / Payload::of_size(32);
  const Packet known6 = from_client(kIpv6.client, kIpv6.vip) / tcp(kAck) / Payload::of_size(32);
  const Packet datagram = from_client(kIpv4.client, kIpv4.vip) / Udp{.source_port = kClientPort, .destination_port = 53} /
                          Payload::of_size(32);
  const Packet back = from_pod(kIpv4.pod, kIpv4.client) / tcp_answer(kAck) / Payload::of_size(32);
  const Packet back6 = from_pod(kIpv6.pod, kIpv6.client) / tcp_answer(kAck) / Payload::of_size(32);
  const Packet unrelated = from_pod(kIpv4.pod, "198.51.100.7") / tcp_answer(kAck);
  const Packet to_peer = from_client(kIpv4.client, kIpv4.vip) / tcp(kAck, kPeerPort) / Payload::of_size(32);
  const Packet to_peer6 = from_client(kIpv6.client, kIpv6.vip) / tcp(kAck, kPeerPort) / Payload::of_size(32);
  const Packet echo = Ethernet{.source = kPeerMac, .destination = kOwnMac, .type = XLB_ETHERTYPE} /
                      Payload(Bytes{'x', 'l', 'b', '1', XLB_WIRE_VERSION, XLB_WIRE_ECHO, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8});
  const Packet too_big = from_client(IpAddress("192.168.0.1"), kIpv4.vip) / Icmp{.type = 3, .code = 4, .rest = 1280} /
                         ip(kIpv4.vip, kIpv4.client) /
                         Tcp{.source_port = 80, .destination_port = kClientPort, .sequence = 5000, .flags = kAck};
  return {
      {"ARP request for a VIP: answer", Program::lan_xdp, arp, XLB_VERDICT_ARP_REPLY},
      {"ARP request for a VIP: answer", Program::lan_tc, arp, XLB_VERDICT_ARP_REPLY},
      {"neighbour solicitation for a VIP: answer", Program::lan_xdp, solicitation, XLB_VERDICT_ND_REPLY},
      {"neighbour solicitation for a VIP: answer", Program::lan_tc, solicitation, XLB_VERDICT_ND_REPLY},
      {"echo request to a VIP: answer", Program::lan_xdp, ping, XLB_VERDICT_PING_REPLY},
      {"echo request to a VIP: answer", Program::lan_tc, ping, XLB_VERDICT_PING_REPLY},
      {"for another host's MAC: left alone", Program::lan_xdp, foreign, kNothing},
      {"for another host's MAC: left alone", Program::lan_tc, foreign, kNothing},
      {"IPv4 for the node, no VIP: left alone", Program::lan_xdp, to_node, kNothing},
      {"IPv4 for the node, no VIP: left alone", Program::lan_tc, to_node, kNothing},
      {"IPv6 for the node, no VIP: left alone", Program::lan_tc, to_node6, kNothing},
      {"unknown port, silent VIP: drop", Program::lan_xdp, silent, XLB_VERDICT_UNKNOWN_PORT},
      {"unknown port, silent VIP: drop", Program::lan_tc, silent, XLB_VERDICT_UNKNOWN_PORT},
      {"outside the source ranges: drop", Program::lan_xdp, guarded, XLB_VERDICT_DENIED},
      {"for a service: left to the twin", Program::lan_xdp, known, kNothing},
      {"established IPv4 TCP flow: to the pod", Program::lan_tc, known, XLB_VERDICT_TO_POD},
      {"established IPv6 TCP flow: to the pod", Program::lan_tc, known6, XLB_VERDICT_TO_POD},
      {"answered IPv4 UDP flow: to the pod", Program::lan_tc, datagram, XLB_VERDICT_TO_POD},
      {"first SYN of a flow: to the pod", Program::lan_tc, from_client(kIpv4.client, kIpv4.vip) / tcp(kSyn),
       XLB_VERDICT_TO_POD, true},
      {"established IPv4 TCP flow: to a peer", Program::lan_xdp, to_peer, XLB_VERDICT_TO_PEER},
      {"established IPv4 TCP flow: to a peer", Program::lan_tc, to_peer, XLB_VERDICT_TO_PEER},
      {"established IPv6 TCP flow: to a peer", Program::lan_xdp, to_peer6, XLB_VERDICT_TO_PEER},
      {"first SYN of a flow: to a peer", Program::lan_xdp, from_client(kIpv4.client, kIpv4.vip) / tcp(kSyn, kPeerPort),
       XLB_VERDICT_TO_PEER, true},
      {"echo of a peer: sent back", Program::lan_xdp, echo, XLB_VERDICT_ECHO_RETURNED},
      {"ICMP \"too big\" about a flow: to the pod", Program::lan_tc, too_big, XLB_VERDICT_ICMP_ERROR_IN},
      {"unknown port: RST", Program::lan_tc, from_client(kIpv4.client, kIpv4.vip) / tcp(kSyn, 9), XLB_VERDICT_REJECTED_TCP},
      {"established IPv4 TCP flow: back to the client", Program::return_tc, back, XLB_VERDICT_RETURNED},
      {"established IPv6 TCP flow: back to the client", Program::return_tc, back6, XLB_VERDICT_RETURNED},
      {"the pod's own traffic: left alone", Program::return_tc, unrelated, kNothing},
      {"leaves the LAN link, no flow: left alone", Program::egress_tc, unrelated, kNothing},
  };
}

class Bench {
 public:
  Bench(Rig& rig, const World& world, std::uint32_t repeat, int rounds)
      : rig_(rig), world_(world), repeat_(repeat), rounds_(rounds), wrapper_(verdicts_bpf__open_and_load()) {
    if (wrapper_ == nullptr) fail(std::string("load the wrapper: ") + std::strerror(errno));
  }
  ~Bench() { verdicts_bpf__destroy(wrapper_); }
  Bench(const Bench&) = delete;
  Bench& operator=(const Bench&) = delete;
  Bench(Bench&&) = delete;
  Bench& operator=(Bench&&) = delete;

  struct Figure {
    double ns = 0;       // median of the rounds, wrapper subtracted
    double wrapper = 0;  // what was subtracted
  };

  Figure measure(const Case& one) {
    place(one);
    const bool xdp = one.program == Program::lan_xdp;
    const int empty = bpf_program__fd(xdp ? wrapper_->progs.bench_empty_xdp : wrapper_->progs.bench_empty_tc);
    const int real = rig_.program_file(program_name(one.program));
    std::vector<double> costs, empties;
    run(one, real);  // warm
    for (int round = 0; round < rounds_; ++round) {
      const double base = run(one, empty);
      const Traces before = rig_.traces();
      const double whole = run(one, real);
      const Traces after = rig_.traces();
      prove(one, before, after);
      costs.push_back(whole - base);
      empties.push_back(base);
    }
    return {median(costs), median(empties)};
  }

 private:
  static double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
  }

  void place(const Case& one) {
    Bytes bytes = one.packet.bytes();
    if (bytes.size() > BENCH_FRAME_BYTES) fail(std::string(one.name) + ": the frame is too long for the wrapper");
    bytes.resize(BENCH_FRAME_BYTES);
    bench_frame frame{};
    std::memcpy(frame.bytes, bytes.data(), bytes.size());
    frame.vary_port = frame.vary_address = BENCH_NO_VARIATION;
    if (one.new_client_each_time) {
      frame.vary_port = 14 + 20;
      frame.vary_address = 14 + 15;
    }
    const std::uint32_t zero = 0;
    if (bpf_map_update_elem(bpf_map__fd(wrapper_->maps.bench_frame), &zero, &frame, BPF_ANY) != 0) fail("bench_frame");
    frame_ = bytes;
  }

  double run(const Case& one, int behind) {
    const bool xdp = one.program == Program::lan_xdp;
    const std::uint32_t zero = 0;
    const int jump = bpf_map__fd(xdp ? wrapper_->maps.bench_xdp : wrapper_->maps.bench_tc);
    if (bpf_map_update_elem(jump, &zero, &behind, BPF_ANY) != 0) {
      fail(std::string(one.name) + ": program array: " + std::strerror(errno));
    }
    LIBBPF_OPTS(bpf_test_run_opts, options);
    options.data_in = frame_.data();
    options.data_size_in = static_cast<__u32>(frame_.size());
    options.repeat = static_cast<int>(repeat_);
    xdp_md xdp_context{};
    __sk_buff skb{};
    const std::uint32_t ifindex = one.program == Program::return_tc ? world_.veth() : world_.lan();
    if (xdp) {
      xdp_context.data_end = options.data_size_in;
      xdp_context.ingress_ifindex = ifindex;
      options.ctx_in = &xdp_context;
      options.ctx_size_in = sizeof xdp_context;
    } else {
      skb.ifindex = ifindex;
      skb.ingress_ifindex = ifindex;
      options.ctx_in = &skb;
      options.ctx_size_in = sizeof skb;
    }
    const int wrapper = bpf_program__fd(xdp ? wrapper_->progs.bench_wrap_xdp : wrapper_->progs.bench_wrap_tc);
    if (bpf_prog_test_run_opts(wrapper, &options) != 0) fail(std::string(one.name) + ": " + std::strerror(errno));
    return options.duration;
  }

  // Each run must have come to the verdict, and to no other.
  void prove(const Case& one, const Traces& before, const Traces& after) const {
    for (std::uint32_t verdict = 0; verdict < XLB_VERDICT_COUNT; ++verdict) {
      const std::uint64_t counted = after.counters[verdict].packets - before.counters[verdict].packets;
      const std::uint64_t wanted = verdict == one.verdict && one.verdict != kNothing ? repeat_ : 0;
      if (counted != wanted) {
        fail(std::string(one.name) + " (" + program_name(one.program) + "): verdict " + std::to_string(verdict) +
             " was counted " + std::to_string(counted) + " times instead of " + std::to_string(wanted));
      }
    }
  }

  Rig& rig_;
  const World& world_;
  std::uint32_t repeat_;
  int rounds_;
  verdicts_bpf* wrapper_;
  Bytes frame_;
};

int run(int argc, char** argv) {
  const std::uint32_t repeat = argc > 1 ? static_cast<std::uint32_t>(std::stoul(argv[1])) : 500'000;
  const int rounds = argc > 2 ? std::stoi(argv[2]) : 7;
  const std::string words = argc > 3 ? argv[3] : "";
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(0, &one);
  sched_setaffinity(0, sizeof one, &one);
  const auto rig = Rig::get();
  if (!rig) fail(rig.error().text);
  const World world(**rig);
  Bench bench(**rig, world, repeat, rounds);
  const char* separator = "[";
  for (const Case& each : cases()) {
    if (std::string(each.name).find(words) == std::string::npos) continue;
    const Bench::Figure figure = bench.measure(each);
    std::printf("%s{\"program\": \"%s\", \"case\": \"", separator, program_name(each.program));
    for (const char* at = each.name; *at != 0; ++at) std::printf(*at == '"' ? "\\%c" : "%c", *at);
    std::printf("\", \"ns\": %.0f, \"wrapper_ns\": %.0f}", figure.ns, figure.wrapper);
    std::fflush(stdout);
    separator = ",\n ";
  }
  std::printf("]\n");
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "verdicts: %s\n", problem.what());
    return 1;
  }
}
