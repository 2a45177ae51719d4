// SPDX-License-Identifier: Apache-2.0
// The daemon's memory: what it has touched stays, since a page that was swapped out to an SD card comes back after the lease; what it
// needs no more goes back.
#pragma once

#include "userspace/core/result.hpp"

namespace xlb {

// Locks pages when they are touched, not before: address space costs nothing. False: this process may not lock as much as it
// may come to need (RLIMIT_MEMLOCK), and a limit met later would be an allocation that fails.
Result<bool> lock_memory();

// What was freed, of all threads. Takes milliseconds where there is much: for after something large, and not every day.
void give_memory_back();

}  // namespace xlb
