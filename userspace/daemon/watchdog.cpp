// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/watchdog.hpp"

#include "userspace/daemon/notify.hpp"

namespace xlb {

void Watchdog::start() {
  const auto patience = watchdog_patience();
  if (!patience) return;
  if (auto told = notify_manager("WATCHDOG=1"); !told)
    log_.say(Severity::warning, "service manager not told", {{"reason", told.error().text}});
  timer_ = loop_.at(Loop::Clock::now() + *patience / 3, [this] { start(); });
}

}  // namespace xlb
