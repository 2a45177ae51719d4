// SPDX-License-Identifier: Apache-2.0
// Assignments from the tables. The kernel knows VIPs, ports and backends but no names; a service's ports and its backends'
// addresses are declared. A VIP belongs to the service whose ports it all serves and with whom it shares a backend; several
// such services (a shared address) all hold it, several such VIPs go by address. What is not found is allocated anew.
#include <algorithm>

#include "userspace/daemon/reconciler.hpp"

namespace xlb {

namespace {

struct VipFacts {
  Address address;
  std::set<std::pair<std::uint16_t, Protocol>> ports;
  std::set<std::pair<std::pair<std::uint16_t, Protocol>, Address>> backends;
};

std::vector<VipFacts> vip_facts(const Tables& installed) {
  std::vector<VipFacts> result;
  for (const auto& [address, vip] : installed.vips) {
    VipFacts facts{address, {}, {}};
    for (const auto& [key, service] : installed.services) {
      if (key.vip_id != vip.vip_id) continue;
      const std::pair port(key.port, key.protocol);
      facts.ports.insert(port);
      const auto slots = installed.slots.find(service.slot_base);
      if (service.slot_count == 0 || slots == installed.slots.end()) continue;
      for (const lb_slot& slot : slots->second.rows())
        for (const std::uint32_t id : {slot.first, slot.second})
          if (const auto backend = installed.backends.find(id); id != 0 && backend != installed.backends.end())
            facts.backends.insert({port, Address::from_abi(backend->second.address)});
    }
    result.push_back(std::move(facts));
  }
  return result;
}

const Pool* pool_of(const Objects& objects, const Address& address) {
  for (const Pool& pool : objects.pools)
    for (const AddressRange& range : pool.ranges)
      if (range.contains(address)) return &pool;
  return nullptr;
}

}  // namespace

Assignments recover_held(const Objects& objects, const Tables& installed) {
  const std::vector<VipFacts> vips = vip_facts(installed);
  Assignments held;
  std::set<Address> given;
  for (const Service& service : objects.services) {
    if (service.type != "LoadBalancer") continue;
    std::set<Address> endpoints;
    for (const EndpointSlice& slice : objects.slices)
      if (slice.name.ns == service.name.ns && slice.service == service.name.name)
        for (const Endpoint& endpoint : slice.endpoints) endpoints.insert(endpoint.addresses.begin(), endpoint.addresses.end());
    Assignment assignment;
    for (const VipFacts& vip : vips) {
      if (given.contains(vip.address) && service.sharing_key.empty()) continue;
      const bool serves = std::all_of(service.ports.begin(), service.ports.end(), [&](const ServicePort& port) {
        return vip.ports.contains({port.port, port.protocol});
      });
      const bool shares = std::any_of(vip.backends.begin(), vip.backends.end(), [&](const auto& entry) {
        return endpoints.contains(entry.second) &&
               std::any_of(service.ports.begin(), service.ports.end(), [&](const ServicePort& port) {
                 return entry.first == std::pair(port.port, port.protocol);
               });
      });
      const bool second = std::any_of(assignment.addresses.begin(), assignment.addresses.end(), [&](const Address& other) {
        return other.family() == vip.address.family();
      });
      const Pool* pool = pool_of(objects, vip.address);
      if (!serves || !shares || second || !pool) continue;
      assignment.addresses.push_back(vip.address);
      assignment.pool = pool->name.name;
      given.insert(vip.address);
    }
    if (!assignment.addresses.empty()) held.emplace(service.name, std::move(assignment));
  }
  return held;
}

}  // namespace xlb
