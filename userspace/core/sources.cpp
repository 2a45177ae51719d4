// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/sources.hpp"

#include <algorithm>
#include <map>
#include <set>

#include "userspace/core/allocator.hpp"

namespace xlb {
namespace {

template <typename Object>
void append(std::vector<Object>& objects, const std::vector<Object>&, typename std::vector<Object>::const_iterator object) {
  objects.push_back(*object);
}
template <typename Object>
void append(SharedList<Object>& objects, const SharedList<Object>& more, typename SharedList<Object>::const_iterator object) {
  objects.share(more.pointers()[static_cast<std::size_t>(object - more.begin())]);
}

// Adds those of `more` that have nobody's name, by kind.
template <typename Objects, typename Name>
void add(Objects& objects, const Objects& more, const std::string& kind, const Name& name_of, std::vector<std::string>& warnings) {
  if (objects.empty()) {
    objects = more;
    return;
  }
  std::set<std::string> known;
  for (const auto& object : objects) known.insert(name_of(object));
  objects.reserve(objects.size() + more.size());
  for (auto object = more.begin(); object != more.end(); ++object) {
    if (known.contains(name_of(*object)))
      warnings.push_back(kind + " " + name_of(*object) + " of the API server does not count: a manifest of this node declares it too");
    else
      append(objects, more, object);
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

BothSources side_by_side(Objects manifests, const Objects& api) {
  BothSources declared{std::move(manifests), {}};
  Objects& objects = declared.objects;
  std::vector<std::string>& warnings = declared.warnings;
  // Pools have one name space for all namespaces, and so have nodes.
  const auto plain_name = [](const Pool& pool) { return pool.name.name; };
  add(objects.pools, without_overlap(objects.pools, api.pools, warnings), "IPAddressPool", plain_name, warnings);
  add(objects.advertisements, api.advertisements, "L2Advertisement", full_name<L2Advertisement>, warnings);
  add(objects.services, api.services, "Service", full_name<Service>, warnings);
  add(objects.slices, api.slices, "EndpointSlice", full_name<EndpointSlice>, warnings);
  add(objects.nodes, without_shared_address(objects.nodes, api.nodes, warnings), "Node", [](const Node& node) { return node.name; }, warnings);
  if (objects.namespaces->empty())
    objects.namespaces = api.namespaces;
  else
    objects.namespaces.own().insert(api.namespaces->begin(), api.namespaces->end());
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

void ServiceClass::keep(Objects& objects) {
  if (name_.empty()) return;  // allocate() refuses those that have one, and says so
  std::map<const Service*, Kept> kept;
  SharedList<Service> services;
  for (const auto& service : objects.services.pointers()) {
    if (service->load_balancer_class != name_) continue;
    Kept& one = kept[service.get()];
    if (const auto known = kept_.find(service.get()); known != kept_.end()) {
      one = known->second;
    } else {
      auto classless = std::make_shared<Service>(*service);
      classless->load_balancer_class.clear();
      one = {service, std::move(classless)};
    }
    services.share(one.classless);
  }
  objects.services = std::move(services);
  kept_ = std::move(kept);
}

}  // namespace xlb
