// SPDX-License-Identifier: Apache-2.0
#include "tests/packet/peers.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace xlb {

using namespace packet;

void WithPeers::SetUp() {
  PacketTest::SetUp();
  if (IsSkipped() || HasFatalFailure()) return;
  pi2 = v4() ? "192.168.0.12" : "fd00::12";
  pi3 = v4() ? "192.168.0.13" : "fd00::13";
  pod_c = v4() ? "10.42.1.2" : "fd42:1::2";
  pod_d = v4() ? "10.42.2.2" : "fd42:2::2";
  link.flags |= XLB_LINK_XDP_SENDS;
  rig().set_link(lan, 0, link);
  rig().set_peer(kPi2, peer_row(pi2, pi2_mac));
  rig().set_peer(kPi3, peer_row(pi3, pi3_mac));
  rig().set_peer_mac(pi2_mac, kPi2);
  rig().set_peer_mac(pi3_mac, kPi3);
  rig().set_backend(kPodC, remote_row(pod_c, 8080, IPPROTO_TCP, kPi2));
  rig().set_backend(kPodD, remote_row(pod_d, 8080, IPPROTO_TCP, kPi3));
  rig().set_backend(kPodCUdp, remote_row(pod_c, 5353, IPPROTO_UDP, kPi2));
  rig().set_backend(kPodDUdp, remote_row(pod_d, 5353, IPPROTO_UDP, kPi3));
  fill_both(kWeb, {kPodC, kPodD}, {kPodA, kPodB});
  fill_both(kDns, {kPodCUdp, kPodDUdp}, {kPodAUdp, kPodBUdp});
  set_web(0);
  lb_service dns = service_row(kDns);
  dns.local_slot_base += 10 * kSlotsPerService;
  rig().set_service(kVipId, 53, IPPROTO_UDP, dns);
}

lb_peer WithPeers::peer_row(const IpAddress& address, const MacAddress& mac, std::uint32_t flags) const {
  lb_peer row{};
  (v4() ? row.address4 : row.address6) = address.abi();
  row.flags = flags;
  row.attach_ifindex = lan;
  std::copy(mac.bytes.begin(), mac.bytes.end(), row.mac);
  return row;
}

lb_backend WithPeers::remote_row(const IpAddress& address, std::uint16_t port, std::uint8_t protocol,
                                 std::uint32_t node_id) const {
  lb_backend row = backend_row(address, port, protocol, 0);
  row.flags = XLB_BACKEND_LIVE;
  row.node_id = node_id;
  return row;
}

void WithPeers::fill_both(std::uint32_t service_id, lb_slot all, lb_slot own) {
  fill_slots(service_id, all);
  fill_slots(service_id + 10, own);
}

void WithPeers::set_web(std::uint32_t flags, std::uint32_t own_slots) {
  lb_service web = service_row(kWeb, flags);
  web.local_slot_base = own_slots == 0 ? 0 : web.slot_base + 10 * kSlotsPerService;
  web.local_slot_count = own_slots;
  rig().set_service(kVipId, 80, IPPROTO_TCP, web);
}

void WithPeers::set_presence(std::uint32_t node_id, std::uint32_t presence) {
  const bool second = node_id == kPi2;
  rig().set_peer(node_id, peer_row(second ? pi2 : pi3, second ? pi2_mac : pi3_mac, presence));
}

Packet WithPeers::from_peer(const IpAddress& from) const {
  Packet packet = Packet(Ethernet{.source = pi2_mac, .destination = own_mac}) / ip(from, vip);
  if (v4()) packet.get<Ipv4>().ttl = 63;
  if (!v4()) packet.get<Ipv6>().hop_limit = 63;
  return packet;
}

// The slow, obvious way: the header's checksum is made anew.
void WithPeers::expect_readdressed(const Fate& fate, Bytes frame, const MacAddress& to) {
  std::copy(to.bytes.begin(), to.bytes.end(), frame.begin());
  std::copy(own_mac.bytes.begin(), own_mac.bytes.end(), frame.begin() + 6);
  const std::size_t l3 = frame[12] == 0x81 && frame[13] == 0 ? 18 : 14;
  if (v4()) {
    frame[l3 + 8]--;
    frame[l3 + 10] = frame[l3 + 11] = 0;
    std::uint32_t sum = 0;
    for (std::size_t at = 0; at < (frame[l3] & 15u) * 4; at += 2) sum += frame[l3 + at] * 256u + frame[l3 + at + 1];
    while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
    frame[l3 + 10] = static_cast<std::uint8_t>(~sum >> 8);
    frame[l3 + 11] = static_cast<std::uint8_t>(~sum);
  } else {
    frame[l3 + 7]--;
  }
  EXPECT_EQ(difference(frame, fate.output.frame), "");
  EXPECT_EQ(fate.output.action, fate.in_xdp ? kXdpTx : kTcRedirect);
  expect_one_verdict(fate, XLB_VERDICT_TO_PEER);
  EXPECT_EQ(fate.after.counters[XLB_VERDICT_TO_PEER].bytes - fate.before.counters[XLB_VERDICT_TO_PEER].bytes,
            frame.size());
}

void WithPeers::expect_handed_over(const Fate& fate, const Bytes& frame, const MacAddress& to) {
  EXPECT_EQ(fate.in_xdp, with_xdp());
  expect_readdressed(fate, frame, to);
}

void WithPeers::expect_handed_over_by_twin(const Fate& fate, const Bytes& frame, const MacAddress& to) {
  EXPECT_FALSE(fate.in_xdp);
  expect_readdressed(fate, frame, to);
}

}  // namespace xlb
