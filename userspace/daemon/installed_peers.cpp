// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/installed_peers.hpp"

#include <algorithm>
#include <set>
#include <string>

namespace xlb {

namespace {

// `named`: names that are taken. Two nodes with one address are a mistake on the LAN, and must not become one peer.
DesiredPeer peer_of(std::uint32_t id, const lb_peer& row, const std::vector<Node>& nodes, const Tables& installed,
                    std::set<std::string>& named) {
  DesiredPeer peer;
  for (const lb_addr& each : {row.address4, row.address6})
    if (const Address address = Address::from_abi(each); !address.unspecified()) peer.addresses.push_back(address);
  Mac first;
  std::copy(std::begin(row.mac), std::end(row.mac), first.bytes.begin());
  peer.macs.push_back(first);
  for (const auto& [mac, owner] : installed.peer_macs)
    if (owner == id && mac != first) peer.macs.push_back(mac);
  peer.attach_ifindex = row.attach_ifindex;
  peer.vlan = row.vlan;
  peer.alive = (row.flags & XLB_PEER_ALIVE) != 0;
  peer.awaited = (row.flags & XLB_PEER_AWAITED) != 0;
  for (const Node& node : nodes) {
    const bool its_own = std::any_of(node.addresses.begin(), node.addresses.end(), [&](const Address& address) {
      return std::find(peer.addresses.begin(), peer.addresses.end(), address) != peer.addresses.end();
    });
    if (its_own && !named.contains(node.name)) peer.name = node.name;
  }
  // One that nobody declares holds the key; its name comes back with the daemon.
  if (peer.name.empty()) peer.name = first.text();
  named.insert(peer.name);
  return peer;
}

}  // namespace

PeerFacts installed_peers(const std::vector<Node>& nodes, const std::string& self, bool keyed, const Tables& installed,
                          std::uint64_t epoch) {
  PeerFacts facts;
  facts.alone = !keyed && std::none_of(nodes.begin(), nodes.end(), [&](const Node& node) { return node.name != self; });
  if (facts.alone) return facts;
  std::set<std::string> named{self};
  for (const auto& [id, row] : installed.peers) facts.peers.push_back(peer_of(id, row, nodes, installed, named));
  std::sort(facts.peers.begin(), facts.peers.end());
  for (const auto& [address, vip] : installed.vips) {
    const bool owned = vip.owned_epoch != 0 && vip.owned_epoch == epoch;
    facts.holdings[address] = {owned, vip.claim_epoch, owned ? self : "",
                               owned ? "owned when the daemon was last there" : "no daemon runs here: xdp-lb run"};
  }
  return facts;
}

}  // namespace xlb
