// SPDX-License-Identifier: Apache-2.0
// Whom do I reach, whom do I hear, and am I the one that is cut off?
#pragma once

#include <chrono>

namespace xlb {

using Instant = std::chrono::nanoseconds;  // of CLOCK_MONOTONIC, since its zero

}  // namespace xlb
