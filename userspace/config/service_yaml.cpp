// SPDX-License-Identifier: Apache-2.0
// Service (v1) with the annotations of MetalLB and our own, as text.
#include <array>
#include <utility>

#include "userspace/config/kinds.hpp"

namespace xlb {

namespace {

TreeNode annotations_node(const Service& service) {
  TreeNode node = yaml_mapping();
  std::string ips;
  for (const Address& address : service.requested) ips += (ips.empty() ? "" : ",") + address.text();
  if (!ips.empty()) yaml_set(node, std::string(kIpsAnnotation), yaml_string(ips));
  if (!service.pool.empty()) yaml_set(node, std::string(kPoolAnnotation), yaml_string(service.pool));
  if (!service.sharing_key.empty()) yaml_set(node, std::string(kSharingAnnotation), yaml_string(service.sharing_key));
  if (service.path != Path::automatic) {
    yaml_set(node, std::string(kPathAnnotation), yaml_string(service.path == Path::fast ? "fast" : "kernel"));
  }
  if (service.health) yaml_set(node, std::string(kHealthAnnotation), yaml_string(service.health->text()));
  if (service.unknown_ports != UnknownPorts::reject) {
    yaml_set(node, std::string(kUnknownPortsAnnotation),
             yaml_string(service.unknown_ports == UnknownPorts::drop ? "drop" : "fallback"));
  }
  return node;
}

TreeNode ports_node(const std::vector<ServicePort>& ports) {
  TreeNode list = yaml_sequence();
  for (const ServicePort& port : ports) {
    TreeNode item = yaml_mapping();
    if (!port.name.empty()) yaml_set(item, "name", yaml_string(port.name));
    yaml_set(item, "protocol", yaml_string(protocol_text(port.protocol)));
    yaml_set(item, "port", yaml_plain(std::to_string(port.port)));
    const bool digits = port.target.find_first_not_of("0123456789") == std::string::npos;
    if (!port.target.empty())
      yaml_set(item, "targetPort", digits ? yaml_plain(port.target) : yaml_string(port.target));
    list.children.push_back(std::move(item));
  }
  return list;
}

}  // namespace

std::string to_yaml(const Service& service) {
  constexpr std::array<const char*, 3> policies = {"SingleStack", "PreferDualStack", "RequireDualStack"};
  TreeNode root = object_node("v1", "Service", service.name, service.labels);
  TreeNode annotations = annotations_node(service);
  if (!annotations.keys.empty()) yaml_set(root.children.back(), "annotations", std::move(annotations));
  TreeNode& spec = yaml_set(root, "spec", yaml_mapping());
  yaml_set(spec, "type", yaml_string(service.type));
  if (!service.load_balancer_class.empty())
    yaml_set(spec, "loadBalancerClass", yaml_string(service.load_balancer_class));
  if (!service.ports.empty()) yaml_set(spec, "ports", ports_node(service.ports));
  if (!service.selector.empty()) yaml_set(spec, "selector", labels_node(service.selector));
  if (!service.families.empty()) {
    TreeNode& list = yaml_set(spec, "ipFamilies", yaml_sequence());
    for (const Family family : service.families)
      list.children.push_back(yaml_string(family == Family::ipv4 ? "IPv4" : "IPv6"));
  }
  if (service.family_policy != FamilyPolicy::single) {
    yaml_set(spec, "ipFamilyPolicy", yaml_string(policies[static_cast<std::size_t>(service.family_policy)]));
  }
  if (service.policy == TrafficPolicy::local) yaml_set(spec, "externalTrafficPolicy", yaml_string("Local"));
  if (service.affinity_s) {
    yaml_set(spec, "sessionAffinity", yaml_string("ClientIP"));
    TreeNode& client = yaml_set(yaml_set(spec, "sessionAffinityConfig", yaml_mapping()), "clientIP", yaml_mapping());
    yaml_set(client, "timeoutSeconds", yaml_plain(std::to_string(*service.affinity_s)));
  }
  if (!service.source_ranges.empty()) {
    std::vector<std::string> ranges;
    for (const Prefix& prefix : service.source_ranges) ranges.push_back(prefix.text());
    yaml_set(spec, "loadBalancerSourceRanges", yaml_strings(ranges));
  }
  if (service.publish_not_ready) yaml_set(spec, "publishNotReadyAddresses", yaml_plain("true"));
  if (service.health_check_port != 0) yaml_set(spec, "healthCheckNodePort", yaml_plain(std::to_string(service.health_check_port)));
  return yaml_text(root);
}

}  // namespace xlb
