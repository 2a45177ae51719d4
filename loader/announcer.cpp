// SPDX-License-Identifier: Apache-2.0
// The frames, byte by byte. Pure; sending and listening are in packet_socket.cpp and link_probe.cpp.
#include "loader/announcer.hpp"

#include <algorithm>

namespace xlb {
namespace {

constexpr Mac kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
constexpr Mac kAllNodesMac{{0x33, 0x33, 0, 0, 0, 1}};
constexpr std::uint16_t kVlan = 0x8100, kArp = 0x0806, kIpv6 = 0x86dd;
constexpr std::uint8_t kIcmp6 = 58, kHopLimit = 255;  // RFC 4861, 7.1: anything below was forwarded, and is refused
constexpr std::uint8_t kSolicitation = 135, kAdvertisement = 136, kOverride = 0x20, kTargetLinkLayer = 2;

void put(Frame& frame, std::initializer_list<std::uint8_t> bytes) {
  frame.insert(frame.end(), bytes);
}
void put16(Frame& frame, unsigned value) {
  put(frame, {static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)});
}
void put_mac(Frame& frame, const Mac& mac) {
  frame.insert(frame.end(), mac.bytes.begin(), mac.bytes.end());
}
void put_ip(Frame& frame, const Address& address) {
  frame.insert(frame.end(), address.bytes.begin() + (address.family() == Family::ipv4 ? 12 : 0), address.bytes.end());
}

Frame ethernet(const Mac& to, const Mac& from, std::uint16_t vlan, std::uint16_t type) {
  Frame frame;
  put_mac(frame, to);
  put_mac(frame, from);
  if (vlan != 0) {
    put16(frame, kVlan);
    put16(frame, vlan);
  }
  put16(frame, type);
  return frame;
}

// RFC 826: hardware and protocol space, their lengths, operation, then sender and target.
Frame arp(Frame frame, unsigned operation, const Mac& mac, const Address& sender, const Mac& target_mac,
          const Address& target) {
  put16(frame, 1);
  put16(frame, 0x0800);
  put(frame, {6, 4});
  put16(frame, operation);
  put_mac(frame, mac);
  put_ip(frame, sender);
  put_mac(frame, target_mac);
  put_ip(frame, target);
  return frame;
}

// RFC 1071 over the pseudo header of RFC 8200, 8.1 and the message.
unsigned icmp6_checksum(const Address& source, const Address& destination, const Frame& message) {
  Frame summed;
  put_ip(summed, source);
  put_ip(summed, destination);
  put16(summed, 0);
  put16(summed, static_cast<unsigned>(message.size()));
  put(summed, {0, 0, 0, kIcmp6});
  summed.insert(summed.end(), message.begin(), message.end());
  unsigned sum = 0;
  for (std::size_t at = 0; at + 1 < summed.size(); at += 2)
    sum += static_cast<unsigned>(summed[at] << 8 | summed[at + 1]);
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

// A neighbour discovery message (RFC 4861, 4.3 and 4.4) behind its IPv6 header.
Frame neighbour_discovery(Frame frame, const Address& source, const Address& destination, std::uint8_t type,
                          std::uint8_t flags, const Address& target, const Mac* option) {
  Frame message;
  put(message, {type, 0, 0, 0, flags, 0, 0, 0});
  put_ip(message, target);
  if (option != nullptr) {
    put(message, {kTargetLinkLayer, 1});
    put_mac(message, *option);
  }
  const unsigned checksum = icmp6_checksum(source, destination, message);
  message[2] = static_cast<std::uint8_t>(checksum >> 8);
  message[3] = static_cast<std::uint8_t>(checksum);
  put(frame, {0x60, 0, 0, 0});
  put16(frame, static_cast<unsigned>(message.size()));
  put(frame, {kIcmp6, kHopLimit});
  put_ip(frame, source);
  put_ip(frame, destination);
  frame.insert(frame.end(), message.begin(), message.end());
  return frame;
}

Address all_nodes() {
  Address address;
  address.bytes = {0xff, 0x02};
  address.bytes[15] = 1;
  return address;
}

}  // namespace

Mac multicast_mac(const Address& group) {
  Mac mac{{0x33, 0x33}};
  std::copy(group.bytes.begin() + 12, group.bytes.end(), mac.bytes.begin() + 2);
  return mac;
}

std::vector<Frame> announcement(const Address& vip, const Mac& mac, std::uint16_t vlan,
                                const std::optional<Mac>& to) {
  if (vip.family() == Family::ipv6) {
    Frame frame = ethernet(to.value_or(kAllNodesMac), mac, vlan, kIpv6);
    return {neighbour_discovery(std::move(frame), vip, all_nodes(), kAdvertisement, kOverride, vip, &mac)};
  }
  const Frame frame = ethernet(to.value_or(kBroadcast), mac, vlan, kArp);
  // Target hardware = sender hardware in the reply: Linux takes it for gratuitous and ignores its locktime.
  return {arp(frame, 1, mac, vip, Mac{}, vip), arp(frame, 2, mac, vip, mac, vip)};
}

Frame probe(const Address& vip, const Mac& mac, std::uint16_t vlan) {
  if (vip.family() == Family::ipv4) {
    return arp(ethernet(kBroadcast, mac, vlan, kArp), 1, mac, Address::from_ipv4({0, 0, 0, 0}), Mac{}, vip);
  }
  const Address group = solicited_node_group(vip);
  return neighbour_discovery(ethernet(multicast_mac(group), mac, vlan, kIpv6), Address{}, group, kSolicitation, 0, vip, nullptr);
}

std::optional<std::chrono::milliseconds> next_announcement(std::chrono::milliseconds since_taken) {
  using std::chrono::milliseconds;
  constexpr milliseconds often{1100}, often_until{5000}, seldom{60000};
  for (const milliseconds at : {milliseconds(0), milliseconds(50), milliseconds(200)}) {
    if (since_taken < at) return at;
  }
  milliseconds at{200};
  while (at + often <= often_until) {
    at += often;
    if (since_taken < at) return at;
  }
  return at + seldom * ((since_taken - at) / seldom + 1);
}

}  // namespace xlb
