// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/clock.hpp"

#include <time.h>

#include "maps/abi.h"

namespace xlb {

namespace {

std::uint64_t read(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * XLB_SECOND_NS + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

std::uint64_t monotonic_ns() { return read(CLOCK_MONOTONIC); }
std::uint64_t boot_ns() { return read(CLOCK_BOOTTIME); }
std::uint64_t wall_us() { return read(CLOCK_REALTIME) / 1000; }

}  // namespace xlb
