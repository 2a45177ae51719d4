// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/pool.hpp"

#include <algorithm>

#include "userspace/core/allocator.hpp"

namespace xlb {
namespace {

bool any_matches(const std::vector<LabelSelector>& selectors, const Labels& labels) {
  return std::any_of(selectors.begin(), selectors.end(),
                     [&](const auto& selector) { return selector.matches(labels); });
}

// Kubernetes gives every namespace its name as a label; a namespace that was never declared has at least that one.
Labels namespace_labels(const std::string& name, const Objects& objects) {
  const auto declared = objects.namespaces->find(name);
  Labels labels = declared == objects.namespaces->end() ? Labels{} : declared->second;
  labels.emplace("kubernetes.io/metadata.name", name);
  return labels;
}

// Namespaces listed and namespaces selected are one set.
bool namespace_set_empty(const ServiceAllocation& allocation, const Objects& objects) {
  if (!allocation.namespaces.empty()) return false;
  return std::none_of(objects.namespaces->begin(), objects.namespaces->end(), [&](const auto& item) {
    return any_matches(allocation.namespace_selectors, namespace_labels(item.first, objects));
  });
}

bool in_namespace_set(const ServiceAllocation& allocation, const std::string& ns, const Objects& objects) {
  return allocation.namespaces.contains(ns) ||
         any_matches(allocation.namespace_selectors, namespace_labels(ns, objects));
}

// IPv4 addresses up to and including this one that end in 0 or 255.
std::uint64_t buggy_up_to(std::uint64_t address) {
  return address / 256 * 2 + 1 + (address % 256 == 255 ? 1 : 0);
}

std::uint64_t ipv4_number(const Address& address) {
  std::uint64_t number = 0;
  for (std::size_t i = 12; i < address.bytes.size(); ++i) number = number << 8 | address.bytes[i];
  return number;
}

std::uint64_t buggy_in(const AddressRange& range) {
  if (range.first.family() != Family::ipv4) return 0;
  const std::uint64_t first = ipv4_number(range.first);
  return buggy_up_to(ipv4_number(range.last)) - (first == 0 ? 0 : buggy_up_to(first - 1));
}

}  // namespace

bool buggy(const Address& address) {
  return address.family() == Family::ipv4 && (address.bytes[15] == 0 || address.bytes[15] == 255);
}

bool holds(const Pool& pool, const Address& address) {
  if (pool.avoid_buggy_ips && buggy(address)) return false;
  return std::any_of(pool.ranges.begin(), pool.ranges.end(),
                     [&](const AddressRange& range) { return range.contains(address); });
}

bool admits(const Pool& pool, const Service& service, const Objects& objects) {
  if (!pool.allocation) return true;
  const ServiceAllocation& allocation = *pool.allocation;
  if (!in_namespace_set(allocation, service.name.ns, objects) && !namespace_set_empty(allocation, objects))
    return false;
  return allocation.service_selectors.empty() || any_matches(allocation.service_selectors, service.labels);
}

bool pinned_to(const Pool& pool, const Service& service, const Objects& objects) {
  if (!pool.allocation || !pool.auto_assign || !admits(pool, service, objects)) return false;
  const ServiceAllocation& allocation = *pool.allocation;
  const bool any_namespace = allocation.namespaces.empty() && allocation.namespace_selectors.empty();
  return any_namespace || in_namespace_set(allocation, service.name.ns, objects);
}

PoolUsage usage(const Pool& pool, const Assignments& held) {
  PoolUsage usage;
  constexpr std::uint64_t saturated = (std::uint64_t{1} << 63) - 1;
  for (const AddressRange& range : pool.ranges) {
    const std::uint64_t size = range.size() - (pool.avoid_buggy_ips ? buggy_in(range) : 0);
    usage.total = size > saturated - usage.total ? saturated : usage.total + size;
  }
  std::set<Address> assigned;
  for (const auto& [service, assignment] : held) {
    for (const Address& address : assignment.addresses) {
      if (holds(pool, address)) assigned.insert(address);
    }
  }
  usage.assigned = assigned.size();
  usage.available = usage.total - std::min<std::uint64_t>(usage.total, usage.assigned);
  return usage;
}

}  // namespace xlb
