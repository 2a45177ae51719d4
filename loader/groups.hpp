// SPDX-License-Identifier: Apache-2.0
// Solicited-node groups of IPv6 VIPs on the L3 interface: without membership NICs and switches may filter the question
// "who has this VIP?". See groups.cpp for how it is held.
#pragma once

#include <cstdint>
#include <set>

#include "loader/netlink_socket.hpp"
#include "userspace/core/tables.hpp"

namespace xlb {

// Those that we hold on these interfaces; groups that the kernel joined for addresses of its own are not listed.
Result<std::set<Group>> joined_groups(NetlinkSocket& socket, const std::set<std::uint32_t>& l3_interfaces);
// Both may be repeated.
Result<void> join_group(NetlinkSocket& socket, const Group& group);
Result<void> leave_group(NetlinkSocket& socket, const Group& group);

}  // namespace xlb
