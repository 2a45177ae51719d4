// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/clock.hpp"

#include <time.h>

#include "maps/abi.h"

namespace xlb {

std::uint64_t monotonic_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * XLB_SECOND_NS + static_cast<std::uint64_t>(now.tv_nsec);
}

}  // namespace xlb
