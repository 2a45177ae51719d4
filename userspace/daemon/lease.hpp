// SPDX-License-Identifier: Apache-2.0
// The daemon's promise to mind the VIPs, renewed in the tables. Past it the programs answer nobody and tell peers so; who comes
// too late never revives it: the epoch is raised, which voids whatever was owned, and the node joins anew.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "loader/live_rows.hpp"

namespace xlb {

class Lease {
 public:
  // Times are nanoseconds of CLOCK_BOOTTIME, which also counts while the machine sleeps.
  Lease(LiveRows& rows, std::chrono::nanoseconds length) : rows_(rows), length_(length) {}

  // Once, at the start. True: the old one is not over yet, so what the tables hold as owned is owned still.
  bool take_over(std::uint64_t now_ns);
  // False: it was over before it was renewed, so the epoch has been raised and nothing is owned any more.
  bool renew(const std::function<std::uint64_t()>& now_ns);
  // Without peers nobody else could answer: for ever.
  void give_for_ever() { rows_.set_lease(XLB_FOREVER); }

 private:
  LiveRows& rows_;
  std::chrono::nanoseconds length_;
};

}  // namespace xlb
