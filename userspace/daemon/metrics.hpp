// SPDX-License-Identifier: Apache-2.0
// What /metrics says. Names of MetalLB are kept, so that dashboards and alerts go on working; ours begin with xdp_lb_.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "loader/data_plane.hpp"
#include "userspace/core/metrics_text.hpp"
#include "userspace/daemon/last_pass.hpp"

namespace xlb {

class Metrics {
 public:
  // Of each pass; one that failed leaves the facts of the last good one in force.
  void passed(std::chrono::nanoseconds took, bool failed);
  void learned(std::shared_ptr<const LastPass> facts) { facts_ = std::move(facts); }
  void announced(const std::vector<Address>& vips);
  void conflict(const Address& vip);
  // Others add what they know: called for each text, after everything else.
  void add(std::function<void(MetricsText&)> more) { more_.push_back(std::move(more)); }

  // `owned`: VIPs that this node answers for now. Among peers they move between two passes.
  [[nodiscard]] std::string text(DataPlane& data_plane, const std::set<Address>& owned) const;

 private:
  void of_pools(MetricsText& metrics) const;
  void of_vips(MetricsText& metrics, const std::set<Address>& owned) const;
  void of_traffic(MetricsText& metrics, const Counters& counters) const;
  void of_passes(MetricsText& metrics) const;

  std::shared_ptr<const LastPass> facts_;
  std::uint64_t passes_ = 0;
  std::uint64_t failed_ = 0;
  bool stale_ = false;
  std::chrono::nanoseconds took_{0}, took_altogether_{0}, took_most_{0};
  std::map<Address, std::uint64_t> announced_;
  std::map<Address, std::uint64_t> conflicts_;
  std::vector<std::function<void(MetricsText&)>> more_;
};

}  // namespace xlb
