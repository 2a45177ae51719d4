// SPDX-License-Identifier: Apache-2.0
// Is a backend well? Two good answers in a row say so, two bad ones the opposite; before the first answer it counts as well,
// and the first answer decides alone: a new backend must not wait, and a dead one must not be believed in twice. Pure: results
// and time are parameters.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "userspace/core/health_check.hpp"
#include "userspace/core/decide.hpp"

namespace xlb {

struct HealthPace {
  std::chrono::milliseconds interval{1000};  // from one question to the next, more or less a tenth
  std::chrono::milliseconds timeout{1000};   // no answer by then is a bad one
  int up = 2;                                // good answers in a row
  int down = 2;                              // bad ones
};

struct HealthState {
  enum class Standing : std::uint8_t { unknown, well, ill };
  Standing standing = Standing::unknown;
  int against = 0;     // answers in a row that contradict it
  std::string reason;  // of the last bad answer
  bool operator==(const HealthState&) const = default;
};

// `problem`: what was wrong with the answer; nothing: it was good.
HealthState after(HealthState state, const std::optional<std::string>& problem, const HealthPace& pace);

// When to ask again after a question was asked; `random` spreads backends and nodes, so that they are not asked in step.
std::chrono::milliseconds until_next(const HealthPace& pace, std::uint32_t random);

// What is to be asked: the backends on this node of services that have a check, each once.
std::set<HealthTarget> health_targets(const SharedList<DesiredService>& services, const std::string& node);

// The status of an HTTP answer ("HTTP/1.1 204 No Content\r\n…"); nothing: it is none.
std::optional<std::uint16_t> http_status(std::string_view answer);
std::string http_request(const HealthTarget& target);
// What is wrong with that status; nothing: it is expected.
std::optional<std::string> status_problem(const HealthCheck& check, std::uint16_t status);

}  // namespace xlb
