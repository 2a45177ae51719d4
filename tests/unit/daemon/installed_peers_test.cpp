// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/installed_peers.hpp"

#include <gtest/gtest.h>

#include "tests/unit/core/build.hpp"
#include "userspace/core/node_ids.hpp"

namespace xlb {
namespace {

using test::address;

Node node(const std::string& name, const std::string& at) {
  Node result;
  result.name = name;
  result.addresses = {address(at)};
  return result;
}

TEST(InstalledPeers, ANodeWithoutOthersAndWithoutAKeyIsAlone) {
  EXPECT_TRUE(installed_peers({}, "pi1", false, {}, 1).alone);
  EXPECT_TRUE(installed_peers({node("pi1", "192.168.0.11")}, "pi1", false, {}, 1).alone);
  EXPECT_FALSE(installed_peers({}, "pi1", true, {}, 1).alone);
  EXPECT_FALSE(installed_peers({node("pi2", "192.168.0.12")}, "pi1", false, {}, 1).alone);
}

TEST(InstalledPeers, RowsAreFoundAgainByTheirAddresses) {
  Tables tables;
  lb_peer row{};
  row.address4 = address("192.168.0.12").to_abi();
  row.flags = XLB_PEER_ALIVE;
  row.attach_ifindex = 2;
  row.mac[5] = 0x12;
  tables.peers[3] = row;
  tables.peer_macs[Mac{{0, 0, 0, 0, 0, 0x12}}] = 3;
  tables.peer_macs[Mac{{0, 0, 0, 0, 0, 0x13}}] = 3;
  const PeerFacts facts = installed_peers({node("pi2", "192.168.0.12")}, "pi1", false, tables, 1);
  ASSERT_EQ(facts.peers.size(), 1u);
  EXPECT_EQ(facts.peers[0].name, "pi2");
  EXPECT_EQ(facts.peers[0].macs, (std::vector<Mac>{{{0, 0, 0, 0, 0, 0x12}}, {{0, 0, 0, 0, 0, 0x13}}}));
  EXPECT_TRUE(facts.peers[0].alive);
  EXPECT_FALSE(facts.peers[0].awaited);
  tables.peers[3].flags = XLB_PEER_AWAITED;
  const PeerFacts later = installed_peers({node("pi2", "192.168.0.12")}, "pi1", false, tables, 1);
  EXPECT_FALSE(later.peers[0].alive);
  EXPECT_TRUE(later.peers[0].awaited);
}

TEST(InstalledPeers, TwoWithOneAddressStayTwo) {
  Tables tables;
  for (const std::uint32_t id : {1u, 2u}) {
    lb_peer row{};
    row.address4 = address("192.168.0.11").to_abi();
    row.mac[5] = static_cast<__u8>(id);
    tables.peers[id] = row;
    tables.peer_macs[Mac{{0, 0, 0, 0, 0, static_cast<std::uint8_t>(id)}}] = id;
  }
  const std::vector<Node> nodes{node("pi1", "192.168.0.11"), node("pi2", "192.168.0.12")};
  const PeerFacts facts = installed_peers(nodes, "pi3", true, tables, 1);
  ASSERT_EQ(facts.peers.size(), 2u);
  EXPECT_NE(facts.peers[0].name, facts.peers[1].name);
  EXPECT_EQ(node_ids(facts.peers, tables).size(), 2u) << "each keeps its row";
  for (const DesiredPeer& peer : installed_peers(nodes, "pi1", true, tables, 1).peers)
    EXPECT_NE(peer.name, "pi1") << "whoever has this node's address is not this node";
}

TEST(InstalledPeers, EachVipKeepsTheOwnerThatItHas) {
  Tables tables;
  tables.vips[address("192.168.0.200")].owned_epoch = 4;
  tables.vips[address("192.168.0.200")].claim_epoch = 9;
  tables.vips[address("192.168.0.201")].owned_epoch = 3;  // void since the epoch was raised
  const PeerFacts facts = installed_peers({}, "pi1", true, tables, 4);
  EXPECT_TRUE(facts.holdings.at(address("192.168.0.200")).owned);
  EXPECT_EQ(facts.holdings.at(address("192.168.0.200")).claim_epoch, 9u);
  EXPECT_FALSE(facts.holdings.at(address("192.168.0.201")).owned);
}

}  // namespace
}  // namespace xlb
