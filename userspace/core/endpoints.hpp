// SPDX-License-Identifier: Apache-2.0
// Which endpoints stand behind one port of a service, and how this node reaches them.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "userspace/core/decide.hpp"

namespace xlb {

// EndpointSlices by the service that they belong to.
using SlicesByService = std::map<ObjectName, std::vector<const EndpointSlice*>>;
SlicesByService slices_by_service(const std::vector<EndpointSlice>& slices);

struct PortBackends {
  std::vector<DesiredBackend> backends;  // sorted by address and port, each once
  std::string empty_reason;              // why none of them takes new flows
  std::vector<std::string> left_out;     // "10.42.1.7 is on node pi2, which is no peer of this node"
};

// `vips`: every address that is handed out; a backend that is one of them would go round in a circle. With policy Local
// only backends on this node take flows from the LAN: `empty_reason` is about those.
PortBackends find_backends(const Service& service, const ServicePort& port, Family family,
                           const SlicesByService& slices, const Machine& machine, const std::set<Address>& vips,
                           const std::vector<DesiredPeer>& peers = {});

}  // namespace xlb
