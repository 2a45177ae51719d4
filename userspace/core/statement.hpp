// SPDX-License-Identifier: Apache-2.0
// What a node states to its peers: who it is, whom it hears, and for each VIP whether it may answer and whether it does.
// The wire form is userspace/peers/wire.hpp; the rules that read it are membership.hpp and claims.hpp.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "userspace/core/address.hpp"

namespace xlb {

// How well a node suits a VIP, stated by that node alone. Better: the higher preference, then the lower digest, bytewise.
struct Rank {
  std::int32_t preference = 0;             // weights of the matching preferredNodeSelectors
  std::array<std::uint8_t, 32> digest{};   // sha256(node + "#" + first address of the service's status), as MetalLB
  [[nodiscard]] bool better_than(const Rank& other) const {
    return preference != other.preference ? preference > other.preference : digest < other.digest;
  }
  auto operator<=>(const Rank&) const = default;
};

struct VipStatement {
  Address vip;
  bool eligible = false;
  std::string obstacle;      // why it is not eligible; printed by the peers' `why`
  Rank rank;
  std::uint64_t epoch = 0;   // of this node's claim; 0: it claims nothing
  std::string handing_to;    // the node that is to claim next; empty: nobody
  auto operator<=>(const VipStatement&) const = default;
};

struct Statement {
  std::string node;               // its name
  std::uint64_t incarnation = 0;  // a counter on disk: raised at each start and each revival after a lost lease
  std::uint64_t sequence = 0;     // raised with each statement; (incarnation, sequence) only grows
  std::string version;            // of the program
  std::vector<Address> addresses; // its own on the link that this statement goes out of
  Mac mac;                        // of that link
  bool draining = false;
  bool listening = false;         // has just joined: claims nothing yet
  bool deaf = false;              // hears no frame at all
  [[nodiscard]] bool withdrawn() const { return draining || listening || deaf; }  // no candidate, whatever its VIPs
  std::vector<std::string> hears; // peers whose echoes come home without a miss
  std::uint64_t configuration = 0; // a hash of what is declared, to tell different configurations apart
  std::vector<VipStatement> vips;  // by address
  auto operator<=>(const Statement&) const = default;
};

// Bounds of the wire form; encode() refuses what exceeds them, decode() what claims to.
inline constexpr std::size_t kStatedVips = 4096;
inline constexpr std::size_t kStatedPeers = 64;
inline constexpr std::size_t kStatedName = 253;     // a host name (RFC 1035)
inline constexpr std::size_t kStatedObstacle = 120;  // longer ones are cut
inline constexpr std::size_t kStatedAddresses = 8;

}  // namespace xlb
