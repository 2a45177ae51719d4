// SPDX-License-Identifier: Apache-2.0
// The rows that the daemon edits between passes, in memory.
#pragma once

#include <map>
#include <utility>

#include "loader/live_rows.hpp"

namespace xlb::test {

class FakeLiveRows final : public LiveRows {
 public:
  [[nodiscard]] lb_node node() const override { return node_; }
  void set_lease(std::uint64_t boot_ns) override { node_.lease_boot_ns = boot_ns; }
  void set_epoch(std::uint64_t epoch) override { node_.epoch = epoch; }
  void expect_echo(std::uint32_t node_id, std::uint64_t nonce) override { expected[node_id].push_back(nonce); }
  std::vector<EchoReturn> take_returns(std::uint32_t node_id) override { return std::exchange(returns[node_id], {}); }
  void set_presence(std::uint32_t, std::uint32_t) override {}
  Result<void> own(const Address& vip, std::uint64_t owned_epoch, std::uint64_t claim_epoch) override {
    owned[vip] = {owned_epoch, claim_epoch};
    return {};
  }
  [[nodiscard]] bool in_force() const override { return true; }

  lb_node node_{};
  std::map<std::uint32_t, std::vector<std::uint64_t>> expected;
  std::map<std::uint32_t, std::vector<EchoReturn>> returns;
  std::map<Address, std::pair<std::uint64_t, std::uint64_t>> owned;
};

}  // namespace xlb::test
