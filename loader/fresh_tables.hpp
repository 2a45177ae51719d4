// SPDX-License-Identifier: Apache-2.0
// Tables where there are none yet.
#pragma once

#include "loader/pins.hpp"
#include "userspace/core/result.hpp"
#include "userspace/core/table_sizes.hpp"

namespace xlb {

// Makes the tables of this binary's ABI and pins them, all or none: they appear under their final name at once.
Result<void> make_tables(const Pins& pins, const TableSizes& sizes);

}  // namespace xlb
