// SPDX-License-Identifier: Apache-2.0
// Peers and holdings as the tables hold them, for a pass without a daemon that knows better: a command beside a dead daemon must
// leave to each VIP the owner that it has.
#pragma once

#include <string>
#include <vector>

#include "userspace/core/peer.hpp"
#include "userspace/core/tables.hpp"

namespace xlb {

// `keyed`: this node holds a cluster's key. `epoch`: lb_node.epoch.
PeerFacts installed_peers(const std::vector<Node>& nodes, const std::string& self, bool keyed, const Tables& installed,
                          std::uint64_t epoch);

}  // namespace xlb
