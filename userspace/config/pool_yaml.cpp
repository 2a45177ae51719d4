// SPDX-License-Identifier: Apache-2.0
// IPAddressPool and L2Advertisement (metallb.io/v1beta1) as text.
#include <utility>

#include "userspace/config/kinds.hpp"

namespace xlb {

std::string to_yaml(const Pool& pool) {
  TreeNode root = object_node("metallb.io/v1beta1", "IPAddressPool", pool.name, pool.labels);
  TreeNode& spec = yaml_set(root, "spec", yaml_mapping());
  std::vector<std::string> addresses;
  for (const AddressRange& range : pool.ranges) addresses.push_back(range.text);
  yaml_set(spec, "addresses", yaml_strings(addresses));
  if (!pool.auto_assign) yaml_set(spec, "autoAssign", yaml_plain("false"));
  if (pool.avoid_buggy_ips) yaml_set(spec, "avoidBuggyIPs", yaml_plain("true"));
  if (pool.allocation) {
    const ServiceAllocation& from = *pool.allocation;
    TreeNode& to = yaml_set(spec, "serviceAllocation", yaml_mapping());
    if (from.priority != 0) yaml_set(to, "priority", yaml_plain(std::to_string(from.priority)));
    if (!from.namespaces.empty()) {
      yaml_set(to, "namespaces", yaml_strings({from.namespaces.begin(), from.namespaces.end()}));
    }
    if (!from.namespace_selectors.empty()) {
      yaml_set(to, "namespaceSelectors", selectors_node(from.namespace_selectors));
    }
    if (!from.service_selectors.empty()) yaml_set(to, "serviceSelectors", selectors_node(from.service_selectors));
  }
  return yaml_text(root);
}

std::string to_yaml(const L2Advertisement& advertisement) {
  TreeNode root = object_node("metallb.io/v1beta1", "L2Advertisement", advertisement.name, {});
  TreeNode spec = yaml_mapping();
  if (!advertisement.pools.empty()) yaml_set(spec, "ipAddressPools", yaml_strings(advertisement.pools));
  if (!advertisement.pool_selectors.empty()) {
    yaml_set(spec, "ipAddressPoolSelectors", selectors_node(advertisement.pool_selectors));
  }
  if (!advertisement.node_selectors.empty()) {
    yaml_set(spec, "nodeSelectors", selectors_node(advertisement.node_selectors));
  }
  if (!advertisement.interfaces.empty()) yaml_set(spec, "interfaces", yaml_strings(advertisement.interfaces));
  if (!advertisement.service_selectors.empty()) {
    yaml_set(spec, "serviceSelectors", selectors_node(advertisement.service_selectors));
  }
  if (!advertisement.preferred_nodes.empty()) {
    TreeNode& list = yaml_set(spec, "preferredNodeSelectors", yaml_sequence());
    for (const PreferredNodes& preferred : advertisement.preferred_nodes) {
      TreeNode item = yaml_mapping();
      yaml_set(item, "weight", yaml_plain(std::to_string(preferred.weight)));
      yaml_set(item, "preference", selector_node(preferred.preference));
      list.children.push_back(std::move(item));
    }
  }
  if (!spec.keys.empty()) yaml_set(root, "spec", std::move(spec));
  return yaml_text(root);
}

}  // namespace xlb
