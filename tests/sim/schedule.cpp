// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/schedule.hpp"

#include <algorithm>
#include <string>
#include <utility>

namespace xlb::sim {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class Maker {
 public:
  explicit Maker(std::uint64_t seed) : random_(seed) { scenario_.name = "seed " + std::to_string(seed); }

  Scenario make() {
    people();
    for (const std::string& node : scenario_.nodes) {
      const Time at = one_in(2) ? Time{} : between(random_, Time{}, seconds(2));
      say(at, "on", {node});
    }
    Time now = seconds(3);
    for (std::size_t left = 3 + below(12); left != 0; --left) {
      now += pause();
      misfortune(now);
    }
    for (const Action& action : scenario_.actions) now = std::max(now, action.at);
    now += pause();
    say(now, "repair", {});
    scenario_.quiet_end = true;
    scenario_.end = now + scenario_.settings.join_listen + scenario_.settings.fail_back_delay + seconds(2);
    std::stable_sort(scenario_.actions.begin(), scenario_.actions.end(),
                     [](const Action& a, const Action& b) { return a.at < b.at; });
    return std::move(scenario_);
  }

 private:
  std::size_t below(std::size_t limit) { return random_() % limit; }
  bool one_in(std::size_t count) { return below(count) == 0; }
  Time pause() {
    return one_in(3) ? between(random_, milliseconds(1), milliseconds(150))
                     : between(random_, milliseconds(50), seconds(3));
  }
  const std::string& node() { return scenario_.nodes[below(scenario_.nodes.size())]; }
  // Two that differ.
  std::pair<std::string, std::string> pair() {
    const std::size_t a = below(scenario_.nodes.size());
    const std::size_t b = (a + 1 + below(scenario_.nodes.size() - 1)) % scenario_.nodes.size();
    return {scenario_.nodes[a], scenario_.nodes[b]};
  }

  void people() {
    const std::size_t count = 2 + below(4);
    for (std::size_t i = 1; i <= count; ++i) scenario_.nodes.push_back("pi" + std::to_string(i));
    for (std::size_t vip = 0; vip < 1 + below(3); ++vip) {
      ScenarioVip made{"192.168.0." + std::to_string(200 + vip), scenario_.nodes};
      std::shuffle(made.order.begin(), made.order.end(), random_);
      scenario_.vips.push_back(std::move(made));
    }
    if (one_in(4)) scenario_.settings = ClusterSettings::fast();
    scenario_.settings.fail_back_delay = between(random_, seconds(2), seconds(4));
    scenario_.settings.lease = between(random_, seconds(1), seconds(5));
  }

  void say(Time at, const std::string& verb, std::vector<std::string> words) {
    scenario_.actions.push_back({at, verb, std::move(words), Time{}});
  }
  // Something, and its end; they may overlap with anything.
  void spell(Time at, const std::string& verb, const std::string& end, const std::string& node) {
    say(at, verb, {node});
    if (!one_in(5)) say(at + pause() + pause(), end, {node});
  }

  void misfortune(Time at) {
    switch (below(14)) {
      case 0:
        return spell(at, "off", "on", node());
      case 1:
        return spell(at, "kill", "start", node());
      case 2: {
        const std::string which = node();
        say(at, "stop", {which});
        return say(at + pause() + (one_in(2) ? seconds(3) : Time{}), "cont", {which});
      }
      case 3:
        return spell(at, "cut", "heal", node());
      case 4:
        return cut_one_way(at);
      case 5: {
        const auto [a, b] = pair();
        say(at, "cut", {a, one_in(2) ? "=" : ">", b});
        return say(at + pause() + pause(), "heal", {a, "=", b});
      }
      case 6:
        return split(at);
      case 7:
        say(at, "switch", {"off"});
        return say(at + pause(), "switch", {"on"});
      case 8:
        say(at, "loss", {std::to_string(1 + below(5))});
        return say(at + pause() + pause(), "loss", {"0"});
      case 9:
        say(at, "busy", {std::to_string(1 + below(15))});
        return say(at + pause() + pause(), "busy", {"0"});
      case 10: {
        const std::string which = node();
        const std::string vip = scenario_.vips[below(scenario_.vips.size())].address;
        say(at, "unfit", {which, vip});
        if (!one_in(3)) say(at + pause() + pause(), "eligible", {which, vip});
        return;
      }
      case 11:
        return spell(at, "drain", "undrain", node());
      case 12:
        return say(at, "jump", {node(), std::to_string(below(8000))});
      default:  // two at once
        misfortune(at);
        return misfortune(at);
    }
  }

  void cut_one_way(Time at) {
    const std::string which = node();
    say(at, "cut", {which, one_in(2) ? "sending" : "receiving"});
    if (!one_in(5)) say(at + pause() + pause(), "heal", {which});
  }

  void split(Time at) {
    std::vector<std::string> words, sides[2];
    for (const std::string& node : scenario_.nodes) sides[below(2)].push_back(node);
    for (std::size_t c = 1; c <= scenario_.clients; ++c) sides[below(2)].push_back("c" + std::to_string(c));
    sides[below(2)].push_back("gateway");
    words = sides[0];
    words.push_back("|");
    words.insert(words.end(), sides[1].begin(), sides[1].end());
    say(at, "split", words);
    std::erase(words, "|");
    if (!one_in(5)) say(at + pause() + pause(), "split", words);
  }

  Random random_;
  Scenario scenario_;
};

}  // namespace

Scenario random_schedule(std::uint64_t seed) {
  return Maker(seed).make();
}

}  // namespace xlb::sim
