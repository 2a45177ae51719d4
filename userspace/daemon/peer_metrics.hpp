// SPDX-License-Identifier: Apache-2.0
// What /metrics says of this node among its peers. Counters begin anew when the node leaves its peers and joins again, as after
// a restart; Prometheus expects that of them.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

#include "userspace/core/cluster.hpp"
#include "userspace/core/metrics_text.hpp"
#include "userspace/peers/refusal.hpp"

namespace xlb {

// Of one peer.
struct EchoCounts {
  std::uint64_t sent = 0;
  std::uint64_t home = 0;
  std::uint64_t late = 0;  // of those: they took longer than the time between two
  auto operator<=>(const EchoCounts&) const = default;
};

struct PeerCounts {
  std::uint64_t renewals = 0;       // of the lease
  std::uint64_t late_renewals = 0;  // of those: the one before was missed
  std::uint64_t lease_losses = 0;
  std::uint64_t statements_sent = 0;      // one a link and time, however many peers get it
  std::uint64_t statements_received = 0;  // whole and believed
  std::uint64_t statements_passed_on = 0;
  std::map<Address, std::uint64_t> moves;  // of VIPs, from one owner to another or to nobody
};

struct PeerFigures {
  std::string node;
  std::chrono::nanoseconds detection{};
  Standing standing = Standing::listening;
  bool draining = false;
  std::uint64_t incarnation = 0;
  std::map<std::string, bool> alive;  // by peer: flows go to its backends, as the tables have it
  std::map<std::string, EchoCounts> echoes;
  std::array<std::uint64_t, kRefusals> refused{};
  PeerCounts counts;
};

void say_peers(MetricsText& metrics, const PeerFigures& figures, const std::vector<PeerView>& peers,
               const std::vector<VipView>& vips);
// Of a node that has none, and answers for everything itself.
void say_no_peers(MetricsText& metrics);

}  // namespace xlb
