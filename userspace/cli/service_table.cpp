// SPDX-License-Identifier: Apache-2.0
#include "userspace/cli/service_table.hpp"

#include <ostream>

namespace xlb {

void print_services(std::ostream& out, const Json& services, bool wide) {
  Table table({{"SERVICE"}, {"VIP"}, {"PORTS"}, {"BACKENDS"}, {"REASON", true}});
  for (const Json& service : services) {
    std::vector<std::string> ports;
    for (const Json& port : service.at("ports")) ports.push_back(port.at("port").dump() + "/" + port.at("protocol").get<std::string>());
    std::size_t healthy = 0;
    for (const Json& backend : service.at("backends")) healthy += backend.at("healthy").get<bool>() ? 1u : 0u;
    const std::size_t all = service.at("backends").size();
    const auto vip = service.at("vip").get<std::string>();
    table.row({service.at("name").get<std::string>(), Cell(vip.empty() ? "<pending>" : vip, vip.empty() ? Tone::bad : Tone::plain),
               joined(ports, ","),
               Cell(std::to_string(healthy) + "/" + std::to_string(all), healthy == all && all > 0 ? Tone::good : Tone::bad),
               service.at("reason").get<std::string>()});
  }
  table.print(out, wide, colour_wanted());
}

void print_backends(std::ostream& out, const Json& services, bool wide) {
  Table table({{"BACKEND"}, {"PORT", false, true}, {"PROTOCOL"}, {"SERVICE"}, {"NODE"}, {"PATH"}, {"HEALTHY"}, {"INTERFACE", true}, {"REASON", true}});
  for (const Json& service : services)
    for (const Json& backend : service.at("backends")) {
      const bool healthy = backend.at("healthy").get<bool>();
      table.row({backend.at("address").get<std::string>(), backend.at("port").dump(), backend.at("protocol").get<std::string>(),
                 service.at("name").get<std::string>(), backend.at("node").get<std::string>(), backend.at("path").get<std::string>(),
                 Cell(healthy ? "yes" : "no", healthy ? Tone::good : Tone::bad), backend.at("interface").get<std::string>(),
                 backend.at("reason").get<std::string>()});
    }
  if (!table.empty()) table.print(out, wide, colour_wanted());
}

}  // namespace xlb
