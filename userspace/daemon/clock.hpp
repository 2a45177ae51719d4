// SPDX-License-Identifier: Apache-2.0
// The clock that the programs stamp flows and events with.
#pragma once

#include <cstdint>

namespace xlb {

std::uint64_t monotonic_ns();  // CLOCK_MONOTONIC
std::uint64_t boot_ns();       // CLOCK_BOOTTIME: goes on while the machine sleeps

}  // namespace xlb
