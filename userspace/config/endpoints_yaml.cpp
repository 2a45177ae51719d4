// SPDX-License-Identifier: Apache-2.0
// EndpointSlice (discovery.k8s.io/v1) and Node (v1) as text.
#include <utility>

#include "userspace/config/kinds.hpp"

namespace xlb {

std::string to_yaml(const EndpointSlice& slice) {
  Labels labels;
  if (!slice.service.empty()) labels[std::string(kServiceNameLabel)] = slice.service;
  TreeNode root = object_node("discovery.k8s.io/v1", "EndpointSlice", slice.name, labels);
  const bool ipv6 = !slice.endpoints.empty() && !slice.endpoints.front().addresses.empty() &&
                    slice.endpoints.front().addresses.front().family() == Family::ipv6;
  yaml_set(root, "addressType", yaml_string(ipv6 ? "IPv6" : "IPv4"));
  TreeNode ports = yaml_sequence();
  for (const EndpointPort& port : slice.ports) {
    TreeNode item = yaml_mapping();
    if (!port.name.empty()) yaml_set(item, "name", yaml_string(port.name));
    yaml_set(item, "protocol", yaml_string(protocol_text(port.protocol)));
    yaml_set(item, "port", yaml_plain(std::to_string(port.port)));
    ports.children.push_back(std::move(item));
  }
  if (!ports.children.empty()) yaml_set(root, "ports", std::move(ports));
  TreeNode& endpoints = yaml_set(root, "endpoints", yaml_sequence());
  for (const Endpoint& endpoint : slice.endpoints) {
    TreeNode item = yaml_mapping();
    std::vector<std::string> addresses;
    for (const Address& address : endpoint.addresses) addresses.push_back(address.text());
    yaml_set(item, "addresses", yaml_strings(addresses));
    TreeNode& conditions = yaml_set(item, "conditions", yaml_mapping());
    yaml_set(conditions, "ready", yaml_plain(endpoint.ready ? "true" : "false"));
    yaml_set(conditions, "serving", yaml_plain(endpoint.serving ? "true" : "false"));
    yaml_set(conditions, "terminating", yaml_plain(endpoint.terminating ? "true" : "false"));
    if (!endpoint.node.empty()) yaml_set(item, "nodeName", yaml_string(endpoint.node));
    endpoints.children.push_back(std::move(item));
  }
  return yaml_text(root);
}

std::string to_yaml(const Node& node) {
  TreeNode root = object_node("v1", "Node", {"", node.name}, node.labels);
  if (node.cordoned) {
    TreeNode spec = yaml_mapping();
    yaml_set(spec, "unschedulable", yaml_plain("true"));
    yaml_set(root, "spec", std::move(spec));
  }
  TreeNode status = yaml_mapping();
  if (!node.addresses.empty()) {
    TreeNode& list = yaml_set(status, "addresses", yaml_sequence());
    for (const Address& address : node.addresses) {
      TreeNode item = yaml_mapping();
      yaml_set(item, "type", yaml_string("InternalIP"));
      yaml_set(item, "address", yaml_string(address.text()));
      list.children.push_back(std::move(item));
    }
  }
  if (node.network_unavailable) {
    TreeNode condition = yaml_mapping();
    yaml_set(condition, "type", yaml_string("NetworkUnavailable"));
    yaml_set(condition, "status", yaml_string("True"));
    yaml_set(status, "conditions", yaml_sequence()).children.push_back(std::move(condition));
  }
  if (!status.keys.empty()) yaml_set(root, "status", std::move(status));
  return yaml_text(root);
}

}  // namespace xlb
