// SPDX-License-Identifier: Apache-2.0
// EndpointSlice (discovery.k8s.io/v1) and Node (v1): where backends are.
#include <utility>

#include "userspace/core/object_fields.hpp"
#include "userspace/core/text.hpp"

namespace xlb {

namespace {

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

EndpointSlice read_slice(const ObjectName& name, Reading& reading) {
  const Field root = reading.root();
  EndpointSlice slice;
  slice.name = name;
  const Field labels = root["metadata"]["labels"];
  slice.service = labels[kServiceNameLabel].text();
  if (slice.service.empty()) {
    labels[kServiceNameLabel].warn("missing: this EndpointSlice belongs to no Service, and is not used");
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

Node read_node(const ObjectName& name, Reading& reading) {
  const Field root = reading.root();
  Node node;
  node.name = name.name;
  node.labels = read_labels(root["metadata"]["labels"]);
  for (const Field& item : root["status"]["addresses"].items()) {
    if (item["type"].text() != "InternalIP") continue;
    if (const auto address = read_address(item["address"])) node.addresses.push_back(*address);
  }
  for (const Field& item : root["status"]["conditions"].items()) {
    if (item["type"].text() == "NetworkUnavailable" && item["status"].text() == "True")
      node.network_unavailable = true;
  }
  node.cordoned = root["spec"]["unschedulable"].boolean(false);
  return node;
}

}  // namespace xlb
