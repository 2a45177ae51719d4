// SPDX-License-Identifier: Apache-2.0
#include "userspace/cli/service_arguments.hpp"

#include <algorithm>
#include <charconv>

namespace xlb {

namespace {

std::optional<std::uint32_t> number(std::string_view text, std::uint32_t least, std::uint32_t most) {
  std::uint32_t value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size() || value < least || value > most) return std::nullopt;
  return value;
}

// Unique in the service; Kubernetes wants a name as soon as there are two.
std::string port_name(const PortSpec& port) {
  return (port.protocol == Protocol::tcp ? "tcp-" : "udp-") + std::to_string(port.port);
}

const char* family_suffix(Family family) { return family == Family::ipv4 ? "ipv4" : "ipv6"; }

}  // namespace

Result<PortSpec> parse_port(const std::string& text) {
  const auto wrong = [&](const std::string& why) {
    return Error{"--port \"" + text + "\": " + why + ": expected PORT[:TARGET][/tcp|/udp] with ports of 1 to 65535"};
  };
  PortSpec spec;
  std::string_view rest = text;
  if (const auto slash = rest.find('/'); slash != std::string_view::npos) {
    const std::string_view protocol = rest.substr(slash + 1);
    if (protocol == "udp")
      spec.protocol = Protocol::udp;
    else if (protocol != "tcp")
      return wrong("unknown protocol");
    rest = rest.substr(0, slash);
  }
  const auto colon = rest.find(':');
  const auto port = number(rest.substr(0, colon), 1, 65535);
  if (!port) return wrong("the port is not one");
  spec.port = spec.target = static_cast<std::uint16_t>(*port);
  if (colon != std::string_view::npos) {
    const auto target = number(rest.substr(colon + 1), 1, 65535);
    if (!target) return wrong("the backend's port is not one");
    spec.target = static_cast<std::uint16_t>(*target);
  }
  return spec;
}

Result<ServiceManifests> service_manifests(const ServiceArguments& arguments) {
  ServiceManifests result;
  Service& service = result.service;
  service.name = {arguments.ns, arguments.name};
  service.pool = arguments.pool;
  service.sharing_key = arguments.share;
  service.path = arguments.path;
  service.unknown_ports = arguments.unknown_ports;

  std::vector<EndpointPort> endpoint_ports;
  for (const std::string& text : arguments.ports) {
    auto port = parse_port(text);
    if (!port) return port.error();
    const std::string name = port_name(*port);
    service.ports.push_back({name, port->protocol, port->port, std::to_string(port->target)});
    endpoint_ports.push_back({name, port->protocol, port->target});
  }
  for (const std::string& text : arguments.vips) {
    auto vip = parse_address(text);
    if (!vip) return vip.error().in("--vip");
    service.requested.push_back(*vip);
  }
  for (const std::string& text : arguments.sources) {
    auto source = parse_prefix(text);
    if (!source) return source.error().in("--source");
    service.source_ranges.push_back(*source);
  }
  if (!arguments.affinity.empty()) {
    const auto seconds = number(arguments.affinity, 1, 86400);
    if (!seconds) return Error{"--affinity \"" + arguments.affinity + "\": expected 1 to 86400 seconds"};
    service.affinity_s = *seconds;
  }
  if (!arguments.health.empty()) {
    auto check = parse_health_check(arguments.health);
    if (!check) return check.error().in("--health");
    service.health = std::move(*check);
  }

  for (const Family family : {Family::ipv4, Family::ipv6}) {
    EndpointSlice slice;
    slice.name = {arguments.ns, arguments.name + "-" + family_suffix(family)};
    slice.service = arguments.name;
    slice.ports = endpoint_ports;
    for (const std::string& text : arguments.backends) {
      const auto at = text.find('@');
      auto address = parse_address(std::string_view(text).substr(0, at));
      if (!address) return address.error().in("--backend \"" + text + "\"");
      if (at != std::string::npos && at + 1 == text.size())
        return Error{"--backend \"" + text + "\": the node's name is missing after @"};
      if (address->family() != family) continue;
      Endpoint endpoint;
      endpoint.addresses = {*address};
      if (at != std::string::npos) endpoint.node = text.substr(at + 1);
      slice.endpoints.push_back(std::move(endpoint));
    }
    if (slice.endpoints.empty()) continue;
    service.families.push_back(family);
    result.slices.push_back(std::move(slice));
  }
  // Backends of both families: both, where the pools have both.
  if (service.families.size() == 2) service.family_policy = FamilyPolicy::prefer_dual;
  return result;
}

}  // namespace xlb
