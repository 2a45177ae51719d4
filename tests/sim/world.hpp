// SPDX-License-Identifier: Apache-2.0
// N nodes, some clients and a gateway at one switch, in virtual time. Everything that is random comes from one seed.
#pragma once

#include <cstdint>
#include <memory>
#include <queue>
#include <string>
#include <vector>

#include "tests/sim/network.hpp"
#include "tests/sim/node.hpp"
#include "tests/sim/referee.hpp"
#include "tests/sim/scenario.hpp"

namespace xlb::sim {

class World {
 public:
  World(const Scenario& scenario, std::uint64_t seed, Plant plant);

  // Runs the scenario to its end.
  void run();
  [[nodiscard]] const Referee& referee() const { return referee_; }

  // ---- for nodes
  struct Client {
    std::vector<std::optional<std::size_t>> cache;  // by VIP: the node that it sends to
    std::vector<Time> next_query;
  };

  void schedule_step(Host node, Time at);
  void send(Host from, const std::vector<std::string>& to, bool broadcast,
            const std::shared_ptr<const Statement>& said, bool direct, Time now);
  // An echo and what becomes of it: when it is home and whether it is stale.
  std::optional<std::pair<Time, bool>> echo(Host from, const std::string& to, Time now);
  void ask_around(Host from);
  void announce(Host from, std::size_t vip, Time now);
  void schedule_announcement(Host from, std::size_t vip, unsigned round, std::uint64_t claim, Time at);
  void changed(Time now) { referee_.observe(now); }
  [[nodiscard]] Time lateness();
  // With --trace: what a node thinks, and why.
  void tell(const std::string& who, const std::string& what, Time now) const;
  bool trace = false;

  [[nodiscard]] const Scenario& scenario() const { return scenario_; }
  [[nodiscard]] Plant plant() const { return plant_; }
  [[nodiscard]] Random& random() { return random_; }
  [[nodiscard]] const Network& network() const { return network_; }
  [[nodiscard]] const std::vector<std::unique_ptr<Node>>& nodes() const { return nodes_; }
  [[nodiscard]] const std::vector<Client>& clients() const { return clients_; }
  [[nodiscard]] Host client_host(std::size_t client) const { return nodes_.size() + client; }
  [[nodiscard]] Host gateway() const { return nodes_.size() + clients_.size(); }

 private:
  enum class Kind : std::uint8_t { step, statement, announcement, heard_announcement, query, chatter, action, look };
  struct Event {
    Time at{};
    std::uint64_t order = 0;  // events of one instant: first come, first served
    Kind kind = Kind::step;
    bool direct = true;
    unsigned round = 0;
    Host from = 0;
    Host to = 0;
    std::size_t vip = 0;
    std::uint64_t claim = 0;
    std::shared_ptr<const Statement> said;
    bool operator>(const Event& other) const { return at != other.at ? at > other.at : order > other.order; }
  };

  void push(Event event);
  void handle(const Event& event);
  void act(const Action& action, Time now);
  void act_on_node(const Action& action, Node& node, Time now);
  void act_on_network(const Action& action, Time now);
  void query(std::size_t client, std::size_t vip, Time now);
  [[nodiscard]] Host host(const std::string& name) const;

  Scenario scenario_;
  Plant plant_;
  Random random_;
  Network network_;
  Time busy_{};  // how late a daemon may run
  bool silent_gateway_ = false;
  bool silent_clients_ = false;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<Client> clients_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::uint64_t order_ = 0;
  Referee referee_;
};

}  // namespace xlb::sim
