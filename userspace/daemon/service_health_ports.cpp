// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/service_health_ports.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

namespace xlb {

namespace {

const std::string kProxyServes = "kube-proxy is there";

}  // namespace

std::string service_health_response(std::string_view request, const ServiceHealth& health, bool forwards) {
  return http_response(request, [&](std::string_view) -> HttpAnswer {
    const nlohmann::ordered_json said = {{"service", {{"namespace", health.service.ns}, {"name", health.service.name}}},
                                         {"localEndpoints", health.local_endpoints},
                                         {"serviceProxyHealthy", forwards}};
    return {health.local_endpoints != 0 && forwards ? "200 OK" : "503 Service Unavailable", "application/json", said.dump() + "\n",
            "X-Content-Type-Options: nosniff\r\nX-Load-Balancing-Endpoint-Weight: " + std::to_string(health.local_endpoints) + "\r\n"};
  });
}

ServiceHealthPorts::ServiceHealthPorts(Loop& loop, ServiceHealthPace pace, Outside outside)
    : loop_(loop), pace_(pace), outside_(std::move(outside)), seen_(Loop::Clock::now()) {}

ServiceHealthPorts::~ServiceHealthPorts() { loop_.cancel(timer_); }

void ServiceHealthPorts::follow(const std::vector<ServiceHealth>& services, bool forwards) {
  forwards_ = forwards;
  std::map<ObjectName, Port> before = std::exchange(ports_, {});
  for (const ServiceHealth& health : services) {
    Port& port = ports_[health.service];
    const auto known = before.find(health.service);
    if (known != before.end() && known->second.health.port == health.port) port = std::move(known->second);
    port.health = health;
  }
  for (auto& [name, port] : before) {
    if (port.server) give_up(port, "nobody asks for it any more");
  }
  look();
}

void ServiceHealthPorts::look() {
  loop_.cancel(timer_);
  if (ports_.empty()) return;
  const auto now = Loop::Clock::now();
  const bool there = outside_.kube_proxy();
  if (there) seen_ = now;
  for (auto& [name, port] : ports_) {
    if (there && port.server) give_up(port, kProxyServes);
    if (!there && !port.server && now - seen_ >= pace_.absent) open(port);
  }
  timer_ = loop_.at(now + pace_.look, [this] { look(); });
}

void ServiceHealthPorts::open(Port& port) {
  const Address everywhere;  // ::
  const auto respond = [this, name = port.health.service](std::string_view request) {
    return service_health_response(request, ports_.at(name).health, forwards_);
  };
  auto server = HttpServer::open(loop_, {everywhere, port.health.port}, respond);
  if (server) {
    port.server = std::move(*server);
    port.obstacle.clear();
    outside_.told(port.health, true, "");
  } else if (std::exchange(port.obstacle, server.error().text) != server.error().text) {
    outside_.told(port.health, false, server.error().text);
  }
}

void ServiceHealthPorts::give_up(Port& port, const std::string& why) {
  port.server.reset();
  outside_.told(port.health, false, why);
}

}  // namespace xlb
