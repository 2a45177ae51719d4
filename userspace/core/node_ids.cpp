// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/node_ids.hpp"

#include <algorithm>

#include "userspace/core/room.hpp"

namespace xlb {
namespace {

bool has_address(const lb_peer& row, const DesiredPeer& peer) {
  return std::any_of(peer.addresses.begin(), peer.addresses.end(), [&](const Address& address) {
    return !address.unspecified() &&
           (address == Address::from_abi(row.address4) || address == Address::from_abi(row.address6));
  });
}

// The id under which the tables know it, 0: none. MACs tell better than addresses, which machines hand on.
std::uint32_t known_id(const DesiredPeer& peer, const Tables& installed) {
  for (const Mac& mac : peer.macs) {
    if (const auto row = installed.peer_macs.find(mac); row != installed.peer_macs.end()) return row->second;
  }
  for (const auto& [id, row] : installed.peers) {
    if (has_address(row, peer)) return id;
  }
  return 0;
}

}  // namespace

std::map<std::string, std::uint32_t> node_ids(const std::vector<DesiredPeer>& peers, const Tables& installed) {
  Ids ids(XLB_MAX_PEERS);
  for (const auto& [id, row] : installed.peers) ids.reserve(id);
  for (const auto& [mac, id] : installed.peer_macs) ids.reserve(id);
  std::map<std::string, std::uint32_t> result;
  for (const DesiredPeer& peer : peers) {
    if (peer.macs.empty()) continue;
    const std::uint32_t id = known_id(peer, installed);
    if (ids.take(id)) result[peer.name] = id;
  }
  for (const DesiredPeer& peer : peers) {
    if (peer.macs.empty() || result.contains(peer.name)) continue;
    if (const std::uint32_t id = ids.take_next(1); id != 0) result[peer.name] = id;
  }
  return result;
}

}  // namespace xlb
