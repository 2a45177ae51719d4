// SPDX-License-Identifier: Apache-2.0
// Each connection first hears the name of its server (a line), then sends one byte every so often and waits for it to
// come back before it sends the next. What a connection can suffer: it is *broken* (reset, closed, or silent to the
// end), or it is merely *late*, because TCP repaired what was lost.
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <vector>

#include "tests/lab/probe/loop.hpp"
#include "tests/lab/probe/verbs.hpp"

namespace xlb::probe {

namespace {

constexpr std::uint64_t kTick = ~0ULL;
constexpr std::int64_t kTickNs = 5 * kMs;
constexpr std::int64_t kPatienceToOpen = 15'000 * kMs;

struct Connection {
  Descriptor socket;
  std::string server;      // known when `greeted`
  bool greeted = false;
  std::int64_t due = 0;    // when to send next
  std::int64_t sent = 0;   // when the byte that is under way was sent; 0: none is
  std::string broken;
};

class Holder {
 public:
  explicit Holder(const Held& options) : options_(options), connections_(options.connections) {}
  nlohmann::json run();

 private:
  void open();
  void hear(Connection& one);
  void speak(std::int64_t at);
  void break_off(Connection& one, const std::string& reason);
  [[nodiscard]] bool waiting() const;
  nlohmann::json report() const;

  const Held& options_;
  Descriptor epoll_ = make_epoll();
  std::vector<Connection> connections_;
  std::uint64_t exchanges_ = 0;
  std::int64_t latest_ = 0, began_ = 0;
};

void Holder::open() {
  const sockaddr_in to = address_of(options_.to, options_.port);
  for (std::size_t index = 0; index < connections_.size(); ++index) {
    Connection& one = connections_[index];
    one.socket = Descriptor(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    const int fd = one.socket.get(), on = 1;
    if (fd < 0) fail_errno("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 && errno != EINPROGRESS) fail_errno("connect");
    watch(epoll_, fd, EPOLLIN | EPOLLRDHUP, index);
  }
}

void Holder::break_off(Connection& one, const std::string& reason) {
  one.broken = reason;
  one.socket = Descriptor();
}

void Holder::hear(Connection& one) {
  if (!one.broken.empty()) return;
  std::array<char, 256> data{};
  const ssize_t size = recv(one.socket.get(), data.data(), data.size(), 0);
  if (size < 0 && errno == EAGAIN) return;
  if (size <= 0) {
    break_off(one, size == 0 ? "closed by the server" : std::strerror(errno));
    return;
  }
  const std::int64_t at = now();
  if (!one.greeted) {
    one.server.append(data.data(), static_cast<std::size_t>(size));
    if (one.server.back() != '\n') return;
    one.server.pop_back();
    one.greeted = true;
    one.due = at;
    return;
  }
  if (one.sent == 0) {
    break_off(one, "a byte that nobody asked for");
    return;
  }
  ++exchanges_;
  latest_ = std::max(latest_, at - one.sent);
  one.sent = 0;
}

void Holder::speak(std::int64_t at) {
  for (Connection& one : connections_) {
    if (!one.broken.empty() || !one.greeted || one.sent != 0 || at < one.due) continue;
    if (send(one.socket.get(), ".", 1, MSG_NOSIGNAL) != 1) {
      break_off(one, std::strerror(errno));
      continue;
    }
    one.sent = at;
    one.due = at + options_.every_ms * kMs;
  }
}

bool Holder::waiting() const {
  for (const Connection& one : connections_)
    if (one.broken.empty() && (one.sent != 0 || !one.greeted)) return true;
  return false;
}

nlohmann::json Holder::run() {
  const Descriptor tick = make_tick(kTickNs);
  watch(epoll_, tick.get(), EPOLLIN, kTick);
  began_ = now();
  open();
  bool said_open = false;
  const std::int64_t until = began_ + static_cast<std::int64_t>(options_.seconds * 1e9);
  std::int64_t last_patience = 0;
  std::vector<epoll_event> events(256);
  while (true) {
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 100);
    for (int index = 0; index < count; ++index)
      if (const std::uint64_t which = events[static_cast<std::size_t>(index)].data.u64; which != kTick)
        hear(connections_[which]);
    const std::int64_t at = now();
    ticks(tick);
    if (!said_open) {
      std::size_t greeted = 0;
      for (const Connection& one : connections_) greeted += one.greeted ? 1 : 0;
      if (greeted == connections_.size()) {
        // Whoever started this waits for the line before doing any harm.
        std::fputs("open\n", stderr);
        said_open = true;
      } else if (at - began_ > kPatienceToOpen) {
        fail(std::to_string(greeted) + " of " + std::to_string(connections_.size()) + " connections were opened");
      }
    }
    if (last_patience == 0 && (ended() || at >= until)) last_patience = at + options_.grace_ms * kMs;
    if (last_patience == 0) {
      speak(at);
    } else if (!waiting() || at >= last_patience) {
      break;
    }
  }
  for (Connection& one : connections_)
    if (one.broken.empty() && (one.sent != 0 || !one.greeted)) one.broken = "silent";
  return report();
}

nlohmann::json Holder::report() const {
  std::uint64_t broken = 0;
  std::map<std::string, std::uint64_t> reasons;
  std::map<std::string, std::map<std::string, std::uint64_t>> servers;
  for (const Connection& one : connections_) {
    auto& server = servers[one.server];
    ++server["opened"];
    server["broken"] += one.broken.empty() ? 0 : 1;
    if (one.broken.empty()) continue;
    ++broken;
    ++reasons[one.broken];
  }
  return {{"began", seconds(began_)}, {"opened", connections_.size()}, {"broken", broken},
          {"reasons", reasons},       {"exchanges", exchanges_},       {"latest_ms", milliseconds(latest_)},
          {"servers", servers}};
}

}  // namespace

nlohmann::json run(const Held& options) { return Holder(options).run(); }

}  // namespace xlb::probe
