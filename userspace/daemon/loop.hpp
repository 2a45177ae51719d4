// SPDX-License-Identifier: Apache-2.0
// One thread, file descriptors and timers. Nothing here blocks but wait().
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>

#include "userspace/core/result.hpp"

namespace xlb {

class Loop {
 public:
  using Clock = std::chrono::steady_clock;
  using Timer = std::uint64_t;

  static Result<Loop> open();
  Loop(Loop&& other) noexcept;
  Loop& operator=(Loop&&) = delete;
  Loop(const Loop&) = delete;
  ~Loop();

  // `events`: EPOLLIN and the like; the callback gets what is ready. Watching a descriptor anew changes its events.
  Result<void> watch(int fd, std::uint32_t events, std::function<void(std::uint32_t)> ready);
  void forget(int fd);

  Timer at(Clock::time_point when, std::function<void()> action);
  void cancel(Timer timer);

  // Waits for one batch of events, at most until `latest`, and serves it and the timers that are due.
  Result<void> turn(Clock::time_point latest);
  // Until stop().
  Result<void> run();
  void stop() { stopped_ = true; }

 private:
  explicit Loop(int epoll) : epoll_(epoll) {}
  struct Due {
    Clock::time_point when;
    std::function<void()> action;
  };
  int epoll_;
  bool stopped_ = false;
  Timer next_timer_ = 1;
  std::map<int, std::function<void(std::uint32_t)>> ready_;
  std::map<Timer, Due> timers_;  // few: the earliest is looked for
};

}  // namespace xlb
