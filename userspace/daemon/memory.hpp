// SPDX-License-Identifier: Apache-2.0
// Keeps what the daemon has touched in memory: a page that was swapped out to an SD card comes back after the lease.
#pragma once

#include "userspace/core/result.hpp"

namespace xlb {

// Locks pages when they are touched, not before: address space costs nothing. False: this process may not lock as much as it
// may come to need (RLIMIT_MEMLOCK), and a limit met later would be an allocation that fails.
Result<bool> lock_memory();

}  // namespace xlb
