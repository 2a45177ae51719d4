// SPDX-License-Identifier: Apache-2.0
// What the last pass found and decided, as far as it is asked about afterwards: by /metrics and by health probes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "userspace/core/service_health.hpp"
#include "userspace/core/tables.hpp"

namespace xlb {

struct PortOfService {
  ObjectName name;  // empty name: in the tables, but not declared
  [[nodiscard]] std::string shown_name() const { return name.name.empty() ? "" : name.text(); }
  Address vip;
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
};
// By service_id: one a VIP, port and protocol.
std::map<std::uint32_t, PortOfService> ports_of_services(const Tables& tables, const Desired& desired);

struct LastPass {
  std::string node;
  bool attached = false;
  std::vector<Pool> pools;
  Assignments held;
  std::size_t conflicts = 0;
  std::vector<DesiredVip> vips;
  SharedList<DesiredService> services;
  std::map<HealthTarget, std::string> ill;
  std::vector<ServiceHealth> service_health;
  std::map<std::uint32_t, PortOfService> ports;
  struct TableSize {
    const char* table;
    std::size_t rows;
    std::size_t most;
  };
  std::vector<TableSize> tables;
};

struct Observation;
struct Judgement;
std::shared_ptr<const LastPass> last_pass(const Observation& seen, const Judgement& judged);

}  // namespace xlb
