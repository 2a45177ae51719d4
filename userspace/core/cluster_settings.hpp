// SPDX-License-Identifier: Apache-2.0
// The times that nodes live by among each other. All nodes of a cluster should have the same; each works with its
// own.
#pragma once

#include <chrono>
#include <string>
#include <vector>

namespace xlb {

struct ClusterSettings {
  std::chrono::nanoseconds echo_interval = std::chrono::milliseconds(30);
  unsigned misses = 3;  // a peer is lost after this many intervals without an echo coming home
  std::chrono::nanoseconds statement_interval = std::chrono::milliseconds(200);
  std::chrono::nanoseconds stale_age = std::chrono::milliseconds(700);  // an older statement makes no candidate
  std::chrono::nanoseconds fail_back_delay =
      std::chrono::seconds(30);  // how long a better node is up before it gets a VIP back
  std::chrono::nanoseconds join_listen = std::chrono::seconds(1);  // before a node that starts claims anything
  std::chrono::nanoseconds rejoin_listen = std::chrono::milliseconds(300);  // the same after it was cut off
  std::chrono::nanoseconds lease = std::chrono::seconds(5);  // how long the programs answer while no daemon renews it

  [[nodiscard]] std::chrono::nanoseconds detection() const { return echo_interval * misses; }
  // The fast profile: a third of the time, three times the echoes.
  static ClusterSettings fast();
  auto operator<=>(const ClusterSettings&) const = default;
};

// What makes no sense, alone or together: a sentence each; none: all is well.
std::vector<std::string> validate(const ClusterSettings& settings);

}  // namespace xlb
