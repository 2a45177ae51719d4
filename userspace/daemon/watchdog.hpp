// SPDX-License-Identifier: Apache-2.0
// Tells the service manager from the loop that the loop still turns. What hangs is silent, and is restarted.
#pragma once

#include "userspace/daemon/log.hpp"
#include "userspace/daemon/loop.hpp"

namespace xlb {

class Watchdog {
 public:
  Watchdog(Loop& loop, const Log& log) : loop_(loop), log_(log) {}
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog() { loop_.cancel(timer_); }

  // Three times within the manager's patience; without a watchdog nothing happens.
  void start();

 private:
  Loop& loop_;
  const Log& log_;
  Loop::Timer timer_ = 0;
};

}  // namespace xlb
