// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/node_ids.hpp"

#include "tests/unit/core/build.hpp"

namespace xlb {
namespace {

using test::address;

Mac mac(std::uint8_t last) {
  return Mac{{2, 0, 0, 0, 0, last}};
}

DesiredPeer peer(const std::string& name, const std::string& text, std::vector<Mac> macs) {
  DesiredPeer peer;
  peer.name = name;
  peer.addresses = {address(text)};
  peer.macs = std::move(macs);
  return peer;
}

void install(Tables& tables, std::uint32_t id, const std::string& text, const Mac& mac) {
  lb_peer row{};
  row.address4 = address(text).to_abi();
  tables.peers[id] = row;
  tables.peer_macs[mac] = id;
}

using Ids = std::map<std::string, std::uint32_t>;

TEST(NodeIds, AreGivenFromOneOn) {
  EXPECT_EQ(node_ids({peer("pi2", "10.0.0.2", {mac(2)}), peer("pi3", "10.0.0.3", {mac(3)})}, {}),
            (Ids{{"pi2", 1}, {"pi3", 2}}));
  EXPECT_TRUE(node_ids({}, {}).empty());
  EXPECT_TRUE(node_ids({peer("pi2", "10.0.0.2", {})}, {}).empty());
}

TEST(NodeIds, StayByMacThenByAddress) {
  Tables installed;
  install(installed, 7, "10.0.0.2", mac(2));
  install(installed, 9, "10.0.0.3", mac(3));
  EXPECT_EQ(node_ids({peer("pi2", "10.0.0.2", {mac(2)}), peer("pi3", "10.0.0.3", {mac(3)})}, installed),
            (Ids{{"pi2", 7}, {"pi3", 9}}));
  // A new network card; and addresses that have changed hands.
  EXPECT_EQ(node_ids({peer("pi3", "10.0.0.3", {mac(33)})}, installed), (Ids{{"pi3", 9}}));
  EXPECT_EQ(node_ids({peer("pi2", "10.0.0.3", {mac(2)}), peer("pi3", "10.0.0.2", {mac(3)})}, installed),
            (Ids{{"pi2", 7}, {"pi3", 9}}));
  // One of several MACs is enough.
  EXPECT_EQ(node_ids({peer("pi2", "10.0.0.99", {mac(44), mac(2)})}, installed), (Ids{{"pi2", 7}}));
}

TEST(NodeIds, ANewPeerDoesNotTakeTheIdOfOneThatGoes) {
  Tables installed;
  install(installed, 1, "10.0.0.2", mac(2));
  EXPECT_EQ(node_ids({peer("pi9", "10.0.0.9", {mac(9)})}, installed), (Ids{{"pi9", 2}}));
}

TEST(NodeIds, TwoThatClaimOneIdGetTwo) {
  Tables installed;
  install(installed, 1, "10.0.0.2", mac(2));
  EXPECT_EQ(node_ids({peer("a", "10.0.0.2", {mac(2)}), peer("b", "10.0.0.2", {mac(5)})}, installed),
            (Ids{{"a", 1}, {"b", 2}}));
}

TEST(NodeIds, EndWithTheTable) {
  std::vector<DesiredPeer> peers;
  for (std::uint32_t i = 1; i <= XLB_MAX_PEERS; ++i) {
    peers.push_back(peer("pi" + std::to_string(i), "10.0.1." + std::to_string(i), {mac(static_cast<std::uint8_t>(i))}));
  }
  EXPECT_EQ(node_ids(peers, {}).size(), XLB_MAX_PEERS - 1);
}

}  // namespace
}  // namespace xlb
