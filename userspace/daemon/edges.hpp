// SPDX-License-Identifier: Apache-2.0
// The outside world as the reconciler sees it: the kernel's tables, netlink facts, and frames on the wire. Tests put their
// own in their place.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "loader/data_plane.hpp"
#include "loader/link_probe.hpp"
#include "loader/machine.hpp"
#include "userspace/daemon/settings.hpp"

namespace xlb {

struct WireAnswers {
  std::vector<ProbeAnswer> taken;       // by whom
  std::map<Address, std::string> open;  // not known yet, and why: ask again later
};

// Who answers for these addresses on this link already? MACs in the set do not count: they are this machine's or its peers'.
// What was found before `since` is too old to be an answer. A command waits for the wire; the daemon's loop does not, and
// leaves questions open.
using AskWire = std::function<Result<WireAnswers>(const Link&, const std::vector<Address>&, const std::set<Mac>&,
                                                  std::chrono::steady_clock::time_point since)>;

struct Edges {
  std::unique_ptr<DataPlane> data_plane;
  std::unique_ptr<Netlink> netlink;
  AskWire ask_wire;
  // One round of gratuitous ARP (request and reply) and unsolicited NA for these VIPs.
  std::function<Result<void>(const Link&, const std::vector<Address>&)> announce;
  // Is kube-proxy here, or what stands in for it?
  std::function<bool()> kube_proxy = [] { return false; };
};

// Edges that a command uses: they wait.
Result<Edges> open_edges(const Settings& settings);

}  // namespace xlb
