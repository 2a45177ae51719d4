// SPDX-License-Identifier: Apache-2.0
// Tells the service manager how the daemon is: datagrams to $NOTIFY_SOCKET, as sd_notify(3) describes. Without that
// variable nothing happens.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "userspace/core/result.hpp"

namespace xlb {

Result<void> notify_manager(const std::string& text);  // "READY=1", "WATCHDOG=1", "STOPPING=1"
// How long this process may be silent before the manager takes it for hung ($WATCHDOG_USEC); nothing: as long as it likes.
std::optional<std::chrono::microseconds> watchdog_patience();

}  // namespace xlb
