// SPDX-License-Identifier: Apache-2.0
// The other nodes as they are declared (Node objects), and what is wrong with them on this machine. They speak by
// Ethernet, so each has to be a neighbour on one of the links.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "userspace/core/model.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

// Without this node, whose own declaration may stand among them; by name.
std::vector<Node> declared_peers(const Objects& objects, const std::string& own_name);

// A node that this machine's own facts rule out as a peer: it has this node's name, an address of this machine or of
// another node, or one that is nobody's.
Result<void> check_peer(const Node& peer, const Objects& objects, const Machine& machine);

// Addresses that can be no VIP because a node has them, each with the sentence that says so. To be avoided by
// allocate().
std::map<Address, std::string> node_uses(const Objects& objects);

// One sentence each about what is declared and will not work.
std::vector<std::string> peer_warnings(const Objects& objects, const Machine& machine);

}  // namespace xlb
