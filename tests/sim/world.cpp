// SPDX-License-Identifier: Apache-2.0
#include "tests/sim/world.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace xlb::sim {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kLook = milliseconds(5);
constexpr auto kQuery = seconds(1);  // between ARP requests of a client that gets nowhere

double percent(const std::string& word) {
  return std::stod(word) / 100;
}

}  // namespace

World::World(const Scenario& scenario, std::uint64_t seed, Plant plant)
    : scenario_(scenario),
      plant_(plant),
      random_(seed * 0x9e3779b97f4a7c15ULL + 1),
      network_(scenario.nodes.size() + scenario.clients + 1),
      clients_(scenario.clients),
      referee_(*this) {
  for (Client& client : clients_) {
    client.cache.resize(scenario_.vips.size());
    client.next_query.resize(scenario_.vips.size());
  }
  for (const std::string& name : scenario_.nodes)
    nodes_.push_back(std::make_unique<Node>(*this, nodes_.size(), name));
}

void World::run() {
  const auto later = [](Time at, Kind kind) {
    Event event;
    event.at = at;
    event.kind = kind;
    return event;
  };
  referee_.begin(Time{});
  for (std::size_t i = 0; i < scenario_.actions.size(); ++i) {
    const Action& action = scenario_.actions[i];
    Event event = later(action.at + between(random_, Time{}, action.jitter), Kind::action);
    event.round = static_cast<unsigned>(i);
    push(event);
  }
  push(later(kLook, Kind::look));
  for (std::size_t client = 0; client < clients_.size(); ++client) {
    Event event = later(between(random_, Time{}, seconds(3)), Kind::chatter);
    event.from = client;
    push(event);
    event = later(between(random_, Time{}, kQuery), Kind::query);
    event.from = client;
    push(event);
  }
  while (!events_.empty() && events_.top().at <= scenario_.end) {
    const Event event = events_.top();
    events_.pop();
    handle(event);
    if (!referee_.broken().empty()) return;  // what follows from it is of no use
  }
  referee_.finish(scenario_.end);
}

void World::push(Event event) {
  event.order = ++order_;
  events_.push(std::move(event));
}

void World::handle(const Event& event) {
  const Time now = event.at;
  switch (event.kind) {
    case Kind::step:
      nodes_[event.to]->step(now);
      return;
    case Kind::statement:
      if (network_.path(event.from, event.to)) nodes_[event.to]->hear(event.said, event.direct, now);
      return;
    case Kind::announcement:
      nodes_[event.from]->announce(event.vip, event.round, event.claim, now);
      return;
    case Kind::heard_announcement:
      clients_[event.to].cache[event.vip] = event.from;
      referee_.observe(now);
      return;
    case Kind::query: {
      for (std::size_t vip = 0; vip < scenario_.vips.size(); ++vip) query(event.from, vip, now);
      Event next = event;
      next.at = now + kQuery;
      push(next);
      return;
    }
    case Kind::chatter: {
      if (!silent_clients_) {
        for (const auto& node : nodes_) {
          if (network_.path(client_host(event.from), node->host())) node->frame();
        }
      }
      Event next = event;
      next.at = now + between(random_, milliseconds(500), seconds(4));
      push(next);
      return;
    }
    case Kind::action:
      act(scenario_.actions[event.round], now);
      referee_.observe(now);
      return;
    case Kind::look: {
      referee_.observe(now);
      if (event.round != 0) return;  // a single one
      Event next = event;
      next.at = now + kLook;
      push(next);
      return;
    }
  }
}

// ---- for nodes ----------------------------------------------------------------------------------------------------

Time World::lateness() {
  const Time usual = between(random_, microseconds(20), microseconds(300));
  return busy_ > Time{} && chance(random_) < 0.2 ? usual + between(random_, Time{}, busy_) : usual;
}

void World::tell(const std::string& who, const std::string& what, Time now) const {
  if (trace) std::printf("%-14s %-8s %s\n", text(now).c_str(), who.c_str(), what.c_str());
}

void World::schedule_step(Host node, Time at) {
  Event event;
  event.at = at;
  event.kind = Kind::step;
  event.to = node;
  push(std::move(event));
}

void World::send(Host from, const std::vector<std::string>& to, bool broadcast,
                 const std::shared_ptr<const Statement>& said, bool direct, Time now) {
  const auto deliver = [&](Host host) {
    if (host == from || !network_.path(from, host) || network_.lost(random_)) return;
    Event event;
    event.at = now + network_.delay(random_);
    event.kind = Kind::statement;
    event.direct = direct;
    event.from = from;
    event.to = host;
    event.said = said;
    push(std::move(event));
  };
  for (const std::string& name : to) deliver(host(name));
  if (!broadcast) return;
  for (const auto& node : nodes_) deliver(node->host());
}

std::optional<std::pair<Time, bool>> World::echo(Host from, const std::string& to, Time now) {
  const Node& peer = *nodes_[host(to)];
  if (!network_.both_ways(from, peer.host()) || network_.lost(random_) || network_.lost(random_)) return std::nullopt;
  const Time there = now + network_.delay(random_);
  const auto stale = peer.echo(nodes_[from]->name(), there);
  if (!stale) return std::nullopt;
  return std::pair(there + network_.delay(random_), *stale);
}

// ARP requests to gateway and neighbours. Kernels answer, daemons or not.
void World::ask_around(Host from) {
  for (Host host = 0; host < network_.hosts(); ++host) {
    if (host == from || !network_.both_ways(from, host) || network_.lost(random_)) continue;
    const bool node = host < nodes_.size();
    if (node ? !nodes_[host]->kernel().on : host == gateway() ? silent_gateway_ : silent_clients_) continue;
    nodes_[from]->frame();
    return;
  }
}

void World::announce(Host from, std::size_t vip, Time now) {
  for (const auto& node : nodes_) {
    if (node->host() != from && network_.path(from, node->host()) && !network_.lost(random_)) node->frame();
  }
  for (std::size_t client = 0; client < clients_.size(); ++client) {
    if (!network_.path(from, client_host(client)) || network_.lost(random_)) continue;
    Event event;
    event.at = now + network_.delay(random_);
    event.kind = Kind::heard_announcement;
    event.from = from;
    event.to = client;
    event.vip = vip;
    push(std::move(event));
  }
}

void World::schedule_announcement(Host from, std::size_t vip, unsigned round, std::uint64_t claim, Time at) {
  Event event;
  event.at = at;
  event.kind = Kind::announcement;
  event.from = from;
  event.vip = vip;
  event.round = round;
  event.claim = claim;
  push(std::move(event));
}

// A client whose packets get nowhere asks who has the VIP.
void World::query(std::size_t client, std::size_t vip, Time now) {
  const Host asker = client_host(client);
  const auto& cached = clients_[client].cache[vip];
  if (cached && nodes_[*cached]->kernel().on && network_.both_ways(asker, *cached)) return;
  for (const auto& node : nodes_) {
    if (!network_.path(asker, node->host()) || network_.lost(random_)) continue;
    node->frame();
    if (!node->answers(vip, now) || !network_.path(node->host(), asker)) continue;
    Event event;
    event.at = now + network_.delay(random_);
    event.kind = Kind::heard_announcement;
    event.from = node->host();
    event.to = client;
    event.vip = vip;
    push(std::move(event));
  }
}

// ---- what happens -------------------------------------------------------------------------------------------------

Host World::host(const std::string& name) const {
  if (name == "gateway") return gateway();
  const auto node = std::find(scenario_.nodes.begin(), scenario_.nodes.end(), name);
  if (node != scenario_.nodes.end()) return static_cast<Host>(node - scenario_.nodes.begin());
  return client_host(std::stoul(name.substr(1)) - 1);  // c1, c2 …
}

void World::act(const Action& action, Time now) {
  tell("--", action.text(), now);
  if (action.verb == "measure") return referee_.measure(now);
  if (action.verb == "owner") return referee_.demand_owner(action.words[0], action.words[1], now);
  referee_.disturbed(now);
  const bool first_is_node = !action.words.empty() && std::find(scenario_.nodes.begin(), scenario_.nodes.end(),
                                                                action.words[0]) != scenario_.nodes.end();
  if (first_is_node && action.verb != "cut" && action.verb != "heal" && action.verb != "split") {
    act_on_node(action, *nodes_[host(action.words[0])], now);
  } else {
    act_on_network(action, now);
  }
}

void World::act_on_node(const Action& action, Node& node, Time now) {
  const std::string& verb = action.verb;
  const auto end_of_lease = [&] {  // nobody but the clock will say that it is over
    Event event;
    event.at = std::max(now, node.lease_end()) + microseconds(1);
    event.kind = Kind::look;
    event.round = 1;
    push(std::move(event));
  };
  if (verb == "on") node.power_on(now);
  if (verb == "off") node.power_off();
  if (verb == "start") node.start(now);
  if (verb == "kill") node.kill();
  if (verb == "stop") node.stop();
  if (verb == "cont") node.resume(now);
  if (verb == "kill" || verb == "stop") end_of_lease();
  if (verb == "drain" || verb == "undrain") node.set_draining(verb == "drain", now);
  if (verb == "jump")
    node.jump(
        std::chrono::duration_cast<Time>(std::chrono::duration<double, std::milli>(std::stod(action.words[1]))));
  if (verb == "configuration") node.set_configuration(std::stoull(action.words[1]), now);
  if (verb == "eligible" || verb == "unfit") {
    for (std::size_t vip = 0; vip < scenario_.vips.size(); ++vip) {
      if (action.words.size() > 1 && action.words[1] != scenario_.vips[vip].address) continue;
      node.set_eligible(vip, verb == "eligible", "has no backend", now);
    }
  }
}

void World::act_on_network(const Action& action, Time now) {
  const std::string& verb = action.verb;
  const std::vector<std::string>& words = action.words;
  if (verb == "cut") {
    if (words.size() == 1) network_.cut(host(words[0]), true, true);
    if (words.size() == 2 && words[1] == "sending") network_.cut(host(words[0]), true, false);
    if (words.size() == 2 && words[1] == "receiving") network_.cut(host(words[0]), false, true);
    if (words.size() == 3) {  // A > B: what A sends does not get to B; A = B: neither way
      network_.block(host(words[0]), host(words[2]), true);
      if (words[1] == "=") network_.block(host(words[2]), host(words[0]), true);
    }
  } else if (verb == "heal") {
    if (words.empty()) {
      network_.heal_all();
    } else if (words.size() == 1) {
      network_.heal(host(words[0]));
    } else {
      network_.block(host(words[0]), host(words[2]), false);
      network_.block(host(words[2]), host(words[0]), false);
    }
  } else if (verb == "split") {  // A B | C D …
    int segment = 0;
    for (const std::string& word : words) {
      if (word == "|") {
        ++segment;
      } else {
        network_.place(host(word), segment);
      }
    }
  } else if (verb == "switch") {
    network_.switch_on = words[0] == "on";
  } else if (verb == "loss") {
    network_.loss = percent(words[0]);
  } else if (verb == "busy") {
    busy_ = milliseconds(std::stoll(words[0]));
  } else if (verb == "silent") {
    (words[0] == "gateway" ? silent_gateway_ : silent_clients_) = true;
  } else if (verb == "repair") {  // everything but what was asked for: drains, eligibility
    network_.heal_all();
    busy_ = Time{};
    for (const auto& node : nodes_) {
      node->power_on(now);
      node->start(now);
      node->resume(now);
    }
  }
}

}  // namespace xlb::sim
