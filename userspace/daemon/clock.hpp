// SPDX-License-Identifier: Apache-2.0
// The clocks that the programs stamp flows and events with, and the one that people and API servers read.
#pragma once

#include <cstdint>

namespace xlb {

std::uint64_t monotonic_ns();  // CLOCK_MONOTONIC
std::uint64_t boot_ns();       // CLOCK_BOOTTIME: goes on while the machine sleeps
std::uint64_t wall_us();       // CLOCK_REALTIME: microseconds since 1970, and it may jump

}  // namespace xlb
