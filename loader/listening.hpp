// SPDX-License-Identifier: Apache-2.0
// Does somebody listen at a TCP port of this network namespace?
#pragma once

#include <cstdint>
#include <istream>

namespace xlb {

bool somebody_listens(std::uint16_t port);

// In a table as /proc/net/tcp and /proc/net/tcp6 are. The kernel writes those who listen first: what follows is not read, because
// a busy node has a hundred thousand connections.
bool listed_as_listening(std::istream& table, std::uint16_t port);

}  // namespace xlb
