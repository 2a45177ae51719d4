// SPDX-License-Identifier: Apache-2.0
// Solicited-node groups of IPv6 VIPs. Membership is held by an address of the group with IFA_F_MCAUTOJOIN on the L3
// interface, so it outlives every process of ours, and it is read back from the kernel: an interface that was down
// has lost it.
#pragma once

#include <set>

#include "loader/netlink_socket.hpp"
#include "userspace/core/tables.hpp"

namespace xlb {

// Those on these interfaces; groups that the kernel joined for addresses of its own are not listed.
Result<std::set<Group>> joined_groups(NetlinkSocket& socket, const std::set<std::uint32_t>& l3_interfaces);
// Both may be repeated.
Result<void> join_group(NetlinkSocket& socket, const Group& group);
Result<void> leave_group(NetlinkSocket& socket, const Group& group);

}  // namespace xlb
