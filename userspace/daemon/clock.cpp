// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/clock.hpp"

#include <time.h>

#include "maps/abi.h"

namespace xlb {

namespace {

std::uint64_t now_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * XLB_SECOND_NS + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace

std::uint64_t monotonic_ns() { return now_ns(CLOCK_MONOTONIC); }
std::uint64_t boot_ns() { return now_ns(CLOCK_BOOTTIME); }
std::uint64_t wall_us() { return now_ns(CLOCK_REALTIME) / 1000; }

}  // namespace xlb
