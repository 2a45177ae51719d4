// SPDX-License-Identifier: Apache-2.0
// Which life of this node in its cluster it is: <config-dir>/incarnation.json, a counter on disk, because a Raspberry Pi has no
// clock to tell its lives apart by. Peers take what a later incarnation states for newer, whatever its sequence numbers.
//
// Each start takes a row of numbers: one that has lost its lease goes on with the next, and does not wait for the disk that may
// have cost it the lease.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "userspace/core/result.hpp"

namespace xlb {

inline constexpr std::uint64_t kIncarnationsInARow = 1024;

struct Incarnation {
  std::uint64_t number = 0;  // and those after it, kIncarnationsInARow altogether
  std::string damage;  // the file was damaged: set aside, and the number jumps over whatever it may have been
};

// The next row; on disk before it is returned. `chance` (64 random bits) says how far to jump where the file is damaged: to
// begin anew below what peers have seen would make this node a replay of itself.
Result<Incarnation> next_incarnation(const std::filesystem::path& file, std::uint64_t chance);

}  // namespace xlb
