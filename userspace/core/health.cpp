// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/health.hpp"

namespace xlb {

HealthState after(HealthState state, const std::optional<std::string>& problem, const HealthPace& pace) {
  using Standing = HealthState::Standing;
  const Standing said = problem ? Standing::ill : Standing::well;
  if (problem) state.reason = *problem;
  if (said == state.standing) {
    state.against = 0;
    return state;
  }
  ++state.against;
  const int needed = state.standing == Standing::unknown ? 1 : said == Standing::well ? pace.up : pace.down;
  if (state.against < needed) return state;
  state.standing = said;
  state.against = 0;
  if (said == Standing::well) state.reason.clear();
  return state;
}

std::chrono::milliseconds until_next(const HealthPace& pace, std::uint32_t random) {
  const auto tenth = pace.interval.count() / 10;
  if (tenth == 0) return pace.interval;
  return pace.interval - std::chrono::milliseconds(tenth) + std::chrono::milliseconds(random % (2 * tenth + 1));
}

std::set<HealthTarget> health_targets(const SharedList<DesiredService>& services, const std::string& node) {
  std::set<HealthTarget> targets;
  for (const DesiredService& service : services) {
    if (!service.health) continue;
    for (const DesiredPort& port : service.ports)
      for (const DesiredBackend& backend : port.backends)
        if (backend.node == node) targets.insert(health_target(*service.health, backend.address, backend.port));
  }
  return targets;
}

std::optional<std::uint16_t> http_status(std::string_view answer) {
  // RFC 9112, 4: HTTP-version SP status-code SP [ reason-phrase ]
  if (!answer.starts_with("HTTP/1.") || answer.size() < 13 || answer[8] != ' ') return std::nullopt;
  if (answer[12] != ' ' && answer[12] != '\r' && answer[12] != '\n') return std::nullopt;
  std::uint16_t status = 0;
  for (const char c : answer.substr(9, 3)) {
    if (c < '0' || c > '9') return std::nullopt;
    status = static_cast<std::uint16_t>(status * 10 + (c - '0'));
  }
  if (status < 100) return std::nullopt;
  return status;
}

std::string http_request(const HealthTarget& target) {
  const std::string host =
      target.address.family() == Family::ipv4 ? target.address.text() : "[" + target.address.text() + "]";
  return "GET " + target.check.path + " HTTP/1.1\r\nHost: " + host + ":" + std::to_string(target.port) +
         "\r\nUser-Agent: xdp-lb\r\nAccept: */*\r\nConnection: close\r\n\r\n";
}

std::optional<std::string> status_problem(const HealthCheck& check, std::uint16_t status) {
  const bool good = check.status == 0 ? status >= 200 && status < 400 : status == check.status;
  if (good) return std::nullopt;
  return "answered " + std::to_string(status) + ", not " + (check.status == 0 ? "200 to 399" : std::to_string(check.status));
}

}  // namespace xlb
