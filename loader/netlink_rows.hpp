// SPDX-License-Identifier: Apache-2.0
// What rtnetlink tells, as rows: one function a message kind, used by dumps and by notifications alike.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "loader/machine.hpp"
#include "loader/netlink_socket.hpp"
#include "userspace/core/address.hpp"

namespace xlb {

struct AddressRow {
  std::uint32_t ifindex = 0;
  Address address;
  std::uint8_t prefix_length = 0;  // in the family's own count
  bool usable = true;              // neither tentative nor a duplicate
  auto operator<=>(const AddressRow&) const = default;
};

struct NeighbourRow {
  std::uint32_t ifindex = 0;
  Address address;
  std::optional<Mac> mac;   // absent while unresolved or after a failure
  std::uint16_t state = 0;  // NUD_…
};

// An entry of a bridge's forwarding database that names a station behind a port (not one of the bridge's own MACs).
struct StationRow {
  std::uint32_t bridge = 0;
  std::uint32_t port = 0;
  Mac mac;
};

// One way of a route; a route may have several.
struct RouteRow {
  std::uint8_t type = 0;  // RTN_…
  std::uint32_t ifindex = 0;
  std::optional<Address> gateway;
  std::uint8_t prefix_length = 0;
  std::uint32_t table = 0;
};

// Each takes a message of its kind (RTM_NEW… or RTM_DEL…); absent: of no interest here.
std::optional<InterfaceFacts> interface_row(const nlmsghdr& message);
std::optional<AddressRow> address_row(const nlmsghdr& message);
std::optional<NeighbourRow> neighbour_row(const nlmsghdr& message);
std::optional<StationRow> station_row(const nlmsghdr& message);
// One row a way, at least one; none: of no interest here.
std::vector<RouteRow> route_rows(const nlmsghdr& message);

Result<std::map<std::uint32_t, InterfaceFacts>> dump_interfaces(NetlinkSocket& socket);
Result<std::vector<AddressRow>> dump_addresses(NetlinkSocket& socket);
Result<std::vector<NeighbourRow>> dump_neighbours(NetlinkSocket& socket);
Result<std::vector<StationRow>> dump_stations(NetlinkSocket& socket);
// Routes that lead to everything (prefix length 0) in the main table, the lowest metric first.
Result<std::vector<RouteRow>> dump_default_routes(NetlinkSocket& socket, Family family);
// The route that a packet of this machine to that address would take; a refusal says why there is none.
Result<RouteRow> look_up_route(NetlinkSocket& socket, const Address& address);

// An address as an attribute, 4 or 16 bytes.
void put_address(NetlinkMessage& message, std::uint16_t type, const Address& address);

}  // namespace xlb
