// SPDX-License-Identifier: Apache-2.0
// Every request has a sender MAC of its own (of 4,096), which comes back as the target of its answer: an answer belongs
// to one request and is never taken for a second answer to the next. The sender's address is the host's, not 0.0.0.0: that
// would be a probe (RFC 5227, 2.1.1), which tells a node that is about to use the address to leave it alone.
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <vector>

#include "tests/lab/probe/loop.hpp"
#include "tests/lab/probe/verbs.hpp"

namespace xlb::probe {

namespace {

constexpr std::uint64_t kTick = 1, kFrame = 2;
constexpr std::uint64_t kSenders = 4096;
constexpr std::int64_t kPatience = 300 * kMs;  // an answer that takes longer is none
constexpr std::size_t kKept = 500;

using Mac = std::array<std::uint8_t, ETH_ALEN>;

// RFC 826, on Ethernet, for IPv4.
struct __attribute__((packed)) Arp {
  Mac destination, source;
  std::uint16_t ethertype, hardware, protocol;
  std::uint8_t hardware_bytes, protocol_bytes;
  std::uint16_t operation;
  Mac sender_mac;
  std::uint32_t sender;
  Mac target_mac;
  std::uint32_t target;
};
static_assert(sizeof(Arp) == 42);

std::string text_of(const Mac& mac) {
  std::array<char, 18> text{};
  std::snprintf(text.data(), text.size(), "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
  return text.data();
}

struct Request {
  std::int64_t at = 0;
  std::vector<Mac> answers;  // each MAC once
};

// A time in which every request had the same fate.
struct Run {
  std::int64_t from = 0, to = 0;  // of its first and its last request
  std::vector<Mac> macs;
};

class Asker {
 public:
  explicit Asker(const Asked& options);
  nlohmann::json run();

 private:
  void ask();
  void hear();
  void judge(std::int64_t at);
  nlohmann::json report() const;

  const Asked& options_;
  const std::uint32_t about_, sender_;
  Descriptor socket_;
  sockaddr_ll link_{};
  std::deque<Request> requests_;
  std::uint64_t first_ = 0;  // the number of requests_.front()
  std::vector<Run> runs_;
  std::uint64_t asked_ = 0;
  std::int64_t began_ = 0;
};

Mac sender_of(std::uint64_t number) {
  const std::uint64_t tail = number % kSenders;
  return {0x06, 0, 0, 0, static_cast<std::uint8_t>(tail >> 8), static_cast<std::uint8_t>(tail)};
}

Asker::Asker(const Asked& options)
    : options_(options), about_(address_of(options.about, 0).sin_addr.s_addr), sender_(address_of(options.sender, 0).sin_addr.s_addr) {
  socket_ = Descriptor(socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ARP)));
  if (socket_.get() < 0) fail_errno("packet socket");
  link_.sll_family = AF_PACKET;
  link_.sll_protocol = htons(ETH_P_ARP);
  link_.sll_ifindex = static_cast<int>(if_nametoindex(options.interface.c_str()));
  if (link_.sll_ifindex == 0) fail_errno(options.interface);
  if (bind(socket_.get(), reinterpret_cast<const sockaddr*>(&link_), sizeof link_) != 0) fail_errno("bind");
  // Answers go to MACs that this interface does not have.
  packet_mreq all{};
  all.mr_ifindex = link_.sll_ifindex;
  all.mr_type = PACKET_MR_PROMISC;
  if (setsockopt(socket_.get(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0) fail_errno("promiscuous");
}

void Asker::ask() {
  const Mac own = sender_of(first_ + requests_.size());
  Arp frame{};
  frame.destination.fill(0xff);
  frame.source = frame.sender_mac = own;
  frame.ethertype = htons(ETH_P_ARP);
  frame.hardware = htons(1);
  frame.protocol = htons(ETH_P_IP);
  frame.hardware_bytes = ETH_ALEN;
  frame.protocol_bytes = 4;
  frame.operation = htons(1);
  frame.sender = sender_;
  frame.target = about_;
  requests_.push_back({.at = now(), .answers = {}});
  // A link that is down swallows the request; it then counts as one that nobody answered.
  if (send(socket_.get(), &frame, sizeof frame, 0) == sizeof frame) ++asked_;
}

void Asker::hear() {
  Arp frame{};
  while (recv(socket_.get(), &frame, sizeof frame, 0) >= static_cast<ssize_t>(sizeof frame)) {
    if (frame.operation != htons(2) || frame.sender != about_ || frame.target_mac[0] != 0x06) continue;
    const std::uint64_t tail = static_cast<std::uint64_t>(frame.target_mac[4]) << 8 | frame.target_mac[5];
    for (std::size_t index = 0; index < requests_.size(); ++index) {
      if ((first_ + index) % kSenders != tail) continue;
      auto& answers = requests_[index].answers;
      if (std::ranges::find(answers, frame.sender_mac) == answers.end()) answers.push_back(frame.sender_mac);
      break;
    }
  }
}

void Asker::judge(std::int64_t at) {
  while (!requests_.empty() && at - requests_.front().at >= kPatience) {
    Request& request = requests_.front();
    std::ranges::sort(request.answers);
    if (runs_.empty() || runs_.back().macs != request.answers) {
      if (runs_.size() == kKept) fail("the answers change all the time");
      runs_.push_back({.from = request.at, .to = request.at, .macs = request.answers});
    }
    runs_.back().to = request.at;
    requests_.pop_front();
    ++first_;
  }
}

nlohmann::json Asker::run() {
  const Descriptor epoll = make_epoll(), tick = make_tick(options_.every_ms * kMs);
  watch(epoll, tick.get(), EPOLLIN, kTick);
  watch(epoll, socket_.get(), EPOLLIN, kFrame);
  began_ = now();
  const std::int64_t until = began_ + static_cast<std::int64_t>(options_.seconds * 1e9);
  bool asking = true;
  while (asking || !requests_.empty()) {
    if (asking && (ended() || now() >= until)) asking = false;
    std::array<epoll_event, 4> events{};
    epoll_wait(epoll.get(), events.data(), static_cast<int>(events.size()), 100);
    hear();
    judge(now());
    if (ticks(tick) > 0 && asking) ask();
  }
  return report();
}

nlohmann::json Asker::report() const {
  nlohmann::json runs = nlohmann::json::array();
  for (const Run& run : runs_) {
    nlohmann::json macs = nlohmann::json::array();
    for (const Mac& mac : run.macs) macs.push_back(text_of(mac));
    runs.push_back({{"from", seconds(run.from)}, {"to", seconds(run.to)}, {"macs", std::move(macs)}});
  }
  return {{"began", seconds(began_)}, {"asked", asked_}, {"every_ms", options_.every_ms}, {"runs", std::move(runs)}};
}

}  // namespace

nlohmann::json run(const Asked& options) { return Asker(options).run(); }

}  // namespace xlb::probe
