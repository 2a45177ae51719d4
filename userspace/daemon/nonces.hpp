// SPDX-License-Identifier: Apache-2.0
// Nonces under way: the core counts them up for each peer, the wire carries a nonce that nobody can guess, and the tables
// remember it until it comes home. Its low bits are its place there, so what is older than XLB_ECHOES echoes is forgotten.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "loader/live_rows.hpp"
#include "userspace/core/cluster.hpp"
#include "userspace/daemon/peer_metrics.hpp"

namespace xlb {

class Nonces {
 public:
  // `late`: what takes longer to come home is counted so.
  Nonces(LiveRows& rows, std::chrono::nanoseconds late) : rows_(rows), late_(late) {}

  // Peers by name and their ids in the tables; what is under way to another id is forgotten.
  void set_peers(const std::map<std::string, std::uint32_t>& ids);
  [[nodiscard]] bool knows(const std::string& peer) const { return peers_.contains(peer); }
  // The nonce to send; the tables expect it already. `chance`: 64 random bits. The peer is known. `now`: CLOCK_MONOTONIC.
  std::uint64_t expect(const std::string& peer, std::uint64_t id, std::uint64_t chance, Instant now);
  // What has come home since the last call.
  std::vector<EchoReturned> collect();
  [[nodiscard]] std::map<std::string, EchoCounts> counts() const;

 private:
  struct UnderWay {
    std::uint64_t nonce = 0;
    std::uint64_t id = 0;
    Instant sent{};
  };
  struct Peer {
    std::uint32_t node_id = 0;
    std::array<UnderWay, XLB_ECHOES> places{};
    EchoCounts counts;
  };
  LiveRows& rows_;
  std::chrono::nanoseconds late_;
  std::map<std::string, Peer> peers_;
};

}  // namespace xlb
