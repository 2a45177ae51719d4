// SPDX-License-Identifier: Apache-2.0
// Which node gives addresses out: the holder of one Lease of the API server. Nobody's clock is believed: a Lease is over
// when it has not changed for its duration since this node last *saw* it change. That two nodes hold themselves for the
// allocator for a moment cannot be ruled out (a process may be paused anywhere) and does no harm: userspace/core/address_lease.hpp.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "userspace/core/api_objects.hpp"

namespace xlb {

inline constexpr const char* kAllocatorLease = "xdp-lb-allocator";

struct ElectionTimes {
  std::chrono::milliseconds duration{15'000};  // of the Lease; written in whole seconds
  std::chrono::milliseconds renewal{5'000};
};

class AllocatorElection {
 public:
  using Time = std::chrono::nanoseconds;  // of a monotonic clock

  explicit AllocatorElection(std::string own_name, ElectionTimes times = {}) : own_(std::move(own_name)), times_(times) {}

  // What to write now. `create`: there is no Lease; otherwise an update that names `lease.identity.version`.
  // `renewed` is left for the writer, who has a clock that others can read.
  struct Order {
    bool create = false;
    ApiLease lease;
  };
  // `lease`: as last seen; absent: there is none. An order is given once: answered() says how it went.
  std::optional<Order> step(const std::optional<ApiLease>& lease, Time now);
  // `accepted`: the server took the order that step() gave at `ordered`. Refused (409): somebody was faster.
  void answered(bool accepted, Time ordered);

  [[nodiscard]] bool leads(Time now) const { return leads_until_ && now < *leads_until_; }
  [[nodiscard]] Time next_step() const;  // at the latest; a change of the Lease is a reason to step at once
  [[nodiscard]] const std::string& holder() const { return seen_.holder; }  // empty: nobody

 private:
  std::string own_;
  ElectionTimes times_;
  ApiLease seen_;
  std::optional<Time> seen_at_;       // when `seen_` was first seen like this
  std::optional<Time> leads_until_;   // from before the last renewal that was accepted was sent
  std::optional<Time> ordered_;       // an order is under way
  Time next_{0};
};

}  // namespace xlb
