// SPDX-License-Identifier: Apache-2.0
// The programs at a control group, through which clients on this node reach VIPs: eight of them, each held by a
// pinned link.
#pragma once

#include <string>

#include "loader/pins.hpp"
#include "loader/programs.hpp"

namespace xlb {

// At this control group and no other; those that are there already get the new program.
Result<void> put_socket_programs(int cgroup, const std::string& path, const Pins& pins, const Programs& programs);
// New programs under the links that exist.
Result<void> update_socket_programs(const Pins& pins, const Programs& programs);
Result<void> remove_socket_programs(const Pins& pins);
bool has_socket_programs(const Pins& pins);

}  // namespace xlb
