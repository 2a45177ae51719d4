// SPDX-License-Identifier: Apache-2.0
// Tells the service manager how the daemon is: datagrams to $NOTIFY_SOCKET, as sd_notify(3) describes. Without that
// variable nothing happens.
#pragma once

#include <string>

#include "userspace/core/result.hpp"

namespace xlb {

Result<void> notify_manager(const std::string& text);  // "READY=1", "STOPPING=1"

}  // namespace xlb
