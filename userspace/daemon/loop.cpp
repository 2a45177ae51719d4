// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/loop.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace xlb {

Result<Loop> Loop::open() {
  const int fd = epoll_create1(EPOLL_CLOEXEC);
  if (fd < 0) return Error{std::string("epoll: ") + std::strerror(errno)};
  return Loop(fd);
}

Loop::Loop(Loop&& other) noexcept
    : epoll_(std::exchange(other.epoll_, -1)),
      stopped_(other.stopped_),
      next_timer_(other.next_timer_),
      ready_(std::move(other.ready_)),
      timers_(std::move(other.timers_)) {}

Loop::~Loop() {
  if (epoll_ >= 0) close(epoll_);
}

Result<void> Loop::watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> ready) {
  epoll_event event{};
  event.events = events;
  event.data.fd = fd;
  const int operation = ready_.contains(fd) ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (epoll_ctl(epoll_, operation, fd, &event) != 0)
    return Error{"epoll: descriptor " + std::to_string(fd) + ": " + std::strerror(errno)};
  ready_[fd] = std::move(ready);
  return {};
}

void Loop::forget(int fd) {
  if (ready_.erase(fd) != 0) epoll_ctl(epoll_, EPOLL_CTL_DEL, fd, nullptr);
}

Loop::Timer Loop::at(Clock::time_point when, std::function<void()> action) {
  timers_.emplace(next_timer_, Due{when, std::move(action)});
  return next_timer_++;
}

void Loop::cancel(Timer timer) { timers_.erase(timer); }

Result<void> Loop::turn(Clock::time_point latest) {
  for (const auto& [timer, due] : timers_) latest = std::min(latest, due.when);
  // In nanoseconds (Linux 5.11): echoes go out every few milliseconds, and a millisecond rounded up is felt there.
  const auto left = std::clamp<std::chrono::nanoseconds>(latest - Clock::now(), std::chrono::nanoseconds(0), std::chrono::hours(1));
  const timespec wait{left / std::chrono::seconds(1), (left % std::chrono::seconds(1)).count()};
  std::array<epoll_event, 32> events{};
  const int count = epoll_pwait2(epoll_, events.data(), static_cast<int>(events.size()), &wait, nullptr);
  if (count < 0 && errno != EINTR) return Error{std::string("epoll: ") + std::strerror(errno)};
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = events[static_cast<std::size_t>(i)];
    const auto found = ready_.find(event.data.fd);  // an earlier callback of this batch may have closed it
    if (found == ready_.end()) continue;
    const auto ready = found->second;
    ready(event.events);
  }
  const auto now = Clock::now();
  // In the order of their times, also when a stall made several due at once.
  std::vector<std::pair<Clock::time_point, Timer>> due;
  for (const auto& [timer, entry] : timers_)
    if (entry.when <= now) due.emplace_back(entry.when, timer);
  std::sort(due.begin(), due.end());
  for (const auto& [when, timer] : due) {
    auto node = timers_.extract(timer);
    if (!node.empty()) node.mapped().action();
  }
  return {};
}

Result<void> Loop::run() {
  stopped_ = false;
  while (!stopped_) {
    if (auto turned = turn(Clock::now() + std::chrono::hours(1)); !turned) return turned;
  }
  return {};
}

}  // namespace xlb
