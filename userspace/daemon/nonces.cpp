// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/nonces.hpp"

namespace xlb {

void Nonces::set_peers(const std::map<std::string, std::uint32_t>& ids) {
  std::map<std::string, Peer> kept;
  for (const auto& [name, id] : ids) {
    const auto old = peers_.find(name);
    kept[name] = old != peers_.end() && old->second.node_id == id ? old->second : Peer{id, {}, {}};
  }
  peers_ = std::move(kept);
}

std::uint64_t Nonces::expect(const std::string& peer, std::uint64_t id, std::uint64_t chance, Instant now) {
  Peer& to = peers_.at(peer);
  constexpr std::uint64_t place_bits = XLB_ECHOES - 1;
  const std::uint64_t place = id & place_bits;
  // The highest bit keeps it from being 0, which means "none" in the tables.
  const std::uint64_t nonce = (chance & ~place_bits) | place | std::uint64_t{1} << 63;
  to.places[place] = {nonce, id, now};
  ++to.counts.sent;
  rows_.expect_echo(to.node_id, nonce);
  return nonce;
}

std::vector<EchoReturned> Nonces::collect() {
  std::vector<EchoReturned> returned;
  for (auto& [name, peer] : peers_) {
    for (const EchoReturn& echo : rows_.take_returns(peer.node_id)) {
      UnderWay& place = peer.places[echo.nonce & (XLB_ECHOES - 1)];
      if (place.nonce != echo.nonce) continue;  // sent by an earlier daemon
      returned.push_back({name, place.id, echo.stale});
      ++peer.counts.home;
      if (Instant(echo.returned_mono_ns) - place.sent > late_) ++peer.counts.late;
      place = {};
    }
  }
  return returned;
}

std::map<std::string, EchoCounts> Nonces::counts() const {
  std::map<std::string, EchoCounts> counts;
  for (const auto& [name, peer] : peers_) counts[name] = peer.counts;
  return counts;
}

}  // namespace xlb
