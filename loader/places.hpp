// SPDX-License-Identifier: Apache-2.0
// Where a backend's address is to be found on this node. Pure: the facts are parameters.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "loader/netlink_rows.hpp"

namespace xlb {

struct PlaceFacts {
  std::map<std::uint32_t, InterfaceFacts> interfaces;
  std::map<Address, std::uint32_t> own;                                  // address -> interface
  std::map<std::pair<std::uint32_t, Address>, NeighbourRow> neighbours;  // (interface, address)
  std::map<std::pair<std::uint32_t, Mac>, std::uint32_t> stations;       // (bridge, MAC) -> port
  std::set<std::uint32_t> lan;                                           // attached: behind them are other machines
};

// What is remembered of a place, so that ageing is told from disappearance.
struct KnownPlace {
  Place place;
  std::optional<Mac> mac;  // that the address had there
};

// `route`: the answer of the routing table, or why there is none. `before`: what was found for this address earlier.
KnownPlace find_place(const Address& address, const Result<RouteRow>& route, const PlaceFacts& facts,
                      const std::optional<KnownPlace>& before);

}  // namespace xlb
