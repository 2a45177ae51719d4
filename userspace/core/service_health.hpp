// SPDX-License-Identifier: Apache-2.0
// `spec.healthCheckNodePort`: a balancer in front of the cluster asks each node there whether it has endpoints of a Service
// with externalTrafficPolicy Local, and sends clients only to nodes that do. kube-proxy answers; without it, we do.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "userspace/core/model.hpp"

namespace xlb {

struct ServiceHealth {
  ObjectName service;
  std::uint16_t port = 0;
  // As kube-proxy counts them: ready ones, each address once. Of a service with both families the one with more counts.
  std::size_t local_endpoints = 0;
  auto operator<=>(const ServiceHealth&) const = default;
};

// By name. Whose probe fails (`ill`) is not counted: it would not get a client here.
std::vector<ServiceHealth> service_health(const Objects& objects, const std::string& node, const std::map<HealthTarget, std::string>& ill);

}  // namespace xlb
