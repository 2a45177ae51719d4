// SPDX-License-Identifier: Apache-2.0
// Tables where there are none yet.
#pragma once

#include "loader/kernel_data_plane.hpp"
#include "loader/pins.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

// Makes the tables of this binary's ABI and pins them, all or none: they appear under their final name at once.
Result<void> make_tables(const Pins& pins, const DataPlaneOptions& options);

}  // namespace xlb
