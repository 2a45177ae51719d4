// SPDX-License-Identifier: Apache-2.0
// EndpointSlice (discovery.k8s.io/v1) and Node (v1): where backends are.
#include <utility>

#include "userspace/config/kinds.hpp"
#include "userspace/config/text.hpp"

namespace xlb {

namespace {

constexpr std::string_view kServiceName = "kubernetes.io/service-name";

// Why no backend can stand there; empty where one can.
std::string not_a_backend(const Address& address) {
  if (address.unspecified()) return "the unspecified address is nobody's";
  if (address.family() == Family::ipv4) {
    if (address.bytes[12] == 127) return "loopback: no packet from outside reaches it: write an address of the node";
    if (address.bytes[12] >= 224) return "a multicast or broadcast address";
    return {};
  }
  Address loopback;
  loopback.bytes[15] = 1;
  if (address == loopback) return "loopback: no packet from outside reaches it: write an address of the node";
  if (address.bytes[0] == 0xff) return "a multicast address";
  if (address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80)
    return "a link-local address: write a routed one";
  return {};
}

Endpoint read_endpoint(const Field& field, Family family) {
  Endpoint endpoint;
  for (const Field& item : field["addresses"].items()) {
    const std::optional<Address> address = read_address(item);
    if (!address) continue;
    if (address->family() != family) {
      item.fail(in_quotes(std::string_view(address->text())) +
                " is not of the slice's addressType: one EndpointSlice holds one family");
    }
    if (const std::string why = not_a_backend(*address); !why.empty()) {
      item.fail(in_quotes(std::string_view(address->text())) + " can be no backend: " + why);
    }
    endpoint.addresses.push_back(*address);
  }
  if (endpoint.addresses.empty()) field["addresses"].fail("missing: an endpoint has at least one address");
  const Field conditions = field["conditions"];
  endpoint.ready = conditions["ready"].boolean(true);
  endpoint.serving = conditions["serving"].boolean(endpoint.ready);
  endpoint.terminating = conditions["terminating"].boolean(false);
  endpoint.node = field["nodeName"].text();
  return endpoint;
}

}  // namespace

EndpointSlice read_slice(const ObjectId& id, Reading& reading) {
  const Field root = reading.root();
  EndpointSlice slice;
  slice.name = id.name;
  const Field labels = root["metadata"]["labels"];
  slice.service = labels[kServiceName].text();
  if (slice.service.empty()) {
    labels[kServiceName].warn("missing: this EndpointSlice belongs to no Service, and is not used");
  }
  const Field type = root["addressType"];
  if (!type.present()) type.fail("missing: write IPv4 or IPv6");
  if (type.text() == "FQDN") type.fail("FQDN is not supported: write IPv4 or IPv6, and addresses");
  const Family family = type.word({"IPv4", "IPv6"}, 0) == 0 ? Family::ipv4 : Family::ipv6;
  for (const Field& item : root["ports"].items()) {
    slice.ports.push_back({item["name"].text(), read_protocol(item["protocol"]), read_port(item["port"])});
  }
  for (const Field& item : root["endpoints"].items()) slice.endpoints.push_back(read_endpoint(item, family));
  return slice;
}

Node read_node(const ObjectId& id, Reading& reading) {
  const Field root = reading.root();
  Node node;
  node.name = id.name.name;
  node.labels = read_labels(root["metadata"]["labels"]);
  for (const Field& item : root["status"]["addresses"].items()) {
    if (item["type"].text() != "InternalIP") continue;
    if (const auto address = read_address(item["address"])) node.addresses.push_back(*address);
  }
  for (const Field& item : root["status"]["conditions"].items()) {
    if (item["type"].text() == "NetworkUnavailable" && item["status"].text() == "True")
      node.network_unavailable = true;
  }
  return node;
}

std::string to_yaml(const EndpointSlice& slice) {
  Labels labels;
  if (!slice.service.empty()) labels[std::string(kServiceName)] = slice.service;
  YamlNode root = object_node("discovery.k8s.io/v1", "EndpointSlice", slice.name, labels);
  const bool ipv6 = !slice.endpoints.empty() && !slice.endpoints.front().addresses.empty() &&
                    slice.endpoints.front().addresses.front().family() == Family::ipv6;
  yaml_set(root, "addressType", yaml_string(ipv6 ? "IPv6" : "IPv4"));
  YamlNode ports = yaml_sequence();
  for (const EndpointPort& port : slice.ports) {
    YamlNode item = yaml_mapping();
    if (!port.name.empty()) yaml_set(item, "name", yaml_string(port.name));
    yaml_set(item, "protocol", yaml_string(protocol_text(port.protocol)));
    yaml_set(item, "port", yaml_plain(std::to_string(port.port)));
    ports.children.push_back(std::move(item));
  }
  if (!ports.children.empty()) yaml_set(root, "ports", std::move(ports));
  YamlNode& endpoints = yaml_set(root, "endpoints", yaml_sequence());
  for (const Endpoint& endpoint : slice.endpoints) {
    YamlNode item = yaml_mapping();
    std::vector<std::string> addresses;
    for (const Address& address : endpoint.addresses) addresses.push_back(address.text());
    yaml_set(item, "addresses", yaml_strings(addresses));
    YamlNode& conditions = yaml_set(item, "conditions", yaml_mapping());
    yaml_set(conditions, "ready", yaml_plain(endpoint.ready ? "true" : "false"));
    yaml_set(conditions, "serving", yaml_plain(endpoint.serving ? "true" : "false"));
    yaml_set(conditions, "terminating", yaml_plain(endpoint.terminating ? "true" : "false"));
    if (!endpoint.node.empty()) yaml_set(item, "nodeName", yaml_string(endpoint.node));
    endpoints.children.push_back(std::move(item));
  }
  return yaml_text(root);
}

std::string to_yaml(const Node& node) {
  YamlNode root = object_node("v1", "Node", {"", node.name}, node.labels);
  YamlNode status = yaml_mapping();
  if (!node.addresses.empty()) {
    YamlNode& list = yaml_set(status, "addresses", yaml_sequence());
    for (const Address& address : node.addresses) {
      YamlNode item = yaml_mapping();
      yaml_set(item, "type", yaml_string("InternalIP"));
      yaml_set(item, "address", yaml_string(address.text()));
      list.children.push_back(std::move(item));
    }
  }
  if (node.network_unavailable) {
    YamlNode condition = yaml_mapping();
    yaml_set(condition, "type", yaml_string("NetworkUnavailable"));
    yaml_set(condition, "status", yaml_string("True"));
    yaml_set(status, "conditions", yaml_sequence()).children.push_back(std::move(condition));
  }
  if (!status.keys.empty()) yaml_set(root, "status", std::move(status));
  return yaml_text(root);
}

}  // namespace xlb
