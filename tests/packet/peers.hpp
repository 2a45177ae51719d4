// SPDX-License-Identifier: Apache-2.0
// The world of packet_test.hpp with two more nodes, pi2 and pi3, each with a pod for the web and the DNS service:
//
//   192.168.0.12  02:…:12  pod C 10.42.1.2        192.168.0.13  02:…:13  pod D 10.42.2.2
//
// All slots list C first and D second, those of this node A and B.
#pragma once

#include "tests/packet/packet_test.hpp"

namespace xlb {

class WithPeers : public PacketTest {
 protected:
  static constexpr std::uint32_t kPi2 = 5, kPi3 = 63;                                    // node ids
  static constexpr std::uint32_t kPodC = 11, kPodD = 12, kPodCUdp = 13, kPodDUdp = 14;  // backend ids

  void SetUp() override;

  packet::IpAddress pi2, pi3, pod_c, pod_d;
  packet::MacAddress pi2_mac{"02:00:00:00:00:12"}, pi3_mac{"02:00:00:00:00:13"};

  [[nodiscard]] lb_peer peer_row(const packet::IpAddress& address, const packet::MacAddress& mac,
                                 std::uint32_t flags = XLB_PEER_ALIVE) const;
  [[nodiscard]] lb_backend remote_row(const packet::IpAddress& address, std::uint16_t port, std::uint8_t protocol,
                                      std::uint32_t node) const;
  // Slots of all backends, and of those on this node.
  void fill_both(std::uint32_t service_id, lb_slot all, lb_slot own);
  void set_web(std::uint32_t flags, std::uint32_t own_slots = kSlotsPerService);
  void set_presence(std::uint32_t node, std::uint32_t presence);
  void set_alive(std::uint32_t node, bool alive) { set_presence(node, alive ? XLB_PEER_ALIVE : 0); }

  // As a peer hands it over: with its MAC and one hop less.
  packet::Packet from_peer(const packet::IpAddress& from) const;
  packet::Packet from_peer() const { return from_peer(client); }

  // Sent to that MAC with one hop less, and else byte for byte as it came; in XDP where XDP comes first.
  void expect_handed_over(const Fate& fate, const packet::Bytes& frame, const packet::MacAddress& to);
  void expect_handed_over(const packet::Packet& packet, const packet::MacAddress& to) {
    expect_handed_over(receive(packet), packet.bytes(), to);
  }
  // The same, but of a kind that XDP leaves to its twin.
  void expect_handed_over_by_twin(const Fate& fate, const packet::Bytes& frame, const packet::MacAddress& to);

 private:
  void expect_readdressed(const Fate& fate, packet::Bytes frame, const packet::MacAddress& to);
};

}  // namespace xlb
