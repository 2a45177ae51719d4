// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/sources.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "userspace/core/allocator.hpp"

namespace xlb {
namespace {

// Adds those of `more` that have nobody's name, by kind.
template <typename Object, typename Name>
void add(std::vector<Object>& objects, const std::vector<Object>& more, const std::string& kind, const Name& name_of,
         std::vector<std::string>& warnings) {
  std::set<std::string> known;
  for (const Object& object : objects) known.insert(name_of(object));
  objects.reserve(objects.size() + more.size());
  for (const Object& object : more) {
    if (known.contains(name_of(object)))
      warnings.push_back(kind + " " + name_of(object) + " of the API server does not count: a manifest of this node declares it too");
    else
      objects.push_back(object);
  }
}

std::string full_name(const auto& object) {
  return object.name.text();
}

// Pools of the server that share an address with one of the manifests.
std::vector<Pool> without_overlap(const std::vector<Pool>& manifests, const std::vector<Pool>& api, std::vector<std::string>& warnings) {
  std::vector<Pool> kept;
  for (const Pool& pool : api) {
    const AddressRange* other = nullptr;
    for (const Pool& known : manifests)
      for (const AddressRange& range : known.ranges)
        for (const AddressRange& own : pool.ranges)
          if (own.overlaps(range)) other = &range;
    if (other)
      warnings.push_back("IPAddressPool " + pool.name.text() + " of the API server does not count: it overlaps with " + other->text +
                         " of a manifest of this node");
    else
      kept.push_back(pool);
  }
  return kept;
}

std::vector<Node> without_shared_address(const std::vector<Node>& manifests, const std::vector<Node>& api,
                                         std::vector<std::string>& warnings) {
  std::map<Address, std::string> known;
  for (const Node& node : manifests)
    for (const Address& address : node.addresses) known[address] = node.name;
  std::vector<Node> kept;
  for (const Node& node : api) {
    const auto shared = std::find_if(node.addresses.begin(), node.addresses.end(),
                                     [&](const Address& address) { return known.contains(address) && known[address] != node.name; });
    if (shared != node.addresses.end()) {
      warnings.push_back("Node " + node.name + " of the API server does not count: Node " + known[*shared] + " has " + shared->text() + " too");
      continue;
    }
    for (const Address& address : node.addresses) known[address] = node.name;
    kept.push_back(node);
  }
  return kept;
}

}  // namespace

Declared side_by_side(Objects manifests, const Objects& api) {
  Declared declared{std::move(manifests), {}};
  Objects& objects = declared.objects;
  std::vector<std::string>& warnings = declared.warnings;
  // Pools have one name space for all namespaces, and so have nodes.
  const auto plain_name = [](const Pool& pool) { return pool.name.name; };
  add(objects.pools, without_overlap(objects.pools, api.pools, warnings), "IPAddressPool", plain_name, warnings);
  add(objects.advertisements, api.advertisements, "L2Advertisement", full_name<L2Advertisement>, warnings);
  add(objects.services, api.services, "Service", full_name<Service>, warnings);
  add(objects.slices, api.slices, "EndpointSlice", full_name<EndpointSlice>, warnings);
  add(objects.nodes, without_shared_address(objects.nodes, api.nodes, warnings), "Node", [](const Node& node) { return node.name; }, warnings);
  objects.namespaces.insert(api.namespaces.begin(), api.namespaces.end());
  return declared;
}

void PoolsInForce::put_into(Objects& objects) {
  Objects configuration;
  configuration.pools = objects.pools;
  configuration.advertisements = objects.advertisements;
  const auto valid = validate(configuration);
  if (!valid) {
    stale_ = valid.error().text;
  } else if (objects.pools.empty() && !pools_.empty()) {
    stale_ = "all IPAddressPools are gone";
  } else {
    stale_.clear();
    loaded_ = true;
    pools_ = objects.pools;
    advertisements_ = objects.advertisements;
    return;
  }
  objects.pools = pools_;
  objects.advertisements = advertisements_;
}

void keep_class(Objects& objects, const std::string& load_balancer_class) {
  if (load_balancer_class.empty()) return;  // allocate() refuses those that have one, and says so
  std::erase_if(objects.services, [&](const Service& service) { return service.load_balancer_class != load_balancer_class; });
  for (Service& service : objects.services) service.load_balancer_class.clear();
}

}  // namespace xlb
