// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/service_health.hpp"

#include <algorithm>
#include <memory>
#include <set>

#include "userspace/core/endpoints.hpp"

namespace xlb {
namespace {

bool asked(const Service& service) {
  return service.health_check_port != 0 && service.type == "LoadBalancer" && service.policy == TrafficPolicy::local &&
         service.load_balancer_class.empty();  // of another class: another's
}

// Fails the probe of every port that has one.
bool is_ill(const Service& service, const EndpointSlice& slice, const Address& address, const std::map<HealthTarget, std::string>& ill) {
  if (!service.health || slice.ports.empty()) return false;
  return std::all_of(slice.ports.begin(), slice.ports.end(), [&](const EndpointPort& port) {
    return ill.contains(health_target(*service.health, address, port.port));
  });
}

std::size_t count(const Service& service, std::span<const std::shared_ptr<const EndpointSlice>> slices, const std::string& node,
                  const std::map<HealthTarget, std::string>& ill) {
  std::set<Address> four, six;
  for (const auto& slice : slices) {
    for (const Endpoint& endpoint : slice->endpoints) {
      if (!endpoint.ready || (!endpoint.node.empty() && endpoint.node != node)) continue;
      for (const Address& address : endpoint.addresses) {
        if (!is_ill(service, *slice, address, ill)) (address.family() == Family::ipv4 ? four : six).insert(address);
      }
    }
  }
  return std::max(four.size(), six.size());
}

}  // namespace

std::vector<ServiceHealth> service_health(const Objects& objects, const std::string& node, const std::map<HealthTarget, std::string>& ill) {
  std::vector<ServiceHealth> all;
  if (std::none_of(objects.services.begin(), objects.services.end(), asked)) return all;
  const SlicesByService slices(objects.slices);
  for (const Service& service : objects.services) {
    if (asked(service)) all.push_back({service.name, service.health_check_port, count(service, slices.of(service.name), node, ill)});
  }
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace xlb
