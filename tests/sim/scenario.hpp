// SPDX-License-Identifier: Apache-2.0
// A story as text: who is there, what happens when, what is expected. README.md has the words.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tests/sim/network.hpp"
#include "userspace/core/cluster_settings.hpp"
#include "userspace/core/result.hpp"

namespace xlb::sim {

struct Action {
  Time at{};
  std::string verb;
  std::vector<std::string> words;
  Time jitter{};  // up to so much later, by chance
  [[nodiscard]] std::string text() const;
};

struct ScenarioVip {
  std::string address;
  std::vector<std::string> order;  // names of nodes, best rank first
};

// A figure of the referee (referee.hpp) that is at most so much, in the worst of all runs.
struct Expectation {
  std::string figure;
  double limit = 0;  // milliseconds, or a count
};

struct Scenario {
  std::string name;
  std::string title;  // its first comment
  std::vector<std::string> nodes;
  std::size_t clients = 2;
  std::vector<ScenarioVip> vips;
  ClusterSettings settings;
  std::size_t seeds = 50;
  Time end{};
  bool quiet_end = false;       // everything is repaired before the end: agreement and best rank are demanded
  std::vector<Action> actions;  // by time
  std::vector<Expectation> expectations;
};

Result<Scenario> parse_scenario(const std::string& name, const std::string& text);
std::string text(const Scenario& scenario);
std::string text(Time time);

}  // namespace xlb::sim
