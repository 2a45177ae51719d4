// SPDX-License-Identifier: Apache-2.0
#include "tests/packet/packet_test.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cstring>
#include <ctime>
#include <numeric>

namespace xlb {
namespace {

using namespace packet;

struct VerdictRow {
  const char* name;
};
#define VERDICT(name, outcome, text) {#name},
constexpr VerdictRow kVerdicts[] = {
#include "maps/verdicts.def"
};
#undef VERDICT

std::uint64_t clock_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1000000000u + static_cast<std::uint64_t>(now.tv_nsec);
}

template <typename Rows>
bool same(const Rows& left, const Rows& right) {
  if (left.size() != right.size()) return false;
  for (auto a = left.begin(), b = right.begin(); a != left.end(); ++a, ++b) {
    if (std::memcmp(&a->first, &b->first, sizeof a->first) != 0 ||
        std::memcmp(&a->second, &b->second, sizeof a->second) != 0) {
      return false;
    }
  }
  return true;
}

// Nothing counted, remembered or reported between the two.
bool no_trace(const Traces& before, const Traces& after) {
  for (std::size_t i = 0; i < before.counters.size(); i++) {
    if (std::memcmp(&before.counters[i], &after.counters[i], sizeof(lb_counter)) != 0) return false;
  }
  for (const auto& [id, stats] : after.services) {
    const auto was = before.services.find(id);
    const lb_svc_stats none{};
    if (std::memcmp(&stats, was == before.services.end() ? &none : &was->second, sizeof stats) != 0) return false;
  }
  return after.events.empty() && same(before.flows, after.flows) && same(before.half_open, after.half_open) &&
         same(before.fragments, after.fragments) && same(before.affinity, after.affinity) &&
         same(before.echoes, after.echoes);
}

std::string flow_text(const lb_flow_key& key, const lb_flow& flow) {
  return IpAddress(key.source).text() + ":" + std::to_string(ntohs(key.source_port)) + " > " +
         IpAddress(key.destination).text() + ":" + std::to_string(ntohs(key.destination_port)) +
         (key.direction == XLB_TO_BACKEND ? " in" : " out") + " backend " + std::to_string(flow.backend_id) +
         " state " + std::to_string(flow.state) + " flags " + std::to_string(flow.flags);
}

}  // namespace

std::uint64_t mono_ns() {
  return clock_ns(CLOCK_MONOTONIC);
}
std::uint64_t boot_ns() {
  return clock_ns(CLOCK_BOOTTIME);
}

const char* verdict_name(std::uint32_t verdict) {
  return verdict < XLB_VERDICT_COUNT ? kVerdicts[verdict].name : "?";
}

std::vector<enum xlb_verdict> Fate::verdicts() const {
  std::vector<enum xlb_verdict> out;
  for (std::uint32_t i = 0; i < XLB_VERDICT_COUNT; i++) {
    const std::uint64_t count = after.counters[i].packets - before.counters[i].packets;
    for (std::uint64_t n = 0; n < count; n++) out.push_back(static_cast<enum xlb_verdict>(i));
  }
  return out;
}

std::string describe(const Traces& before, const Traces& after) {
  std::string out;
  for (std::uint32_t i = 0; i < XLB_VERDICT_COUNT; i++) {
    const std::uint64_t packets = after.counters[i].packets - before.counters[i].packets;
    const std::uint64_t bytes = after.counters[i].bytes - before.counters[i].bytes;
    if (packets != 0 || bytes != 0) {
      out += std::string("  counted ") + verdict_name(i) + " " + std::to_string(packets) + " packets " +
             std::to_string(bytes) + " bytes\n";
    }
  }
  for (const auto& [key, flow] : after.flows) out += "  flow " + flow_text(key, flow) + "\n";
  for (const auto& [key, flow] : after.half_open) out += "  half-open " + flow_text(key, flow) + "\n";
  if (!after.fragments.empty()) out += "  fragments " + std::to_string(after.fragments.size()) + "\n";
  for (const lb_event& event : after.events) {
    out += "  event " + std::to_string(event.kind) + " " + verdict_name(event.verdict) + "\n";
  }
  return out.empty() ? "  nothing counted or remembered\n" : out;
}

std::string setting_name(const testing::TestParamInfo<Setting>& info) {
  const char* way = info.param.way == Way::tc ? "tc" : info.param.way == Way::xdp ? "xdp" : "tc_complete";
  return std::string(way) + (info.param.net == Net::ipv4 ? "_ipv4" : "_ipv6");
}

void PrintTo(const Setting& setting, std::ostream* out) {
  *out << setting_name({setting, 0});
}

std::vector<Setting> settings(const Ways& ways, const Nets& nets) {
  std::vector<Setting> out;
  for (const Way way : ways) {
    for (const Net net : nets) out.push_back({way, net});
  }
  return out;
}

void PacketTest::SetUp() {
  const auto rig = Rig::get();
  if (!rig && geteuid() != 0) GTEST_SKIP() << rig.error().text;
  if (!rig) FAIL() << rig.error().text;
  rig_ = *rig;
  if (GetParam().way == Way::tc_complete && !rig_->has_checksum_complete()) {
    GTEST_SKIP() << "this kernel has no BPF_F_TEST_SKB_CHECKSUM_COMPLETE";
  }
  const auto pick = [this](const char* ipv4, const char* ipv6) { return IpAddress(v4() ? ipv4 : ipv6); };
  client = pick("192.168.0.50", "fd00::50");
  far_client = pick("198.51.100.7", "2001:db8:51::7");
  stranger = pick("10.99.0.9", "fd99::9");  // routed by lan1
  vip = pick("192.168.0.200", "fd00::200");
  other_vip = pick("192.168.0.201", "fd00::201");
  pod_a = pick("10.42.0.2", "fd42::2");
  pod_b = pick("10.42.0.3", "fd42::3");
  node_address = pick("192.168.0.10", "fd00::10");
  lan = sandbox().lan0.ifindex;

  rig_->reset();
  node = lb_node{.lease_boot_ns = XLB_FOREVER,
                 .try_mono_ns = 0,
                 .epoch = 3,
                 .tcp_idle_ns = XLB_TCP_IDLE_DEFAULT_NS,
                 .trace_until_mono_ns = 0,
                 .trace_every = 1,
                 .reject_per_second = 1000,
                 .abi_version = XLB_ABI_VERSION,
                 .pad = 0};
  rig_->set_node(node);
  link = lb_link{.l3_ifindex = lan, .role = XLB_LINK_LAN, .flags = 0, .link_bit = 1, .mac = {}, .pad = {}};
  std::memcpy(link.mac, own_mac.bytes.data(), 6);
  rig_->set_link(lan, 0, link);
  for (const Interface* pod : {&sandbox().pod0, &sandbox().pod1}) {
    lb_link veth{
        .l3_ifindex = pod->ifindex, .role = XLB_LINK_RETURN, .flags = 0, .link_bit = 0, .mac = {}, .pad = {}};
    std::memcpy(veth.mac, pod->mac.bytes.data(), 6);
    rig_->set_link(pod->ifindex, 0, veth);
  }
  rig_->set_vip(vip, vip_row(kVipId));
  rig_->set_vip(other_vip, vip_row(kOtherVipId));
  rig_->set_backend(kPodA, backend_row(pod_a, 8080, IPPROTO_TCP, sandbox().pod0.ifindex));
  rig_->set_backend(kPodB, backend_row(pod_b, 8080, IPPROTO_TCP, sandbox().pod1.ifindex));
  rig_->set_backend(kPodAUdp, backend_row(pod_a, 5353, IPPROTO_UDP, sandbox().pod0.ifindex));
  rig_->set_backend(kPodBUdp, backend_row(pod_b, 5353, IPPROTO_UDP, sandbox().pod1.ifindex));
  rig_->set_service(kVipId, 80, IPPROTO_TCP, service_row(kWeb));
  rig_->set_service(kVipId, 53, IPPROTO_UDP, service_row(kDns));
  fill_slots(kWeb, {kPodA, kPodB});
  fill_slots(kDns, {kPodAUdp, kPodBUdp});
}

lb_vip PacketTest::vip_row(std::uint32_t id, std::uint32_t flags) const {
  return {.owned_epoch = node.epoch, .claim_epoch = 1, .vip_id = id, .flags = flags, .link_mask = 1, .healthy = 2};
}

lb_service PacketTest::service_row(std::uint32_t id, std::uint32_t flags) const {
  return {.service_id = id,
          .flags = flags,
          .slot_base = id * kSlotsPerService,
          .slot_count = kSlotsPerService,
          .affinity_s = 10800,
          .hash_seed = 0x5eed0000u + id,
          .local_slot_base = id * kSlotsPerService,
          .local_slot_count = kSlotsPerService};
}

lb_backend PacketTest::backend_row(const IpAddress& address, std::uint16_t port, std::uint8_t protocol,
                                   std::uint32_t veth) const {
  return {.address = address.abi(),
          .generation = kGeneration,
          .flags = XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL,
          .veth_ifindex = veth,
          .node_id = 0,
          .port = htons(port),
          .protocol = protocol,
          .pad = 0,
          .vip_id = 0};
}

void PacketTest::fill_slots(std::uint32_t service_id, lb_slot slot) {
  for (std::uint32_t i = 0; i < kSlotsPerService; i++) rig().set_slot(service_id * kSlotsPerService + i, slot);
}

void PacketTest::change_backend(std::uint32_t id, std::uint32_t flags, std::uint32_t generation) {
  const bool a = id == kPodA || id == kPodAUdp;
  const bool is_udp = id == kPodAUdp || id == kPodBUdp;
  lb_backend row = backend_row(a ? pod_a : pod_b, is_udp ? 5353 : 8080, is_udp ? IPPROTO_UDP : IPPROTO_TCP,
                               a ? sandbox().pod0.ifindex : sandbox().pod1.ifindex);
  row.flags = flags;
  row.generation = generation;
  rig().set_backend(id, row);
}

Packet PacketTest::ip(const IpAddress& from, const IpAddress& to) const {
  if (to.is_ipv4()) return Ipv4{.source = from, .destination = to};
  return Ipv6{.source = from, .destination = to};
}

Packet PacketTest::from_client(const IpAddress& from, const IpAddress& to) const {
  return Packet(Ethernet{.source = client_mac, .destination = own_mac}) / ip(from, to);
}

Packet PacketTest::from_pod(const IpAddress& pod, const IpAddress& to) const {
  const bool a = pod == pod_a;
  return Packet(Ethernet{.source = MacAddress(a ? "02:00:00:00:01:01" : "02:00:00:00:01:02"),
                         .destination = MacAddress(a ? "02:00:00:00:01:10" : "02:00:00:00:01:11")}) /
         ip(pod, to);
}

Tcp PacketTest::tcp(std::uint8_t flags, std::uint16_t client_port, std::uint16_t port) const {
  return {.source_port = client_port,
          .destination_port = port,
          .sequence = 1000,
          .acknowledgment = (flags & kAck) ? 5000u : 0u,
          .flags = flags};
}

Tcp PacketTest::tcp_answer(std::uint8_t flags, std::uint16_t client_port) const {
  return {
      .source_port = 8080, .destination_port = client_port, .sequence = 5000, .acknowledgment = 1001, .flags = flags};
}

Udp PacketTest::udp(std::uint16_t client_port, std::uint16_t port) const {
  return {.source_port = client_port, .destination_port = port};
}

Udp PacketTest::udp_answer(std::uint16_t client_port) const {
  return {.source_port = 5353, .destination_port = client_port};
}

Fate PacketTest::run(Program program, const Input& input) {
  Fate fate;
  fate.before = rig().traces();
  fate.output = rig().run(program, input);
  fate.after = rig().traces();
  EXPECT_EQ(fate.output.error, 0) << program_name(program) << ": " << std::strerror(fate.output.error)
                                  << (fate.output.error == EBADMSG ? " (skb->csum is wrong afterwards)" : "") << "\n"
                                  << decode(input.frame).text();
  return fate;
}

Fate PacketTest::receive(Input input) {
  if (with_xdp()) {
    Fate fate = run(Program::lan_xdp, input);
    fate.in_xdp = true;
    if (fate.output.action != kXdpPass) return fate;
    // What is left to the twin is left as it came.
    EXPECT_EQ(difference(input.frame, fate.output.frame), "") << "XDP passed a frame that it changed";
    EXPECT_TRUE(no_trace(fate.before, fate.after)) << "XDP passed a frame and left a trace\n"
                                                   << decode(input.frame).text() << "\n"
                                                   << describe(fate.before, fate.after);
  }
  input.checksum_complete = GetParam().way == Way::tc_complete;
  // The kernel takes the outer VLAN tag out of the frame before tc sees it.
  const std::size_t type_at = 12;
  if (!input.vlan_metadata && input.frame.size() >= 18 && input.frame[type_at] == 0x81 &&
      input.frame[type_at + 1] == 0) {
    input.vlan_metadata = static_cast<std::uint16_t>((input.frame[14] << 8) | input.frame[15]);
    input.frame.erase(input.frame.begin() + type_at, input.frame.begin() + type_at + 4);
  }
  return run(Program::lan_tc, input);
}

// XDP gets the short frame. tc gets the whole one, which is cut in front of the program: a test run of tc refuses
// frames that end within the IP header. Cutting has nothing to do with who sums the frame, and the kernel does not
// keep the sum of a frame that is cut down to its Ethernet header.
Fate PacketTest::receive_cut(const Bytes& frame, std::size_t length) {
  if (with_xdp()) {
    const Bytes front(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length));
    Fate fate = run(Program::lan_xdp, Input{.frame = front, .ifindex = lan});
    fate.in_xdp = true;
    if (fate.output.action != kXdpPass) return fate;
    EXPECT_EQ(difference(front, fate.output.frame), "") << "XDP passed a frame that it changed";
    EXPECT_TRUE(no_trace(fate.before, fate.after)) << describe(fate.before, fate.after);
  }
  return run(Program::lan_tc, Input{.frame = frame, .ifindex = lan, .cut = static_cast<std::uint32_t>(length)});
}

void PacketTest::expect_ignored_cut(const Bytes& frame, std::size_t length) {
  expect_ignored(receive_cut(frame, length),
                 Bytes(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(length)));
}

Fate PacketTest::answer(const Packet& packet) {
  const Decoded said = decode(packet.bytes());
  const std::uint32_t veth = said.source == pod_b ? sandbox().pod1.ifindex : sandbox().pod0.ifindex;
  return run(
      Program::return_tc,
      Input{.frame = packet.bytes(), .ifindex = veth, .checksum_complete = GetParam().way == Way::tc_complete});
}

Fate PacketTest::egress(const Packet& packet, std::uint16_t tc_index, std::uint32_t mark) {
  return run(Program::egress_tc, Input{.frame = packet.bytes(),
                                       .ifindex = lan,
                                       .tc_index = tc_index,
                                       .mark = mark,
                                       .checksum_complete = GetParam().way == Way::tc_complete});
}

void PacketTest::expect_one_verdict(const Fate& fate, enum xlb_verdict verdict) {
  const auto counted = fate.verdicts();
  EXPECT_TRUE(counted.size() == 1 && counted[0] == verdict) << "expected one " << verdict_name(verdict) << "\n"
                                                            << describe(fate.before, fate.after);
  const auto answers = [](const Traces& traces) { return std::accumulate(traces.answers.begin(), traces.answers.end(), std::uint64_t{0}); };
  EXPECT_EQ(answers(fate.after) - answers(fate.before), verdict == XLB_VERDICT_ARP_REPLY || verdict == XLB_VERDICT_ND_REPLY ? 1u : 0u);
}

void PacketTest::expect_ignored(const Packet& packet) {
  const Bytes frame = packet.bytes();
  const Fate fate = receive(Input{.frame = frame, .ifindex = lan});
  Bytes untagged = frame;
  if (frame.size() >= 18 && frame[12] == 0x81 && frame[13] == 0)
    untagged.erase(untagged.begin() + 12, untagged.begin() + 16);
  expect_ignored(fate, fate.in_xdp ? frame : untagged);
}

void PacketTest::expect_ignored(const Fate& fate, const Bytes& frame) {
  EXPECT_EQ(fate.output.action, fate.in_xdp ? kXdpPass : kTcUnspec) << decode(frame).text();
  EXPECT_EQ(difference(frame, fate.output.frame), "");
  EXPECT_TRUE(no_trace(fate.before, fate.after)) << decode(frame).text() << "\n" << describe(fate.before, fate.after);
}

void PacketTest::expect_left(const Fate& fate, const Bytes& frame, enum xlb_verdict verdict) {
  EXPECT_EQ(fate.output.action, fate.in_xdp ? kXdpPass : kTcUnspec) << decode(frame).text();
  EXPECT_EQ(difference(frame, fate.output.frame), "");
  expect_one_verdict(fate, verdict);
}

void PacketTest::expect_forwarded(const Fate& fate, const Packet& expected, enum xlb_verdict verdict) {
  EXPECT_FALSE(fate.in_xdp);
  EXPECT_EQ(fate.output.action, kTcRedirect);
  EXPECT_EQ(difference(expected.bytes(), fate.output.frame), "");
  expect_one_verdict(fate, verdict);
}

void PacketTest::expect_passed_up(const Fate& fate, const Packet& expected, enum xlb_verdict verdict) {
  EXPECT_FALSE(fate.in_xdp);
  EXPECT_EQ(fate.output.action, kTcUnspec);
  EXPECT_EQ(difference(expected.bytes(), fate.output.frame), "");
  expect_one_verdict(fate, verdict);
}

void PacketTest::expect_sent_back(const Fate& fate, enum xlb_verdict verdict) {
  EXPECT_EQ(fate.output.action, fate.in_xdp ? kXdpTx : kTcRedirect);
  const Decoded got = fate.decoded();
  EXPECT_TRUE(got.sound()) << got.text() << "\n" << hex(fate.output.frame);
  expect_one_verdict(fate, verdict);
}

void PacketTest::expect_dropped(const Fate& fate, enum xlb_verdict verdict) {
  EXPECT_EQ(fate.output.action, fate.in_xdp ? kXdpDrop : kTcShot) << fate.decoded().text();
  expect_one_verdict(fate, verdict);
}

lb_flow_key PacketTest::forward_key(std::uint8_t protocol, std::uint16_t client_port) const {
  return {.source = client.abi(),
          .destination = vip.abi(),
          .source_port = htons(client_port),
          .destination_port = htons(protocol == IPPROTO_TCP ? 80 : 53),
          .protocol = protocol,
          .direction = XLB_TO_BACKEND,
          .pad = 0};
}

lb_flow_key PacketTest::reverse_key(std::uint8_t protocol, const IpAddress& pod, std::uint16_t client_port) const {
  return {.source = pod.abi(),
          .destination = client.abi(),
          .source_port = htons(protocol == IPPROTO_TCP ? 8080 : 5353),
          .destination_port = htons(client_port),
          .protocol = protocol,
          .direction = XLB_FROM_BACKEND,
          .pad = 0};
}

void PacketTest::open_connection(std::uint16_t client_port) {
  const Fate syn = receive(from_client() / tcp(kSyn, client_port));
  expect_one_verdict(syn, XLB_VERDICT_TO_POD);
  const Fate syn_ack = answer(from_pod(pod_a, client) / tcp_answer(kSyn | kAck, client_port));
  expect_one_verdict(syn_ack, XLB_VERDICT_RETURNED);
  const Fate ack = receive(from_client() / tcp(kAck, client_port));
  expect_one_verdict(ack, XLB_VERDICT_TO_POD);
}

}  // namespace xlb
