// SPDX-License-Identifier: Apache-2.0
// One node with two pods and a client, and the way a frame takes: xlb_lan where XDP is attached, then its tc twin.
// Every test runs in each way and family; whatever XDP leaves to the twin must be untouched and must have left no
// trace, and that is checked on each of these frames.
//
//   client 192.168.0.50  ── lan0 ── VIP 192.168.0.200:80  (TCP) ─► pod A 10.42.0.2:8080, second pod B 10.42.0.3:8080
//                                   VIP 192.168.0.200:53  (UDP) ─► pod A 10.42.0.2:5353, second pod B 10.42.0.3:5353
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tests/packet/rig.hpp"
#include "tests/support/decode.hpp"
#include "tests/support/packet.hpp"

namespace xlb {

enum class Way {
  tc,           // tc alone
  tc_complete,  // tc alone, on a NIC that sums whole frames (CHECKSUM_COMPLETE)
  xdp,          // XDP first, what it passes goes to tc
};
enum class Net { ipv4, ipv6 };

struct Setting {
  Way way;
  Net net;
};
std::string setting_name(const testing::TestParamInfo<Setting>& info);
void PrintTo(const Setting& setting, std::ostream* out);  // found by GoogleTest

// What happened to a frame on its way in.
struct Fate {
  Output output;
  bool in_xdp = false;   // ended there
  Traces before, after;  // of the program that ended it

  // Verdicts counted, with repetition, in the order of the list.
  [[nodiscard]] std::vector<enum xlb_verdict> verdicts() const;
  [[nodiscard]] packet::Decoded decoded() const { return packet::decode(output.frame); }
  [[nodiscard]] std::vector<lb_event> events() const { return after.events; }
};

const char* verdict_name(std::uint32_t verdict);
std::string describe(const Traces& before, const Traces& after);

class PacketTest : public testing::TestWithParam<Setting> {
 protected:
  static constexpr std::uint16_t kClientPort = 40000;
  static constexpr std::uint32_t kPodA = 1, kPodB = 2, kPodAUdp = 3, kPodBUdp = 4;  // backend ids
  static constexpr std::uint32_t kWeb = 1, kDns = 2;                                // service ids
  static constexpr std::uint32_t kVipId = 1, kOtherVipId = 2;
  static constexpr std::uint32_t kSlotsPerService = 64;
  static constexpr std::uint32_t kGeneration = 7;

  void SetUp() override;

  [[nodiscard]] bool v4() const { return GetParam().net == Net::ipv4; }
  [[nodiscard]] bool with_xdp() const { return GetParam().way == Way::xdp; }
  Rig& rig() { return *rig_; }
  Sandbox& sandbox() { return rig_->sandbox(); }
  [[nodiscard]] bool rig_is_up() const { return rig_ != nullptr; }

  // Addresses of the family under test.
  packet::IpAddress client, far_client, stranger, vip, other_vip, pod_a, pod_b, node_address;
  packet::MacAddress client_mac{"02:00:00:00:00:50"}, own_mac{"02:00:00:00:00:10"};
  std::uint32_t lan = 0;  // ifindex of lan0
  lb_node node{};
  lb_link link{};

  // ---- the world ----
  lb_vip vip_row(std::uint32_t id, std::uint32_t flags = XLB_VIP_PING) const;
  lb_service service_row(std::uint32_t id, std::uint32_t flags = 0) const;
  lb_backend backend_row(const packet::IpAddress& address, std::uint16_t port, std::uint8_t protocol,
                         std::uint32_t veth) const;
  // Gives the service a block of slots of its own, all with this pair.
  void fill_slots(std::uint32_t service_id, lb_slot slot);
  void change_backend(std::uint32_t id, std::uint32_t flags, std::uint32_t generation = kGeneration);

  // ---- frames ----
  packet::Packet ip(const packet::IpAddress& from, const packet::IpAddress& to) const;
  packet::Packet from_client(const packet::IpAddress& from,
                             const packet::IpAddress& to) const;  // on the LAN, to our MAC
  packet::Packet from_client() const { return from_client(client, vip); }
  packet::Packet from_pod(const packet::IpAddress& pod, const packet::IpAddress& to) const;
  packet::Tcp tcp(std::uint8_t flags, std::uint16_t client_port = kClientPort, std::uint16_t port = 80) const;
  // Answers of pod A to the client.
  packet::Tcp tcp_answer(std::uint8_t flags, std::uint16_t client_port = kClientPort) const;
  packet::Udp udp(std::uint16_t client_port = kClientPort, std::uint16_t port = 53) const;
  packet::Udp udp_answer(std::uint16_t client_port = kClientPort) const;

  // ---- ways ----
  // The first `length` bytes of a frame, which test runs themselves may find too short.
  Fate receive_cut(const packet::Bytes& frame, std::size_t length);
  // The whole way in through lan0.
  Fate receive(const packet::Packet& packet) { return receive(Input{.frame = packet.bytes(), .ifindex = lan}); }
  Fate receive(Input input);
  // A frame from a pod, by xlb_return on the host side of its veth.
  Fate answer(const packet::Packet& packet);
  // A frame that the kernel sends out of lan0, by xlb_egress.
  Fate egress(const packet::Packet& packet, std::uint16_t tc_index = 0, std::uint32_t mark = 0);

  // ---- expectations; each shows the frame on failure ----
  // Untouched to the kernel, nothing counted, nothing remembered.
  void expect_ignored(const packet::Packet& packet);
  void expect_ignored(const Fate& fate, const packet::Bytes& frame);
  void expect_ignored_cut(const packet::Bytes& frame, std::size_t length);
  // Untouched to the kernel, with one verdict.
  void expect_left(const Fate& fate, const packet::Bytes& frame, enum xlb_verdict verdict);
  // Sent on: tc redirect; these bytes, this one verdict of this many bytes, all checksums right.
  void expect_forwarded(const Fate& fate, const packet::Packet& expected, enum xlb_verdict verdict);
  // Passed up the stack with these bytes.
  void expect_passed_up(const Fate& fate, const packet::Packet& expected, enum xlb_verdict verdict);
  // Sent back out of the interface it came in by (XDP_TX or tc redirect).
  void expect_sent_back(const Fate& fate, enum xlb_verdict verdict);
  void expect_dropped(const Fate& fate, enum xlb_verdict verdict);
  void expect_one_verdict(const Fate& fate, enum xlb_verdict verdict);

  // ---- flows ----
  [[nodiscard]] lb_flow_key forward_key(std::uint8_t protocol, std::uint16_t client_port = kClientPort) const;
  [[nodiscard]] lb_flow_key reverse_key(std::uint8_t protocol, const packet::IpAddress& pod,
                                        std::uint16_t client_port = kClientPort) const;
  // SYN, SYN|ACK, ACK through the programs.
  void open_connection(std::uint16_t client_port = kClientPort);

 private:
  Fate run(Program program, const Input& input);
  Rig* rig_ = nullptr;
};

// The clock that the programs read.
std::uint64_t mono_ns();
std::uint64_t boot_ns();

using Ways = std::vector<Way>;
using Nets = std::vector<Net>;
inline const Ways kEveryWay{Way::tc, Way::tc_complete, Way::xdp};
// Where the programs resize a frame the kernel drops the NIC's sum (ip_summed becomes NONE), but a test run still
// compares what is left in skb->csum.
inline const Ways kResizing{Way::tc, Way::xdp};
inline const Ways kTcOnly{Way::tc, Way::tc_complete};
inline const Nets kBothNets{Net::ipv4, Net::ipv6};
inline const Nets kIpv4Only{Net::ipv4};
inline const Nets kIpv6Only{Net::ipv6};
std::vector<Setting> settings(const Ways& ways, const Nets& nets);

#define XLB_RUN_SUITE(suite, ways, nets) \
  INSTANTIATE_TEST_SUITE_P(, suite, testing::ValuesIn(settings(ways, nets)), setting_name)

}  // namespace xlb
