// SPDX-License-Identifier: Apache-2.0
// What decide() needs to know of the other nodes: who they are, whether flows may be given to them, and who answers for
// which VIP. Settled by the cluster's rules (claims.hpp); a node without peers is alone.
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "userspace/core/address.hpp"

namespace xlb {

struct DesiredPeer {
  std::string name;
  std::vector<Address> addresses;     // its own on the LAN
  std::vector<Mac> macs;              // frames from them are the peer's; flows are sent to the first
  std::uint32_t attach_ifindex = 0;   // of this node's link to it
  std::uint16_t vlan = 0;
  bool alive = false;                 // its echoes come home
  bool awaited = false;               // not alive since a moment ago: its connections wait for it
  auto operator<=>(const DesiredPeer&) const = default;
};

// Who answers for a VIP, as this node knows it.
struct Holding {
  bool owned = false;             // by this node
  std::uint64_t claim_epoch = 0;  // of this node's claim; 0: none
  std::string owner;              // empty: nobody known
  std::string reason;
  auto operator<=>(const Holding&) const = default;
};

struct PeerFacts {
  bool alone = true;     // no peers: this node owns whatever it is eligible for
  bool settled = false;  // it has listened to its peers for long enough to know what is going on
  std::vector<DesiredPeer> peers;
  std::map<Address, Holding> holdings;  // unless alone
};

}  // namespace xlb
