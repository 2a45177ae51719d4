// SPDX-License-Identifier: Apache-2.0
// Serves the `spec.healthCheckNodePort` of each Service that has one, on every address of the node, where no kube-proxy does.
//
// Two can not have one port, and kube-proxy comes first: as long as somebody listens at its own health port, nothing is served here,
// and what was is given up. It binds what it misses with its next change, after half a minute at the latest. A port that somebody
// else has is asked for again every second (docs/decisions/0021).
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/core/service_health.hpp"
#include "userspace/daemon/http_server.hpp"
#include "userspace/daemon/loop.hpp"

namespace xlb {

// What kube-proxy says: 200, or 503 without endpoints or when flows are not forwarded (`forwards`); any path will do.
std::string service_health_response(std::string_view request, const ServiceHealth& health, bool forwards);

struct ServiceHealthPace {
  std::chrono::milliseconds look{1'000};   // for kube-proxy, and for ports that somebody else has
  std::chrono::milliseconds absent{5'000};  // kube-proxy, before we take its place: it may just be replaced, or still to come
};

class ServiceHealthPorts {
 public:
  struct Outside {
    std::function<bool()> kube_proxy;  // is it there?
    // A port was taken or given up (`why`), or cannot be had. Once, not at every try.
    std::function<void(const ServiceHealth&, bool served, const std::string& why)> told;
  };
  ServiceHealthPorts(Loop& loop, ServiceHealthPace pace, Outside outside);
  ServiceHealthPorts(const ServiceHealthPorts&) = delete;
  ServiceHealthPorts& operator=(const ServiceHealthPorts&) = delete;
  ~ServiceHealthPorts();

  // What is to be served from now on; `forwards`: the programs are attached.
  void follow(const std::vector<ServiceHealth>& services, bool forwards);

 private:
  struct Port {
    ServiceHealth health;
    std::unique_ptr<HttpServer> server;
    std::string obstacle;  // as it was told
  };
  void look();
  void open(Port& port);
  void give_up(Port& port, const std::string& why);

  Loop& loop_;
  const ServiceHealthPace pace_;
  Outside outside_;
  bool forwards_ = false;
  Loop::Clock::time_point seen_;  // kube-proxy; at the start it counts as seen
  Loop::Timer timer_ = 0;
  std::map<ObjectName, Port> ports_;
};

}  // namespace xlb
