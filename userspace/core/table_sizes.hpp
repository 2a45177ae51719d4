// SPDX-License-Identifier: Apache-2.0
// How large tables are made. It is chosen once: the first attach makes them, later ones find them as they are.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "userspace/core/result.hpp"

namespace xlb {

// Entries, by the table's name without "xlb_": flows, services, backends, slots, sources. What is missing has its default: the one
// of maps/abi.h, and for flows a share of the machine's memory.
using TableSizes = std::map<std::string, std::uint32_t>;

// "backends=131072,slots=16777216". Fails, naming what is wrong, for another table, a size out of its bounds, a table named twice.
Result<TableSizes> parse_table_sizes(std::string_view text);
// The way back; nothing where nothing is asked for.
std::string table_sizes_text(const TableSizes& sizes);

}  // namespace xlb
