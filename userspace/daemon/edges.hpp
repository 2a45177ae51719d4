// SPDX-License-Identifier: Apache-2.0
// The outside world as the reconciler sees it: the kernel's tables, netlink facts, and frames on the wire. Tests put their
// own in their place.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "loader/announcer.hpp"
#include "loader/data_plane.hpp"
#include "loader/machine.hpp"
#include "userspace/daemon/settings.hpp"

namespace xlb {

struct Edges {
  std::unique_ptr<DataPlane> data_plane;
  std::unique_ptr<Netlink> netlink;
  // Who answers for these addresses on this link already? MACs in the set are this machine's.
  std::function<Result<std::vector<ProbeAnswer>>(const Link&, const std::vector<Address>&, const std::set<Mac>&)> probe;
  // One round of gratuitous ARP and unsolicited NA for these VIPs.
  std::function<Result<void>(const Link&, const std::vector<Address>&)> announce;
};

Result<Edges> open_edges(const Settings& settings);

}  // namespace xlb
