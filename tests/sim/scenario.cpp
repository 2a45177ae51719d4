// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/scenario.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <sstream>

namespace xlb::sim {
namespace {

// Verbs and the number of words that they take, at least and at most.
struct Shape {
  std::size_t least = 0;
  std::size_t most = 0;
};
const std::map<std::string, Shape> kVerbs = {
    {"on", {1, 99}},     {"off", {1, 99}},          {"kill", {1, 99}},    {"start", {1, 99}},   {"stop", {1, 99}},
    {"cont", {1, 99}},   {"drain", {1, 99}},        {"undrain", {1, 99}}, {"eligible", {1, 2}}, {"unfit", {1, 2}},
    {"jump", {2, 2}},    {"configuration", {2, 2}}, {"cut", {1, 3}},      {"heal", {0, 3}},     {"split", {1, 99}},
    {"switch", {1, 1}},  {"loss", {1, 1}},          {"busy", {1, 1}},     {"silent", {1, 1}},   {"repair", {0, 0}},
    {"measure", {0, 0}}, {"owner", {2, 2}}};
// These may name several nodes, each of which it happens to.
const std::set<std::string> kEach = {"on", "off", "kill", "start", "stop", "cont", "drain", "undrain"};

std::optional<Time> parse_time(const std::string& word) {
  std::size_t used = 0;
  double value = 0;
  try {
    value = std::stod(word, &used);
  } catch (const std::exception&) {
    return std::nullopt;
  }
  const std::string unit = word.substr(used);
  if (unit != "s" && unit != "ms") return std::nullopt;
  return std::chrono::duration_cast<Time>(
      std::chrono::duration<double, std::milli>(unit == "s" ? value * 1000 : value));
}

std::vector<std::string> split(const std::string& line) {
  std::istringstream in(line.substr(0, line.find('#')));
  std::vector<std::string> words;
  for (std::string word; in >> word;) words.push_back(word);
  return words;
}

class Reader {
 public:
  explicit Reader(const std::string& name) { scenario_.name = name; }

  Result<Scenario> read(const std::string& text) {
    std::istringstream in(text);
    std::string line;
    for (std::size_t number = 1; std::getline(in, line); ++number) {
      if (scenario_.title.empty() && line.starts_with("# ") && !line.starts_with("# SPDX"))
        scenario_.title = line.substr(2);
      const std::vector<std::string> words = split(line);
      if (words.empty()) continue;
      const std::string wrong = read(words);
      if (!wrong.empty()) return Error{"line " + std::to_string(number) + ": " + wrong}.in(scenario_.name);
    }
    if (scenario_.nodes.empty() || scenario_.vips.empty()) return Error{"has no nodes or no vip"}.in(scenario_.name);
    std::stable_sort(scenario_.actions.begin(), scenario_.actions.end(),
                     [](const Action& a, const Action& b) { return a.at < b.at; });
    if (scenario_.end == Time{}) {
      scenario_.end = scenario_.actions.empty() ? Time{} : scenario_.actions.back().at + std::chrono::seconds(5);
    }
    return std::move(scenario_);
  }

 private:
  // What is wrong with the line; empty: nothing.
  std::string read(const std::vector<std::string>& words) {
    const std::size_t tilde = words[0].find('~');
    if (const auto at = parse_time(words[0].substr(0, tilde))) {
      const auto jitter = tilde == std::string::npos ? Time{} : parse_time(words[0].substr(tilde + 1));
      return jitter ? action(*at, *jitter, words) : "\"" + words[0] + "\" is no time";
    }
    const std::string& word = words[0];
    const std::vector<std::string> rest(words.begin() + 1, words.end());
    if (word == "quiet") {
      scenario_.quiet_end = true;
    } else if (rest.empty()) {
      return "\"" + word + "\" says nothing";
    } else if (word == "nodes") {
      scenario_.nodes = rest;
    } else if (word == "vip") {
      scenario_.vips.push_back({rest[0], {rest.begin() + 1, rest.end()}});
      if (scenario_.vips.back().order.empty()) scenario_.vips.back().order = scenario_.nodes;
    } else if (word == "clients") {
      scenario_.clients = std::stoul(rest[0]);
    } else if (word == "seeds") {
      scenario_.seeds = std::stoul(rest[0]);
    } else if (word == "profile") {
      if (rest[0] == "fast") scenario_.settings = ClusterSettings::fast();
    } else if (word == "set") {
      return setting(rest);
    } else if (word == "end") {
      const auto end = parse_time(rest[0]);
      if (!end) return "\"" + rest[0] + "\" is no time";
      scenario_.end = *end;
    } else if (word == "expect") {
      return expectation(rest);
    } else {
      return "\"" + word + "\" is no word of a scenario";
    }
    return "";
  }

  std::string setting(const std::vector<std::string>& words) {
    const auto time = words.size() == 2 ? parse_time(words[1]) : std::nullopt;
    if (!time) return "set NAME TIME";
    if (words[0] == "fail_back_delay") {
      scenario_.settings.fail_back_delay = *time;
    } else if (words[0] == "lease") {
      scenario_.settings.lease = *time;
    } else {
      return "\"" + words[0] + "\" is no setting";
    }
    return "";
  }

  std::string expectation(const std::vector<std::string>& words) {
    if (words.size() != 3 || words[1] != "<=") return "expect FIGURE <= LIMIT";
    const auto time = parse_time(words[2]);
    const double limit = time ? std::chrono::duration<double, std::milli>(*time).count() : std::stod(words[2]);
    scenario_.expectations.push_back({words[0], limit});
    return "";
  }

  std::string action(Time at, Time jitter, const std::vector<std::string>& words) {
    if (words.size() < 2) return "nothing happens then";
    const auto verb = kVerbs.find(words[1]);
    if (verb == kVerbs.end()) return "\"" + words[1] + "\" cannot happen";
    Action action{at, words[1], {words.begin() + 2, words.end()}, jitter};
    if (action.words.size() < verb->second.least || action.words.size() > verb->second.most) {
      return "\"" + words[1] + "\" takes " + std::to_string(verb->second.least) + " words or more";
    }
    if (!kEach.contains(action.verb)) {
      scenario_.actions.push_back(std::move(action));
      return "";
    }
    for (const std::string& node : action.words) {
      if (std::find(scenario_.nodes.begin(), scenario_.nodes.end(), node) == scenario_.nodes.end()) {
        return "\"" + node + "\" is no node";
      }
      scenario_.actions.push_back({at, action.verb, {node}, jitter});
    }
    return "";
  }

  Scenario scenario_;
};

}  // namespace

std::string text(Time time) {
  std::ostringstream out;
  out.precision(12);
  out << std::chrono::duration<double>(time).count() << "s";
  return out.str();
}

std::string Action::text() const {
  std::string line = sim::text(at) + " " + verb;
  for (const std::string& word : words) line += " " + word;
  return line;
}

Result<Scenario> parse_scenario(const std::string& name, const std::string& text) {
  return Reader(name).read(text);
}

std::string text(const Scenario& scenario) {
  std::string out = "nodes";
  for (const std::string& node : scenario.nodes) out += " " + node;
  out += "\nclients " + std::to_string(scenario.clients) + "\n";
  for (const ScenarioVip& vip : scenario.vips) {
    out += "vip " + vip.address;
    for (const std::string& node : vip.order) out += " " + node;
    out += "\n";
  }
  if (scenario.settings.echo_interval == ClusterSettings::fast().echo_interval) out += "profile fast\n";
  out += "set fail_back_delay " + text(scenario.settings.fail_back_delay) + "\n";
  out += "set lease " + text(scenario.settings.lease) + "\n";
  if (scenario.quiet_end) out += "quiet\n";
  for (const Action& action : scenario.actions) out += action.text() + "\n";
  return out + "end " + text(scenario.end) + "\n";
}

}  // namespace xlb::sim
