// SPDX-License-Identifier: Apache-2.0
// The rows that the daemon edits between its passes, many times a second, on tables held open: its lease and epoch, the
// echoes under way, whether a peer lives, and who answers for a VIP. Nothing here is planned, and nothing waits.
//
// Where a pass writes the same rows (peers, VIPs), the later one wins: whoever keeps LiveRows makes the passes too, and says
// again after one what has changed while it ran.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "maps/abi.h"
#include "userspace/core/address.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

// An echo that came home.
struct EchoReturn {
  std::uint64_t nonce = 0;
  std::uint64_t returned_mono_ns = 0;  // when the program saw it: CLOCK_MONOTONIC
  bool stale = false;                  // the peer's lease is over
};

class LiveRows {
 public:
  virtual ~LiveRows() = default;

  [[nodiscard]] virtual lb_node node() const = 0;
  virtual void set_lease(std::uint64_t boot_ns) = 0;
  virtual void set_epoch(std::uint64_t epoch) = 0;

  // Before it is sent. Its place is taken by the nonce's low bits, and what was under way there is forgotten.
  // `node_id` is below XLB_MAX_PEERS, the nonce not 0.
  virtual void expect_echo(std::uint32_t node_id, std::uint64_t nonce) = 0;
  // What came home from that peer since the last call, by its place. No system call.
  virtual std::vector<EchoReturn> take_returns(std::uint32_t node_id) = 0;

  // May flows go to the peer's backends, or must they wait for it (XLB_PEER_ALIVE, XLB_PEER_AWAITED or 0)? One store.
  virtual void set_presence(std::uint32_t node_id, std::uint32_t presence) = 0;
  // `owned_epoch`: lb_node.epoch, or 0 for not owned. A VIP without a row is an error: the next pass writes it.
  virtual Result<void> own(const Address& vip, std::uint64_t owned_epoch, std::uint64_t claim_epoch) = 0;

  // False once the tables were taken away (detach of the last link): then these rows are nobody's any more.
  [[nodiscard]] virtual bool in_force() const = 0;
};

// Nothing attached is an error that says so.
Result<std::unique_ptr<LiveRows>> open_live_rows(const std::string& pin_dir);

}  // namespace xlb
