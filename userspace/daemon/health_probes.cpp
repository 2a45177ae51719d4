// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/health_probes.hpp"

#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace xlb {

namespace {

int connect_to(const Address& address, std::uint16_t port) {
  const bool four = address.family() == Family::ipv4;
  const int fd = socket(four ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return -1;
  // Closed by a RST: thousands of questions an hour would leave as many sockets in TIME_WAIT.
  const linger at_once{1, 0};
  (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  sockaddr_in to4{};
  sockaddr_in6 to6{};
  to4.sin_family = AF_INET;
  to4.sin_port = htons(port);
  std::memcpy(&to4.sin_addr, address.bytes.data() + 12, 4);
  to6.sin6_family = AF_INET6;
  to6.sin6_port = htons(port);
  std::memcpy(&to6.sin6_addr, address.bytes.data(), 16);
  const auto* to = four ? reinterpret_cast<const sockaddr*>(&to4) : reinterpret_cast<const sockaddr*>(&to6);
  if (connect(fd, to, four ? sizeof to4 : sizeof to6) == 0 || errno == EINPROGRESS) return fd;
  const int problem = errno;
  close(fd);
  errno = problem;
  return -1;
}

std::string said(int number) {
  switch (number) {
    case ECONNREFUSED: return "connection refused";
    case EHOSTUNREACH: return "no route to it";
    case ENETUNREACH: return "network unreachable";
    default: return std::strerror(number);
  }
}

}  // namespace

HealthProbes::~HealthProbes() {
  loop_.cancel(timer_);
  for (auto& [target, entry] : targets_) hang_up(entry);
}

void HealthProbes::follow(const std::set<HealthTarget>& targets, const std::map<HealthTarget, std::string>& known) {
  for (auto entry = targets_.begin(); entry != targets_.end();) {
    if (targets.contains(entry->first)) {
      ++entry;
      continue;
    }
    hang_up(entry->second);
    entry = targets_.erase(entry);
  }
  for (const HealthTarget& target : targets) {
    if (targets_.contains(target)) continue;
    Target fresh;
    if (const auto was = known.find(target); was != known.end()) {
      fresh.state.standing = HealthState::Standing::ill;
      fresh.state.reason = was->second;
    }
    fresh.next = Clock::now();  // a new backend is asked at once
    targets_.emplace(target, std::move(fresh));
  }
  arm();
}

std::map<HealthTarget, std::string> HealthProbes::ill() const {
  std::map<HealthTarget, std::string> ill;
  for (const auto& [target, entry] : targets_)
    if (entry.state.standing == HealthState::Standing::ill) ill[target] = entry.state.reason;
  return ill;
}

void HealthProbes::arm() {
  loop_.cancel(timer_);
  std::optional<Clock::time_point> earliest;
  for (const auto& [target, entry] : targets_) {
    if (entry.fd < 0 && sockets_ >= kSockets) continue;  // its turn comes when a socket is free
    if (!earliest || entry.next < *earliest) earliest = entry.next;
  }
  if (earliest) timer_ = loop_.at(*earliest, [this] { turn(); });
}

void HealthProbes::turn() {
  const auto now = Clock::now();
  std::vector<std::pair<Clock::time_point, HealthTarget>> due;
  for (const auto& [target, entry] : targets_)
    if (entry.next <= now) due.emplace_back(entry.next, target);
  std::sort(due.begin(), due.end());  // who waits for longest comes first
  for (const auto& [since, target] : due) {
    const auto found = targets_.find(target);  // a change that was told may have taken it away
    if (found == targets_.end()) continue;
    if (found->second.fd >= 0)
      settle(target, found->second, "no answer within " + std::to_string(pace_.timeout.count()) + " ms");
    else if (sockets_ < kSockets)
      ask(target, found->second);
  }
  arm();
}

void HealthProbes::ask(const HealthTarget& target, Target& entry) {
  entry.asked_at = Clock::now();
  entry.fd = connect_to(target.address, target.port);
  if (entry.fd < 0) return settle(target, entry, said(errno));
  ++sockets_;
  entry.connected = false;
  entry.answer.clear();
  entry.to_send = target.check.kind == HealthCheck::Kind::http ? http_request(target) : "";
  entry.next = entry.asked_at + pace_.timeout;
  auto watched = loop_.watch(entry.fd, EPOLLOUT, [this, target](std::uint32_t) { serve(target); });
  if (!watched) settle(target, entry, watched.error().text);
}

void HealthProbes::serve(const HealthTarget& target) {
  const auto found = targets_.find(target);
  if (found == targets_.end() || found->second.fd < 0) return;
  Target& entry = found->second;
  std::optional<std::string> problem;
  const bool complete = entry.connected ? heard(target, entry, problem) : connected(entry, problem);
  if (complete) {
    settle(target, entry, problem);
    return arm();
  }
  auto watched = loop_.watch(entry.fd, EPOLLIN, [this, target](std::uint32_t) { serve(target); });
  if (watched) return;
  settle(target, entry, watched.error().text);
  arm();
}

bool HealthProbes::connected(Target& entry, std::optional<std::string>& problem) {
  int number = 0;
  socklen_t length = sizeof number;
  if (getsockopt(entry.fd, SOL_SOCKET, SO_ERROR, &number, &length) != 0) number = errno;
  if (number != 0) {
    problem = said(number);
    return true;
  }
  entry.connected = true;
  if (entry.to_send.empty()) return true;  // TCP: that was it
  // A fresh socket takes a few hundred bytes at once; if not, something is wrong enough.
  const ssize_t sent = send(entry.fd, entry.to_send.data(), entry.to_send.size(), MSG_NOSIGNAL);
  if (sent == static_cast<ssize_t>(entry.to_send.size())) return false;
  problem = sent < 0 ? said(errno) : "takes no request";
  return true;
}

bool HealthProbes::heard(const HealthTarget& target, Target& entry, std::optional<std::string>& problem) {
  std::array<char, kAnswerBytes> buffer;
  const ssize_t length = recv(entry.fd, buffer.data(), buffer.size(), 0);
  if (length < 0 && (errno == EAGAIN || errno == EINTR)) return false;
  if (length < 0) {
    problem = said(errno);
    return true;
  }
  entry.answer.append(buffer.data(), static_cast<std::size_t>(length));
  const bool line = entry.answer.find('\n') != std::string::npos;
  if (!line && length > 0 && entry.answer.size() < kAnswerBytes) return false;
  const auto status = http_status(entry.answer);
  if (status)
    problem = status_problem(target.check, *status);
  else
    problem = entry.answer.empty() ? "closed without an answer" : "answered something else than HTTP";
  return true;
}

void HealthProbes::settle(const HealthTarget& target, Target& entry, const std::optional<std::string>& problem) {
  hang_up(entry);
  const auto before = entry.state.standing;
  const bool told = before != HealthState::Standing::unknown || problem;
  entry.state = after(std::move(entry.state), problem ? std::optional(target.text() + ": " + *problem) : problem, pace_);
  // Late or not: the rhythm goes by when it was asked, and never asks twice at once.
  entry.next = std::max(entry.asked_at + until_next(pace_, static_cast<std::uint32_t>(random_())), Clock::now());
  // That an unknown one is well changes nothing.
  if (told && entry.state.standing != before) changed_(target, entry.state);
}

void HealthProbes::hang_up(Target& entry) {
  if (entry.fd < 0) return;
  loop_.forget(entry.fd);
  close(entry.fd);
  entry.fd = -1;
  --sockets_;
}

}  // namespace xlb
