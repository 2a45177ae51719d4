// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/declared_peers.hpp"

#include "tests/unit/core/build.hpp"
#include "userspace/core/allocator.hpp"

namespace xlb {
namespace {

using test::address;

Node node(const std::string& name, const std::vector<std::string>& addresses) {
  Node made;
  made.name = name;
  for (const std::string& text : addresses) made.addresses.push_back(address(text));
  return made;
}

class DeclaredPeers : public testing::Test {
 protected:
  DeclaredPeers() {
    machine_.node_name = "pi1";
    machine_.own_addresses = {address("192.168.0.11"), address("127.0.0.1")};
    Link link;
    link.name = link.l3_name = "eth0";
    link.subnets = {test::prefix("192.168.0.0/24"), test::prefix("fd00::/64")};
    machine_.links = {link};
    objects_.nodes = {node("pi3", {"192.168.0.13"}), node("pi1", {"192.168.0.11"}), node("pi2", {"192.168.0.12"})};
  }
  std::string refusal(const Node& peer) const {
    const auto fine = check_peer(peer, objects_, machine_);
    return fine ? "" : fine.error().text;
  }
  std::string warning() const {
    const auto warnings = peer_warnings(objects_, machine_);
    EXPECT_LE(warnings.size(), 1u);
    return warnings.empty() ? "" : warnings.front();
  }
  Objects objects_;
  Machine machine_;
};

TEST_F(DeclaredPeers, AreTheOthersByName) {
  const auto peers = declared_peers(objects_, "pi1");
  ASSERT_EQ(peers.size(), 2u);
  EXPECT_EQ(peers[0].name, "pi2");
  EXPECT_EQ(peers[1].name, "pi3");
  EXPECT_EQ(warning(), "");
}

TEST_F(DeclaredPeers, WhoCanBeAdded) {
  EXPECT_EQ(refusal(node("pi4", {"192.168.0.14", "fd00::14"})), "");
  EXPECT_EQ(refusal(node("pi2", {"192.168.0.99"})), "") << "it moved";
  EXPECT_EQ(refusal(node("pi2", {"192.168.0.12"})), "") << "said again";
  EXPECT_EQ(refusal(node("pi1", {"192.168.0.14"})),
            "pi1 is this node's own name: a peer is another node; a node's name is set by --node");
  EXPECT_EQ(refusal(node("pi4", {"192.168.0.11"})),
            "192.168.0.11 is an address of this machine: a peer is another one");
  EXPECT_EQ(refusal(node("pi4", {"192.168.0.12"})),
            "192.168.0.12 is the address of node pi2 already: xdp-lb peer rm pi2");
  for (const char* nobodys : {"127.0.0.2", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "::1", "ff02::1"})
    EXPECT_NE(refusal(node("pi4", {nobodys})), "") << nobodys;
  EXPECT_EQ(refusal(node("pi4", {"192.168.0.14", "192.168.0.15"})),
            "more than one IPv4 address: write the one on the LAN");
}

TEST_F(DeclaredPeers, AsManyAsTheTablesHold) {
  objects_.nodes.clear();
  for (std::uint32_t i = 1; i < XLB_MAX_PEERS; ++i)
    objects_.nodes.push_back(node("n" + std::to_string(i), {"10.0.0." + std::to_string(i)}));
  EXPECT_EQ(refusal(node("more", {"192.168.0.14"})), "a cluster has at most 64 nodes: remove one (xdp-lb peer ls)");
  EXPECT_EQ(refusal(node("n1", {"192.168.0.14"})), "") << "one that is there already";
  objects_.nodes.pop_back();
  EXPECT_EQ(refusal(node("more", {"192.168.0.14"})), "");
}

TEST_F(DeclaredPeers, OneThatNoLinkReachesIsWarnedAbout) {
  objects_.nodes.push_back(node("far", {"10.9.9.9"}));
  EXPECT_EQ(warning(),
            "Node far: 10.9.9.9 is in no subnet of the attached links, which are 192.168.0.0/24 (eth0), fd00::/64 "
            "(eth0): peers speak by "
            "Ethernet and cannot be reached through a router");
  objects_.nodes.back().addresses.push_back(address("fd00::9"));
  EXPECT_EQ(warning(), "") << "one of its addresses will do";
  objects_.nodes.back().addresses.pop_back();
  machine_.links.clear();
  EXPECT_EQ(warning(), "") << "nothing is attached: not known yet";
}

TEST_F(DeclaredPeers, NamesAndAddressesThatAreMixedUpAreWarnedAbout) {
  objects_.nodes[1].addresses = {address("192.168.0.99")};
  EXPECT_NE(warning().find("two nodes with one name"), std::string::npos) << warning();
  objects_.nodes[1].addresses = {address("192.168.0.11")};
  objects_.nodes[0].addresses = {address("192.168.0.11")};
  EXPECT_NE(warning().find("an address of this machine, which is node pi1"), std::string::npos) << warning();
  objects_.nodes[0].addresses.clear();
  EXPECT_NE(warning().find("Node pi3 has no InternalIP"), std::string::npos) << warning();
}

TEST_F(DeclaredPeers, TheirAddressesAreNoVips) {
  objects_.pools = {test::pool("home", {"192.168.0.11-192.168.0.14"})};
  objects_.services = {test::service("web")};
  const Allocation allocation = allocate(objects_, {}, node_uses(objects_));
  EXPECT_EQ(allocation.held.at(objects_.services[0].name).addresses, std::vector<Address>{address("192.168.0.14")});
  objects_.services.own(0).requested = {address("192.168.0.12")};
  const Allocation refused = allocate(objects_, {}, node_uses(objects_));
  EXPECT_NE(refused.refusals.at(objects_.services[0].name).find("is the address of node pi2"), std::string::npos);
}

TEST_F(DeclaredPeers, TwoNodesWithOneAddressAreNoValidDeclaration) {
  EXPECT_TRUE(validate(objects_));
  objects_.nodes[0].addresses.push_back(address("192.168.0.12"));
  const auto valid = validate(objects_);
  ASSERT_FALSE(valid);
  EXPECT_EQ(valid.error().text, "Node pi2: 192.168.0.12 is the address of node pi3 already: each has its own");
}

}  // namespace
}  // namespace xlb
