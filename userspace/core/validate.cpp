// SPDX-License-Identifier: Apache-2.0
// Rules between objects. What one object alone can have wrong is found where it is read.
#include <algorithm>
#include <map>
#include <set>
#include <vector>

#include "userspace/core/allocator.hpp"
#include "userspace/core/text.hpp"

namespace xlb {
namespace {

template <typename Objects, typename Name>
Result<void> no_duplicates(const Objects& objects, const std::string& what, const Name& name_of) {
  std::set<std::string> seen;
  for (const auto& object : objects) {
    const std::string name = name_of(object);
    if (!seen.insert(name).second) return Error{"duplicate definition of " + what + " " + in_quotes(name)};
  }
  return {};
}

struct DefinedRange {
  const Pool* pool = nullptr;
  const AddressRange* range = nullptr;
  std::size_t order = 0;  // in which they were defined
};

Result<void> no_overlaps(const std::vector<Pool>& pools) {
  std::vector<DefinedRange> ranges;
  for (const Pool& pool : pools) {
    for (const AddressRange& range : pool.ranges) ranges.push_back({&pool, &range, ranges.size()});
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const auto& a, const auto& b) { return a.range->first < b.range->first; });
  // The one that reaches farthest so far is the only one that the next can run into first.
  const DefinedRange* farthest = nullptr;
  for (const DefinedRange& range : ranges) {
    if (farthest != nullptr && range.range->first <= farthest->range->last) {
      const DefinedRange& later = range.order > farthest->order ? range : *farthest;
      const DefinedRange& earlier = range.order > farthest->order ? *farthest : range;
      return Error{"CIDR " + in_quotes(later.range->text) + " in pool " + in_quotes(later.pool->name.name) +
                   " overlaps with already defined CIDR " + in_quotes(earlier.range->text)};
    }
    farthest = &range;
  }
  return {};
}

Result<void> valid_pools(const std::vector<Pool>& pools) {
  for (const Pool& pool : pools) {
    if (pool.name.name.empty()) return Error{"missing pool name"};
    if (pool.ranges.empty()) return Error{"pool has no prefixes defined"}.in("IPAddressPool " + pool.name.name);
  }
  if (auto unique = no_duplicates(pools, "pool", [](const Pool& pool) { return pool.name.name; }); !unique)
    return unique;
  return no_overlaps(pools);
}

Result<void> valid_ports(const Service& service) {
  std::set<std::pair<Protocol, std::uint16_t>> seen;
  std::set<std::string> names;
  for (const ServicePort& port : service.ports) {
    const std::string text = std::string(protocol_text(port.protocol)) + "/" + std::to_string(port.port);
    if (!seen.insert({port.protocol, port.port}).second) return Error{"port " + text + " is listed twice"};
    if (!port.name.empty() && !names.insert(port.name).second) {
      return Error{"duplicate definition of port name " + in_quotes(port.name)};
    }
  }
  return {};
}

Result<void> valid_nodes(const std::vector<Node>& nodes) {
  if (auto unique = no_duplicates(nodes, "node", [](const Node& node) { return node.name; }); !unique) return unique;
  std::map<Address, const Node*> holders;
  for (const Node& node : nodes) {
    for (const Address& address : node.addresses) {
      const auto [holder, fresh] = holders.try_emplace(address, &node);
      if (fresh || holder->second == &node) continue;
      return Error{address.text() + " is the address of node " + holder->second->name + " already: each has its own"}.in("Node " + node.name);
    }
  }
  return {};
}

}  // namespace

Result<void> validate(const Objects& objects) {
  if (auto valid = valid_pools(objects.pools); !valid) return valid;
  const auto full_name = [](const auto& object) { return object.name.text(); };
  if (auto unique = no_duplicates(objects.advertisements, "L2Advertisement", full_name); !unique) return unique;
  if (auto unique = no_duplicates(objects.services, "service", full_name); !unique) return unique;
  if (auto unique = no_duplicates(objects.slices, "EndpointSlice", full_name); !unique) return unique;
  if (auto valid = valid_nodes(objects.nodes); !valid) return valid;
  for (const L2Advertisement& advertisement : objects.advertisements) {
    const auto name = [](const std::string& pool) { return pool; };
    if (auto unique = no_duplicates(advertisement.pools, "ipAddressPools entry", name); !unique) {
      return unique.error().in("L2Advertisement " + advertisement.name.name);
    }
  }
  for (const Service& service : objects.services) {
    if (auto valid = valid_ports(service); !valid) return valid.error().in("Service " + service.name.text());
  }
  return {};
}

}  // namespace xlb
