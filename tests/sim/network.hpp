// SPDX-License-Identifier: Apache-2.0
// A LAN: hosts at the ports of a switch. Says who gets whose frames, and how long they take.
#pragma once

#include <chrono>
#include <cstddef>
#include <random>
#include <vector>

namespace xlb::sim {

using Time = std::chrono::nanoseconds;  // since the world began
using Host = std::size_t;
using Random = std::mt19937_64;

double chance(Random& random);                      // 0 ≤ x < 1
Time between(Random& random, Time low, Time high);  // low ≤ x ≤ high

class Network {
 public:
  explicit Network(std::size_t hosts);

  // A frame of `from` gets to `to`, were both switched on. Loss apart.
  [[nodiscard]] bool path(Host from, Host to) const;
  [[nodiscard]] bool both_ways(Host a, Host b) const { return path(a, b) && path(b, a); }
  [[nodiscard]] bool lost(Random& random) const { return loss > 0 && chance(random) < loss; }
  [[nodiscard]] Time delay(Random& random) const;
  [[nodiscard]] std::size_t hosts() const { return ports_.size(); }

  void cut(Host host, bool sending, bool receiving);  // its cable, or one direction of it
  void heal(Host host);
  void block(Host from, Host to, bool blocked);
  void place(Host host, int segment);  // hosts of different segments do not meet
  void heal_all();

  bool switch_on = true;
  double loss = 0;  // of each frame, each way
  Time jitter = std::chrono::microseconds(50);

 private:
  struct Port {
    bool sends = true;
    bool receives = true;
    int segment = 0;
  };
  std::vector<Port> ports_;
  std::vector<bool> blocked_;  // from * hosts + to
};

}  // namespace xlb::sim
