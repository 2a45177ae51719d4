// SPDX-License-Identifier: Apache-2.0
// Which row of xlb_peers a peer has. The tables are the memory: no row holds a name, but each has the MACs and addresses
// of its peer, so a restarted daemon finds the ids that were given before it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "userspace/core/peer.hpp"
#include "userspace/core/tables.hpp"

namespace xlb {

// Ids 1..XLB_MAX_PEERS-1 by name. A peer keeps the id that has one of its MACs, else the one that has its address; what
// is given out anew avoids those that are installed. A peer without a MAC cannot be sent to and gets none, nor do those
// that come after the table is full.
std::map<std::string, std::uint32_t> node_ids(const std::vector<DesiredPeer>& peers, const Tables& installed);

}  // namespace xlb
