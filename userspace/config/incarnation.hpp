// SPDX-License-Identifier: Apache-2.0
// How often this node has joined its cluster: <config-dir>/incarnation.json, a counter on disk, because a Raspberry Pi has no
// clock to tell its lives apart by. Peers take what a later incarnation states for newer, whatever its sequence numbers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "userspace/core/result.hpp"

namespace xlb {

struct Incarnation {
  std::uint64_t number = 0;
  std::string damage;  // the file was damaged: set aside, and the number jumps over whatever it may have been
};

// The next one; on disk before it is returned. `chance` (64 random bits) says how far to jump where the file is damaged: to
// begin anew below what peers have seen would make this node a replay of itself.
Result<Incarnation> next_incarnation(const std::filesystem::path& file, std::uint64_t chance);

}  // namespace xlb
