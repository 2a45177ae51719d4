// SPDX-License-Identifier: Apache-2.0
// The words of `service add` as the objects they stand for.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "userspace/core/model.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

struct ServiceArguments {
  std::string name;
  std::string ns = "default";
  std::vector<std::string> ports;     // 80:8000/tcp
  std::vector<std::string> backends;  // 10.42.0.8 or 10.42.0.8@pi2
  std::vector<std::string> vips;
  std::string pool;
  std::string share;
  std::string affinity;  // seconds
  std::vector<std::string> sources;
  Path path = Path::automatic;
  UnknownPorts unknown_ports = UnknownPorts::reject;
  std::string health;  // http:/ready
};

struct ServiceManifests {
  Service service;
  std::vector<EndpointSlice> slices;  // one a family, as Kubernetes does it
};

struct PortSpec {
  std::uint16_t port = 0;
  std::uint16_t target = 0;
  Protocol protocol = Protocol::tcp;
};

// "80", "80:8000", "53/udp", "443:8443/tcp".
Result<PortSpec> parse_port(const std::string& text);
Result<ServiceManifests> service_manifests(const ServiceArguments& arguments);

}  // namespace xlb
