// SPDX-License-Identifier: Apache-2.0
//   xlb_sim FILE…                                   scenarios, each with many seeds; median and worst of its figures
//   xlb_sim --schedules N [--seed S] [--plant BUG]  random schedules from seed S on
//   xlb_sim --seed S --print                        the schedule of a seed, as a scenario
//   xlb_sim --seed S --trace [FILE]                 one run, with what each node thinks and why
//   xlb_sim --plants N                              each planted bug must be found within N schedules or the
//   scenarios
// The last line is `N passed, N failed, N skipped`.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/sim/schedule.hpp"
#include "tests/sim/world.hpp"

namespace xlb::sim {
namespace {

const std::map<std::string, Plant> kPlants = {{"none", Plant::none},
                                              {"lease-skipped", Plant::lease_skipped},
                                              {"epoch-not-raised", Plant::epoch_not_raised},
                                              {"delay-ignored", Plant::delay_ignored},
                                              {"not-passed-on", Plant::not_passed_on},
                                              {"deafness-ignored", Plant::deafness_ignored}};

struct Options {
  std::vector<std::string> files;
  std::size_t schedules = 0;
  std::size_t plants = 0;
  std::uint64_t seed = 1;
  Plant plant = Plant::none;
  bool print = false;
  bool trace = false;
};

struct Column {
  std::string name;
  double Figures::*figure;
};
const std::vector<Column> kColumns = {{"outage", &Figures::outage_ms},   {"unanswered", &Figures::unanswered_ms},
                                      {"doubled", &Figures::doubled_ms}, {"moves", &Figures::moves},
                                      {"losses", &Figures::losses},      {"detection", &Figures::detection_ms}};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

// What is wrong with a scenario over all its seeds; empty: nothing.
std::vector<std::string> run_scenario(const Scenario& scenario, Plant plant, bool print) {
  std::vector<std::string> wrong;
  std::map<std::string, std::vector<double>> values;
  for (std::uint64_t seed = 1; seed <= scenario.seeds; ++seed) {
    World world(scenario, seed, plant);
    world.run();
    for (const std::string& broken : world.referee().broken()) {
      if (wrong.size() < 5) wrong.push_back("run " + std::to_string(seed) + ": " + broken);
    }
    for (const Column& column : kColumns) values[column.name].push_back(world.referee().figures().*column.figure);
  }
  for (const Expectation& expectation : scenario.expectations) {
    const auto found = values.find(expectation.figure);
    if (found == values.end()) {
      wrong.push_back("\"" + expectation.figure + "\" is no figure");
      continue;
    }
    const double worst = *std::max_element(found->second.begin(), found->second.end());
    if (worst > expectation.limit) {
      std::ostringstream out;
      out << expectation.figure << " was " << worst << ", expected at most " << expectation.limit;
      wrong.push_back(out.str());
    }
  }
  if (print) {
    std::printf("%-24s", scenario.name.c_str());
    for (const Column& column : kColumns) {
      const auto& all = values[column.name];
      std::printf(" %9.1f %8.1f", median(all), *std::max_element(all.begin(), all.end()));
    }
    std::printf("   %s\n", scenario.title.c_str());
  }
  return wrong;
}

Result<Scenario> read_scenario(const std::string& path) {
  std::ifstream in(path);
  if (!in) return Error{"cannot be read"}.in(path);
  std::stringstream text;
  text << in.rdbuf();
  const std::size_t slash = path.rfind('/');
  std::string name = path.substr(slash == std::string::npos ? 0 : slash + 1);
  name = name.substr(0, name.rfind('.'));
  return parse_scenario(name, text.str());
}

// The seed of the first schedule that breaks a promise, or 0.
std::uint64_t first_broken(const Options& options, std::size_t count, Plant plant, bool print) {
  std::uint64_t found = 0;
  for (std::uint64_t seed = options.seed; seed < options.seed + count; ++seed) {
    World world(random_schedule(seed), seed, plant);
    world.run();
    if (world.referee().broken().empty()) continue;
    if (found == 0) found = seed;
    if (!print) return found;
    for (const std::string& broken : world.referee().broken()) {
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), broken.c_str());
    }
  }
  return found;
}

int run(const Options& options) {
  std::size_t passed = 0, failed = 0;
  std::vector<Scenario> scenarios;
  for (const std::string& file : options.files) {
    auto scenario = read_scenario(file);
    if (!scenario) {
      std::printf("%s\n", scenario.error().text.c_str());
      ++failed;
      continue;
    }
    scenarios.push_back(std::move(*scenario));
  }
  if (options.print) {
    std::cout << text(random_schedule(options.seed));
    return 0;
  }
  if (options.trace) {
    World world(scenarios.empty() ? random_schedule(options.seed) : scenarios[0], options.seed, options.plant);
    world.trace = true;
    world.run();
    for (const std::string& broken : world.referee().broken()) std::printf("%s\n", broken.c_str());
    return world.referee().broken().empty() ? 0 : 1;
  }
  if (options.plants == 0 && !scenarios.empty()) {
    std::printf("%-24s", "median, worst of runs");
    for (const Column& column : kColumns) std::printf(" %18s", column.name.c_str());
    std::printf("\n");
    for (const Scenario& scenario : scenarios) {
      const auto wrong = run_scenario(scenario, options.plant, true);
      for (const std::string& sentence : wrong) std::printf("  FAILED: %s\n", sentence.c_str());
      ++(wrong.empty() ? passed : failed);
    }
  }
  if (options.schedules != 0) {
    const std::uint64_t broken = first_broken(options, options.schedules, options.plant, true);
    std::printf("%zu random schedules from seed %llu: %s\n", options.schedules,
                static_cast<unsigned long long>(options.seed), broken == 0 ? "no promise was broken" : "FAILED");
    ++(broken == 0 ? passed : failed);
  }
  for (const auto& [name, plant] : kPlants) {
    if (options.plants == 0 || plant == Plant::none) continue;
    const std::uint64_t seed = first_broken(options, options.plants, plant, false);
    std::string found = seed == 0 ? "" : "by the schedule of seed " + std::to_string(seed);
    for (const Scenario& scenario : scenarios) {
      if (!run_scenario(scenario, plant, false).empty()) found += (found.empty() ? "by " : ", ") + scenario.name;
    }
    std::printf("planted %s: %s\n", name.c_str(), found.empty() ? "FAILED: not found" : ("found " + found).c_str());
    ++(found.empty() ? failed : passed);
  }
  std::printf("%zu passed, %zu failed, 0 skipped\n", passed, failed);
  return failed == 0 ? 0 : 1;
}

int usage() {
  std::cerr << "usage: xlb_sim [FILE…] [--schedules N] [--plants N] [--seed S] [--plant BUG] [--print] [--trace]\n";
  return 2;
}

int main(const std::vector<std::string>& arguments) {
  Options options;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const std::string& word = arguments[i];
    if (!word.starts_with("--")) {
      options.files.push_back(word);
    } else if (word == "--print") {
      options.print = true;
    } else if (word == "--trace") {
      options.trace = true;
    } else if (i + 1 == arguments.size()) {
      return usage();
    } else if (word == "--schedules") {
      options.schedules = std::stoull(arguments[++i]);
    } else if (word == "--plants") {
      options.plants = std::stoull(arguments[++i]);
    } else if (word == "--seed") {
      options.seed = std::stoull(arguments[++i]);
    } else if (word == "--plant" && kPlants.contains(arguments[i + 1])) {
      options.plant = kPlants.at(arguments[++i]);
    } else {
      return usage();
    }
  }
  return run(options);
}

}  // namespace
}  // namespace xlb::sim

int main(int argc, char** argv) {
  return xlb::sim::main({argv + 1, argv + argc});
}
