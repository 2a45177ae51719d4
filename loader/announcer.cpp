// SPDX-License-Identifier: Apache-2.0
#include "loader/announcer.hpp"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace xlb {
namespace {

constexpr Mac kBroadcast{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
constexpr std::size_t kMinimumFrame = 60;  // IEEE 802.3 without FCS; drivers pad, but packet sockets may not

constexpr std::uint8_t kHopLimit = 255;  // RFC 4861, 7.1: nothing that was forwarded is believed
constexpr std::uint8_t kSolicitation = 135;
constexpr std::uint8_t kAdvertisement = 136;
constexpr std::uint8_t kOverride = 0x20;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }

 private:
  int fd_;
};

void put16(Frame& frame, std::uint16_t value) {
  frame.push_back(static_cast<std::uint8_t>(value >> 8));
  frame.push_back(static_cast<std::uint8_t>(value));
}

template <typename Bytes>
void put(Frame& frame, const Bytes& bytes) {
  frame.insert(frame.end(), std::begin(bytes), std::end(bytes));
}

void put_ipv4(Frame& frame, const Address& address) {
  frame.insert(frame.end(), address.bytes.begin() + 12, address.bytes.end());
}

Frame ethernet(const Mac& to, const Mac& from, std::uint16_t vlan, std::uint16_t type) {
  Frame frame;
  frame.reserve(96);
  put(frame, to.bytes);
  put(frame, from.bytes);
  if (vlan != 0) {
    put16(frame, ETH_P_8021Q);
    put16(frame, vlan);
  }
  put16(frame, type);
  return frame;
}

Frame padded(Frame frame) {
  frame.resize(std::max(frame.size(), kMinimumFrame));
  return frame;
}

// `sender` and `target` are protocol addresses.
Frame arp(std::uint16_t operation, const Mac& to, const Mac& mac, std::uint16_t vlan, const Address& sender,
          const Mac& target_mac, const Address& target) {
  Frame frame = ethernet(to, mac, vlan, ETH_P_ARP);
  put16(frame, 1);  // Ethernet
  put16(frame, ETH_P_IP);
  frame.push_back(6);
  frame.push_back(4);
  put16(frame, operation);
  put(frame, mac.bytes);
  put_ipv4(frame, sender);
  put(frame, target_mac.bytes);
  put_ipv4(frame, target);
  return padded(std::move(frame));
}

std::uint16_t icmpv6_checksum(const Address& source, const Address& destination, const Frame& message) {
  std::uint32_t sum = static_cast<std::uint32_t>(message.size()) + IPPROTO_ICMPV6;
  const auto add = [&sum](const auto& bytes) {
    for (std::size_t i = 0; i < bytes.size(); i++) sum += i % 2 == 0 ? std::uint32_t{bytes[i]} << 8 : bytes[i];
  };
  add(source.bytes);
  add(destination.bytes);
  add(message);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

Frame neighbour_message(std::uint8_t type, std::uint8_t flags, const Mac& to, const Mac& mac, std::uint16_t vlan,
                        const Address& source, const Address& destination, const Address& target) {
  Frame message{type, 0, 0, 0, flags, 0, 0, 0};
  put(message, target.bytes);
  if (type == kAdvertisement) {  // the target's link address; a DAD solicitation carries no option (RFC 4861, 4.3)
    message.push_back(2);
    message.push_back(1);
    put(message, mac.bytes);
  }
  const std::uint16_t checksum = icmpv6_checksum(source, destination, message);
  message[2] = static_cast<std::uint8_t>(checksum >> 8);
  message[3] = static_cast<std::uint8_t>(checksum);

  Frame frame = ethernet(to, mac, vlan, ETH_P_IPV6);
  put(frame, std::array<std::uint8_t, 4>{0x60, 0, 0, 0});
  put16(frame, static_cast<std::uint16_t>(message.size()));
  frame.push_back(IPPROTO_ICMPV6);
  frame.push_back(kHopLimit);
  put(frame, source.bytes);
  put(frame, destination.bytes);
  put(frame, message);
  return frame;
}

// 33:33 and the last four bytes of the group (RFC 2464, 7).
Mac group_mac(const Address& group) {
  return Mac{{0x33, 0x33, group.bytes[12], group.bytes[13], group.bytes[14], group.bytes[15]}};
}

Address all_nodes() {
  Address address;
  address.bytes[0] = 0xff;
  address.bytes[1] = 0x02;
  address.bytes[15] = 1;
  return address;
}

std::string why() { return std::strerror(errno); }

Error socket_error(const std::string& interface) {
  const std::string hint = errno == EPERM ? "; run as root, or with CAP_NET_RAW" : "";
  return Error{"cannot open a packet socket on " + interface + ": " + why() + hint};
}

sockaddr_ll link_address(std::uint32_t ifindex, std::uint16_t protocol) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(protocol);
  address.sll_ifindex = static_cast<int>(ifindex);
  return address;
}

Result<void> send_on(int fd, std::uint32_t ifindex, const std::string& interface, const Frame& frame) {
  const sockaddr_ll to = link_address(ifindex, ETH_P_ALL);
  if (sendto(fd, frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) < 0) {
    return Error{"cannot send on " + interface + ": " + why()};
  }
  return {};
}

// Who says that an address is his: sender of an ARP packet, target of an advertisement. `frame` without VLAN tag.
std::optional<ProbeAnswer> claim_in(const std::uint8_t* frame, std::size_t size) {
  if (size < 14) return std::nullopt;
  const int type = frame[12] << 8 | frame[13];
  ProbeAnswer answer;
  if (type == ETH_P_ARP && size >= 14 + 28) {
    std::copy_n(frame + 14 + 8, 6, answer.mac.bytes.begin());
    answer.address = Address::from_ipv4({frame[28], frame[29], frame[30], frame[31]});
    return answer;
  }
  constexpr std::size_t kMessage = 14 + 40;
  if (type == ETH_P_IPV6 && size >= kMessage + 24 && frame[14 + 6] == IPPROTO_ICMPV6 && frame[14 + 7] == kHopLimit &&
      frame[kMessage] == kAdvertisement) {
    std::copy_n(frame + 6, 6, answer.mac.bytes.begin());
    std::copy_n(frame + kMessage + 8, 16, answer.address.bytes.begin());
    return answer;
  }
  return std::nullopt;
}

}  // namespace

std::vector<Frame> announcement(const Address& vip, const Mac& mac, std::uint16_t vlan, const std::optional<Mac>& to) {
  if (vip.family() == Family::ipv4) {
    const Mac destination = to.value_or(kBroadcast);
    // In the reply the target's hardware address is the sender's: Linux then ignores its ARP locktime.
    return {arp(1, destination, mac, vlan, vip, Mac{}, vip), arp(2, destination, mac, vlan, vip, mac, vip)};
  }
  const Address group = all_nodes();
  return {neighbour_message(kAdvertisement, kOverride, to.value_or(group_mac(group)), mac, vlan, vip, group, vip)};
}

Frame probe(const Address& vip, const Mac& mac, std::uint16_t vlan) {
  if (vip.family() == Family::ipv4) {
    return arp(1, kBroadcast, mac, vlan, Address::from_ipv4({0, 0, 0, 0}), Mac{}, vip);
  }
  const Address group = solicited_node_group(vip);
  return neighbour_message(kSolicitation, 0, group_mac(group), mac, vlan, Address{}, group, vip);
}

Result<void> send_frames(std::uint32_t ifindex, const std::string& interface, const std::vector<Frame>& frames) {
  // Protocol 0: this socket only sends, and must not be given a copy of every frame.
  const Descriptor fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return socket_error(interface);
  for (const Frame& frame : frames) {
    if (Result<void> sent = send_on(fd.get(), ifindex, interface, frame); !sent) return sent;
  }
  return {};
}

Result<std::vector<ProbeAnswer>> probe_addresses(const Link& link, const std::vector<Address>& addresses,
                                                 const std::set<Mac>& own, int count,
                                                 std::chrono::milliseconds interval) {
  using Clock = std::chrono::steady_clock;
  std::vector<ProbeAnswer> answers;
  if (addresses.empty()) return answers;
  // Probes leave by the L3 interface, which adds the VLAN tag by itself; answers come back there without it.
  const Descriptor fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd.get() < 0) return socket_error(link.l3_name);
  const sockaddr_ll here = link_address(link.l3_ifindex, ETH_P_ALL);
  packet_mreq membership{};
  membership.mr_ifindex = static_cast<int>(link.l3_ifindex);
  membership.mr_type = PACKET_MR_ALLMULTI;  // advertisements to a DAD prober go to ff02::1, which a NIC may filter
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here) < 0 ||
      setsockopt(fd.get(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership) < 0) {
    return Error{"cannot listen on " + link.l3_name + ": " + why()};
  }

  for (int round = 0; round < count + 1; round++) {
    if (round < count) {
      for (const Address& address : addresses) {
        Result<void> sent = send_on(fd.get(), link.l3_ifindex, link.l3_name, probe(address, link.mac, 0));
        if (!sent) return sent.error();
      }
    }
    const auto until = Clock::now() + interval;
    for (auto now = Clock::now(); now < until; now = Clock::now()) {
      pollfd readable{fd.get(), POLLIN, 0};
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - now).count() + 1;
      if (poll(&readable, 1, static_cast<int>(left)) <= 0) continue;
      std::array<std::uint8_t, 256> frame;
      sockaddr_ll from{};
      socklen_t from_size = sizeof from;
      const ssize_t size = recvfrom(fd.get(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &from_size);
      if (size <= 0 || from.sll_pkttype == PACKET_OUTGOING) continue;
      const auto claim = claim_in(frame.data(), static_cast<std::size_t>(size));
      if (!claim || own.contains(claim->mac)) continue;
      if (std::find(addresses.begin(), addresses.end(), claim->address) == addresses.end()) continue;
      const auto same = [&](const ProbeAnswer& known) {
        return known.address == claim->address && known.mac == claim->mac;
      };
      if (std::none_of(answers.begin(), answers.end(), same)) answers.push_back(*claim);
    }
  }
  return answers;
}

std::optional<std::chrono::milliseconds> next_announcement(std::chrono::milliseconds since_taken) {
  using std::chrono::milliseconds;
  constexpr std::array kEarly{milliseconds(0),    milliseconds(50),   milliseconds(200), milliseconds(1300),
                              milliseconds(2400), milliseconds(3500), milliseconds(4600)};
  constexpr milliseconds kRefresh = std::chrono::minutes(1);  // switch tables age at 300 s
  for (const milliseconds at : kEarly) {
    if (at > since_taken) return at;
  }
  return (since_taken / kRefresh + 1) * kRefresh;
}

}  // namespace xlb
