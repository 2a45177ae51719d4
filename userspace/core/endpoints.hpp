// SPDX-License-Identifier: Apache-2.0
// Which endpoints stand behind one port of a service, and how this node reaches them.
#pragma once

#include <memory>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "userspace/core/decide.hpp"

namespace xlb {

// EndpointSlices by the service that they belong to.
class SlicesByService {
 public:
  explicit SlicesByService(const SharedList<EndpointSlice>& slices);
  // In the order in which they were declared.
  [[nodiscard]] std::span<const std::shared_ptr<const EndpointSlice>> of(const ObjectName& service) const;

 private:
  using Key = std::pair<std::string_view, std::string_view>;
  static Key key_of(const EndpointSlice& slice) { return {slice.name.ns, slice.service}; }

  std::vector<std::shared_ptr<const EndpointSlice>> slices_;  // by namespace and service
};

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
