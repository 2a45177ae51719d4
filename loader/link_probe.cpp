// SPDX-License-Identifier: Apache-2.0
// Asked and heard on the L3 interface: a VLAN device tags and untags by itself.
#include "loader/link_probe.hpp"

#include <linux/filter.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace xlb {
namespace {

constexpr std::uint16_t kArp = 0x0806, kIpv6 = 0x86dd;
constexpr Mac kAllNodesMac{{0x33, 0x33, 0, 0, 0, 1}};
constexpr std::size_t kEthernet = 14, kIcmp6At = kEthernet + 40;

// Who asks the same in so many rounds, one after the other, does not give way, and has it.
constexpr int kPatience = 3;
// After so many rounds whoever still asks has it: forged questions must not keep us asking.
constexpr int kRounds = 8;

struct Claim {
  Address address;
  Mac mac;
  bool asks = false;  // whether it is free, as we do: it is not had yet
};

Address ipv4_at(const Frame& frame, std::size_t at) {
  return Address::from_ipv4({frame[at], frame[at + 1], frame[at + 2], frame[at + 3]});
}
Address ipv6_at(const Frame& frame, std::size_t at) {
  Address address;
  std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(at), 16, address.bytes.begin());
  return address;
}
Mac mac_at(const Frame& frame, std::size_t at) {
  Mac mac;
  std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(at), 6, mac.bytes.begin());
  return mac;
}

std::optional<Claim> arp_claim(const Frame& frame) {
  if (frame.size() < kEthernet + 28) return std::nullopt;
  const Mac sender_mac = mac_at(frame, kEthernet + 8);
  const Address sender = ipv4_at(frame, kEthernet + 14);
  const bool request = frame[kEthernet + 7] == 1;
  if (!sender.unspecified()) return Claim{sender, sender_mac};
  if (request) return Claim{ipv4_at(frame, kEthernet + 24), sender_mac, true};
  return std::nullopt;
}

std::optional<Claim> nd_claim(const Frame& frame) {
  constexpr std::uint8_t icmp6 = 58, solicitation = 135, advertisement = 136;
  if (frame.size() < kIcmp6At + 24 || frame[kEthernet + 6] != icmp6 || frame[kEthernet + 7] != 255)
    return std::nullopt;
  const std::uint8_t type = frame[kIcmp6At];
  const Address target = ipv6_at(frame, kIcmp6At + 8);
  if (type == solicitation && ipv6_at(frame, kEthernet + 8).unspecified()) return Claim{target, mac_at(frame, 6), true};
  if (type != advertisement) return std::nullopt;
  const bool has_option = frame.size() >= kIcmp6At + 32 && frame[kIcmp6At + 24] == 2 && frame[kIcmp6At + 25] == 1;
  return Claim{target, has_option ? mac_at(frame, kIcmp6At + 26) : mac_at(frame, 6)};
}

// Passes neighbour solicitations and advertisements only: a busy LAN would push the answer out of the queue.
Result<void> only_neighbour_discovery(const PacketSocket& socket) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kEthernet + 6),  // next header
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 58, 0, 3),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kIcmp6At),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 135, 0, 1),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 136, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
  };
  const sock_fprog program{sizeof code / sizeof code[0], code};
  if (setsockopt(socket.fd(), SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0) {
    return system_error("filter neighbour discovery");
  }
  return {};
}

}  // namespace

Result<LinkProbe> LinkProbe::open(const Link& link, const std::vector<Address>& addresses, const std::set<Mac>& own,
                                  Pace pace) {
  LinkProbe made(link, addresses, own, pace);
  for (const Address& address : addresses) {
    const Family family = address.family();
    if (made.socket_of_.contains(family)) continue;
    auto socket = PacketSocket::open(link.l3_ifindex, link.l3_name, family == Family::ipv4 ? kArp : kIpv6);
    if (!socket) return socket.error();
    if (family == Family::ipv6) {
      if (auto filtered = only_neighbour_discovery(*socket); !filtered) return filtered.error().in(link.l3_name);
      if (auto joined = socket->join(kAllNodesMac); !joined) return joined.error();
    }
    made.socket_of_[family] = made.sockets_.size();
    made.sockets_.push_back(std::move(*socket));
  }
  // Others who ask do so there, and a NIC passes only what is joined.
  for (const Address& address : addresses) {
    if (address.family() != Family::ipv6) continue;
    PacketSocket& socket = made.sockets_[made.socket_of_[Family::ipv6]];
    if (auto joined = socket.join(multicast_mac(solicited_node_group(address))); !joined) return joined.error();
  }
  return made;
}

Result<LinkProbe::Time> LinkProbe::step(Time now) {
  if (asked_ == 0) next_ = now;
  if (now < next_) return next_;
  if (asked_ > pace_.count) {
    if (rivals_.empty()) return next_;
    end_round();
    if (asked_for_.empty()) return next_;
    asked_ = 0;
    next_ = now;
  }
  if (asked_ < pace_.count) {
    for (const Address& address : asked_for_) {
      if (holders_.contains(address)) continue;
      auto sent = sockets_[socket_of_[address.family()]].send(probe(address, mac_, 0));
      if (!sent) return sent.error().in("ask whether " + address.text() + " is free");
    }
  }
  // After the last question one more interval of silence.
  next_ += pace_.interval;
  ++asked_;
  return next_;
}

// Only what somebody else asked for, too, is asked for again.
void LinkProbe::end_round() {
  ++rounds_;
  asked_for_.clear();
  std::map<Address, Rival> still;
  for (const auto& [address, mac] : rivals_) {
    const auto before = persistent_.find(address);
    const int asked = before != persistent_.end() && before->second.mac == mac ? before->second.rounds + 1 : 1;
    if (asked == kPatience || rounds_ >= kRounds) {
      holders_.emplace(address, mac);
    } else {
      still.emplace(address, Rival{mac, asked});
      asked_for_.insert(address);
    }
  }
  persistent_ = std::move(still);
  rivals_.clear();
}

void LinkProbe::listen() {
  constexpr int at_once = 256;  // a flood must not keep the caller: what is left wakes it again
  for (PacketSocket& socket : sockets_) {
    for (int i = 0; i < at_once; ++i) {
      const auto frame = socket.receive();
      if (!frame) break;
      if (frame->size() < kEthernet) continue;
      const bool arp = (*frame)[12] == kArp >> 8;
      const auto claim = arp ? arp_claim(*frame) : nd_claim(*frame);
      if (!claim || claim->mac == mac_ || own_.contains(claim->mac) || !addresses_.contains(claim->address)) continue;
      if (holders_.contains(claim->address)) continue;
      if (claim->asks && mac_ < claim->mac) {
        rivals_.emplace(claim->address, claim->mac);
      } else {
        holders_.emplace(claim->address, claim->mac);
        rivals_.erase(claim->address);
      }
    }
  }
}

bool LinkProbe::over(Time now) const {
  return holders_.size() == addresses_.size() || (asked_ > pace_.count && now >= next_ && rivals_.empty());
}

std::vector<int> LinkProbe::descriptors() const {
  std::vector<int> all;
  for (const PacketSocket& socket : sockets_) all.push_back(socket.fd());
  return all;
}

Result<std::vector<ProbeAnswer>> probe_addresses(const Link& link, const std::vector<Address>& addresses,
                                                 const std::set<Mac>& own, LinkProbe::Pace pace) {
  auto probing = LinkProbe::open(link, addresses, own, pace);
  if (!probing) return probing.error();
  for (;;) {
    auto next = probing->step(std::chrono::steady_clock::now());
    if (!next) return next.error();
    probing->listen();
    const auto now = std::chrono::steady_clock::now();
    if (probing->over(now)) break;
    std::vector<pollfd> waits;
    for (const int fd : probing->descriptors()) waits.push_back({fd, POLLIN, 0});
    const auto left = std::max(std::chrono::ceil<std::chrono::milliseconds>(*next - now), std::chrono::milliseconds(0));
    (void)poll(waits.data(), waits.size(), static_cast<int>(left.count()));
  }
  std::vector<ProbeAnswer> answers;
  for (const auto& [address, mac] : probing->holders()) answers.push_back({address, mac});
  return answers;
}

}  // namespace xlb
