// SPDX-License-Identifier: Apache-2.0
// Sees everything that happens in a world, from outside: what clients see, and which promises were broken.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/network.hpp"

namespace xlb::sim {

class World;

struct Figures {
  double outage_ms = 0;      // longest time without a new flow, of any client and VIP
  double unanswered_ms = 0;  // longest time in which a client's ARP request got no answer
  double doubled_ms = 0;     // longest time in which a client could hear two nodes answer
  double moves = 0;          // claims made
  double losses = 0;         // peers found lost
  double detection_ms = 0;   // longest time from what was done last until a peer was found lost
};

class Referee {
 public:
  explicit Referee(const World& world) : world_(world) {}

  void begin(Time now);
  // Something may have changed.
  void observe(Time now);
  // Something was done to the world: promises about what holds when nothing happens start anew.
  void disturbed(Time now);
  void measure(Time now);  // figures count from here
  void finish(Time now);
  // `node` is to be the one that answers now; "nobody".
  void demand_owner(const std::string& vip, const std::string& node, Time now);

  [[nodiscard]] const Figures& figures() const { return figures_; }
  [[nodiscard]] const std::vector<std::string>& broken() const { return broken_; }
  [[nodiscard]] std::string owner(std::size_t vip) const;  // of the nodes that answer, as text: "", "a", "a b"

 private:
  struct Span {  // of something that holds without a pause
    bool holds = false;
    Time since{};
    // How long it has held by now.
    Time held(bool now_holds, Time now);
  };

  void watch_paths();
  void watch_leases();
  void watch_claims();
  void watch_losses();
  void watch_two_owners();
  void watch_vacancy();
  void watch_clients();
  void demand_agreement();
  void broke(const std::string& what);
  [[nodiscard]] bool serves_anybody(Host node) const;  // a client has a path to it and back
  [[nodiscard]] bool told(Host from, Host to) const;   // statements of one get to the other, directly or passed on
  [[nodiscard]] std::size_t cell(std::size_t a, std::size_t b, std::size_t vip) const;

  const World& world_;
  Figures figures_;
  std::vector<std::string> broken_;
  Time now_{};
  Time disturbed_{};
  Time lossy_ = -std::chrono::hours(1);  // when frames were last lost by chance

  std::vector<Span> outage_, unanswered_, doubled_;    // by client, VIP
  std::vector<Span> two_met_, two_direct_, two_told_;  // by VIP, node, node
  std::vector<Span> vacant_;                           // by VIP, node
  std::vector<Span> able_;                             // by VIP, node: it could answer
  std::vector<Span> sound_;                            // by node, node: a path both ways
  std::vector<Span> cut_off_;                          // by node: it gets nobody's frames
  std::vector<std::uint64_t> claim_;                   // by VIP, node
  std::vector<std::uint64_t> losses_;                  // by node, node
  std::vector<Time> lease_over_;                       // by node: when it was last seen over
  std::vector<std::size_t> quiet_claims_;              // by VIP: since the last disturbance
};

}  // namespace xlb::sim
