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

namespace xlb {

class Nonces {
 public:
  explicit Nonces(LiveRows& rows) : rows_(rows) {}

  // Peers by name and their ids in the tables; what is under way to another id is forgotten.
  void set_peers(const std::map<std::string, std::uint32_t>& ids);
  [[nodiscard]] bool knows(const std::string& peer) const { return peers_.contains(peer); }
  // The nonce to send; the tables expect it already. `chance`: 64 random bits. The peer is known.
  std::uint64_t expect(const std::string& peer, std::uint64_t id, std::uint64_t chance);
  // What has come home since the last call.
  std::vector<EchoReturned> collect();

 private:
  struct UnderWay {
    std::uint64_t nonce = 0;
    std::uint64_t id = 0;
  };
  struct Peer {
    std::uint32_t node_id = 0;
    std::array<UnderWay, XLB_ECHOES> places{};
  };
  LiveRows& rows_;
  std::map<std::string, Peer> peers_;
};

}  // namespace xlb
