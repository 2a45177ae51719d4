// SPDX-License-Identifier: Apache-2.0
// Random misfortune: a scenario made from a seed. It ends with everything repaired and time to settle.
#pragma once

#include <cstdint>

#include "tests/sim/scenario.hpp"

namespace xlb::sim {

Scenario random_schedule(std::uint64_t seed);

}  // namespace xlb::sim
