// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/last_pass.hpp"

#include <algorithm>
#include <tuple>

#include "userspace/daemon/reconciler.hpp"

namespace xlb {

std::map<std::uint32_t, PortOfService> ports_of_services(const Tables& tables, const Desired& desired) {
  std::map<std::uint32_t, Address> vips;
  for (const auto& [address, vip] : tables.vips) vips[vip.vip_id] = address;
  std::map<std::tuple<Address, std::uint16_t, Protocol>, ObjectName> names;
  for (const DesiredService& service : desired.services)
    for (const DesiredPort& port : service.ports) names[{service.vip, port.port, port.protocol}] = service.name;
  std::map<std::uint32_t, PortOfService> result;
  for (const auto& [key, service] : tables.services) {
    const auto vip = vips.find(key.vip_id);
    if (vip == vips.end()) continue;
    const auto name = names.find({vip->second, key.port, key.protocol});
    result[service.service_id] = {name == names.end() ? ObjectName{} : name->second, vip->second, key.port, key.protocol};
  }
  return result;
}

std::shared_ptr<const LastPass> last_pass(const Observation& seen, const Judgement& judged) {
  auto facts = std::make_shared<LastPass>();
  facts->node = seen.machine.node_name;
  facts->attached = !seen.attached.empty();
  facts->pools = seen.objects.pools;
  facts->held = judged.state.held;
  facts->conflicts = judged.state.conflicts.size();
  facts->vips = judged.desired.vips;
  facts->services = judged.desired.services;
  facts->ill = seen.machine.ill;
  facts->service_health = service_health(seen.objects, facts->node, facts->ill);
  if (!facts->attached) return facts;
  const Tables& tables = judged.wanted;
  facts->ports = ports_of_services(tables, judged.desired);
  std::size_t slots = 0;
  for (const auto& [base, row] : tables.slots) slots += row.size();
  const auto live = std::count_if(tables.backends.begin(), tables.backends.end(),
                                  [](const auto& entry) { return (entry.second.flags & XLB_BACKEND_LIVE) != 0; });
  facts->tables = {{"xlb_links", tables.links.size(), XLB_MAX_LINKS},
                   {"xlb_vips", tables.vips.size(), XLB_MAX_VIPS},
                   {"xlb_services", tables.services.size(), seen.capacity.services},
                   {"xlb_backends", static_cast<std::size_t>(live), seen.capacity.backends},
                   {"xlb_slots", slots, seen.capacity.slots},
                   {"xlb_sources", tables.sources.size(), seen.capacity.sources}};
  return facts;
}

}  // namespace xlb
