// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/decide.hpp"

#include <algorithm>

#include "tests/unit/core/build.hpp"
#include "userspace/core/allocator.hpp"

namespace xlb {
namespace {

using test::address;
using test::endpoint;
using test::pool;
using test::prefix;
using test::service;
using test::slice;
using test::tcp;

// The tutorial's home: one pool, one advertisement, one web server in a pod, one link.
class Decide : public ::testing::Test {
 protected:
  Decide() {
    objects_.pools = {pool("home", {"192.168.0.200-192.168.0.250", "fd00::200-fd00::250"})};
    objects_.advertisements.resize(1);
    objects_.advertisements[0].name.name = "lan";
    objects_.advertisements[0].pools = {"home"};
    objects_.services = {service("web", {tcp(80, "8000")})};
    objects_.slices = {slice("web", {}, {endpoint("10.42.0.8"), endpoint("fd00:42::8")})};
    machine_.node_name = "pi1";
    machine_.links = {link("eth0", 2, "192.168.0.0/24")};
    machine_.links[0].subnets.push_back(prefix("fd00::/64"));
    machine_.links[0].gateway4 = address("192.168.0.1");
    machine_.own_addresses = {address("192.168.0.10")};
    machine_.places[address("10.42.0.8")] = test::pod(11);
    machine_.places[address("fd00:42::8")] = test::pod(11);
  }
  static Link link(const std::string& name, std::uint32_t ifindex, const std::string& subnet) {
    Link link;
    link.name = link.l3_name = name;
    link.attach_ifindex = link.l3_ifindex = ifindex;
    link.subnets = {prefix(subnet)};
    return link;
  }
  Desired decided() {
    const Allocation allocation = allocate(objects_, held_, {});
    return decide(objects_, allocation.held, machine_, allocation.refusals, conflicts_, peers_);
  }
  DesiredVip only_vip() {
    const Desired desired = decided();
    EXPECT_EQ(desired.vips.size(), 1u);
    return desired.vips.empty() ? DesiredVip{} : desired.vips.front();
  }
  std::string not_owned() {
    const DesiredVip vip = only_vip();
    EXPECT_FALSE(vip.owned);
    EXPECT_TRUE(vip.links.empty());
    return vip.reason;
  }
  static bool warned(const Desired& desired, const std::string& text) {
    const bool found = std::any_of(desired.warnings.begin(), desired.warnings.end(),
                                   [&](const auto& warning) { return warning.find(text) != std::string::npos; });
    if (!found) {
      for (const auto& warning : desired.warnings) ADD_FAILURE() << warning;
    }
    return found;
  }

  Objects objects_;
  Machine machine_;
  Assignments held_;
  std::map<Address, std::string> conflicts_;
  PeerFacts peers_;
};

TEST_F(Decide, TheTutorialIsOwnedAndServed) {
  const Desired desired = decided();
  ASSERT_EQ(desired.vips.size(), 1u);
  const DesiredVip& vip = desired.vips[0];
  EXPECT_EQ(vip.address, address("192.168.0.200"));
  EXPECT_EQ(vip.pool, "home");
  EXPECT_TRUE(vip.owned) << vip.reason;
  EXPECT_EQ(vip.links, std::vector<std::string>{"eth0"});
  EXPECT_EQ(vip.services, (std::vector<ObjectName>{{"default", "web"}}));
  ASSERT_EQ(desired.services.size(), 1u);
  ASSERT_EQ(desired.services[0].ports.size(), 1u);
  ASSERT_EQ(desired.services[0].ports[0].backends.size(), 1u);
  EXPECT_EQ(desired.services[0].ports[0].backends[0].port, 8000);
  EXPECT_EQ(desired.services[0].ports[0].backends[0].node, "pi1");
  EXPECT_TRUE(desired.warnings.empty());
}

TEST_F(Decide, DualStackIsTwoVipsAndOneServiceEach) {
  objects_.services.own(0).family_policy = FamilyPolicy::require_dual;
  const Desired desired = decided();
  ASSERT_EQ(desired.vips.size(), 2u);
  EXPECT_TRUE(desired.vips[0].owned);
  EXPECT_TRUE(desired.vips[1].owned);
  ASSERT_EQ(desired.services.size(), 2u);
  EXPECT_EQ(desired.services[0].ports[0].backends[0].address, address("10.42.0.8"));
  EXPECT_EQ(desired.services[1].ports[0].backends[0].address, address("fd00:42::8"));
}

TEST_F(Decide, NoAdvertisement) {
  objects_.advertisements[0].pools = {"other"};
  EXPECT_EQ(not_owned(), "no L2Advertisement names pool home: nobody announces its addresses");
  const Desired desired = decided();
  EXPECT_TRUE(warned(desired, "IPAddressPool home: no L2Advertisement names it"));
  EXPECT_TRUE(warned(desired, "L2Advertisement lan: unknown pool \"other\""));
  EXPECT_EQ(desired.services.size(), 1u);  // served nevertheless
}

TEST_F(Decide, AdvertisementsNameAllPoolsOrSelectThem) {
  objects_.advertisements[0].pools.clear();
  EXPECT_TRUE(only_vip().owned);
  objects_.advertisements[0].pool_selectors = {LabelSelector{{{"zone", LabelRequirement::Operator::exists, {}}}}};
  EXPECT_FALSE(only_vip().owned);
  objects_.pools[0].labels = {{"zone", "a"}};
  EXPECT_TRUE(only_vip().owned);
}

TEST_F(Decide, NodeSelectors) {
  const LabelSelector named{{{"kubernetes.io/hostname", LabelRequirement::Operator::in, {"pi2"}}}};
  objects_.advertisements[0].node_selectors = {named};
  EXPECT_EQ(not_owned(), "no L2Advertisement of pool home selects node pi1 and service default/web");
  const LabelSelector edge{{{"edge", LabelRequirement::Operator::exists, {}}}};
  objects_.advertisements[0].node_selectors = {named, edge};
  objects_.nodes = {Node{"pi1", {{"edge", ""}}, {}, false}};
  EXPECT_TRUE(only_vip().owned);
  objects_.nodes[0].network_unavailable = true;
  EXPECT_EQ(not_owned(), "node pi1 reports NetworkUnavailable");
  objects_.nodes[0] =
      Node{"pi1", {{"edge", ""}, {"node.kubernetes.io/exclude-from-external-load-balancers", ""}}, {}, false};
  EXPECT_EQ(not_owned(), "node pi1 has the label node.kubernetes.io/exclude-from-external-load-balancers");
}

TEST_F(Decide, ServiceSelectorsMustCoverEveryServiceOfTheVip) {
  objects_.advertisements[0].service_selectors = {
      LabelSelector{{{"public", LabelRequirement::Operator::exists, {}}}}};
  EXPECT_FALSE(only_vip().owned);
  objects_.services.own(0).labels = {{"public", ""}};
  EXPECT_TRUE(only_vip().owned);
  objects_.services.push_back(service("wiki", {tcp(81)}));
  for (std::size_t i = 0; i < objects_.services.size(); ++i) objects_.services.own(i).sharing_key = "k";
  EXPECT_EQ(not_owned(), "no L2Advertisement of pool home selects node pi1 and service default/wiki");
}

TEST_F(Decide, Interfaces) {
  machine_.links.push_back(link("eth1", 3, "192.168.0.0/24"));
  EXPECT_EQ(only_vip().links, (std::vector<std::string>{"eth0", "eth1"}));
  objects_.advertisements[0].interfaces = {"eth1"};
  EXPECT_EQ(only_vip().links, (std::vector<std::string>{"eth1"}));
  objects_.advertisements[0].interfaces = {"wlan0"};
  EXPECT_EQ(not_owned(), "the L2Advertisements of pool home name other interfaces than eth0, eth1");
  objects_.advertisements.push_back(objects_.advertisements[0]);  // several: union
  objects_.advertisements[1].interfaces = {"eth0"};
  EXPECT_EQ(only_vip().links, (std::vector<std::string>{"eth0"}));
}

TEST_F(Decide, AVlanIsNamedByItsOwnName) {
  Link vlan = link("eth0", 2, "192.168.0.0/24");  // attached by eth0's name
  vlan.l3_name = "eth0.10";
  vlan.l3_ifindex = 5;
  vlan.vlan = 10;
  machine_.links.push_back(vlan);
  objects_.advertisements[0].interfaces = {"eth0"};
  EXPECT_EQ(only_vip().links, (std::vector<std::string>{"eth0"}));
  objects_.advertisements[0].interfaces = {"eth0.10"};
  EXPECT_EQ(only_vip().links, (std::vector<std::string>{"eth0.10"}));
}

TEST_F(Decide, LinksMustBeUpAndHoldTheAddress) {
  machine_.links[0].up = false;
  EXPECT_EQ(not_owned(), "link eth0 is down");
  machine_.links[0].up = true;
  machine_.links[0].subnets = {prefix("10.0.0.0/8"), prefix("fd00::/64")};
  EXPECT_EQ(not_owned(),
            "192.168.0.200 is outside every subnet of the attached links (eth0 10.0.0.0/8): nobody on them would ask "
            "for it");
  machine_.links[0].subnets = {prefix("fd00::/64")};
  EXPECT_EQ(not_owned(),
            "192.168.0.200 is outside every subnet of the attached links (none has an IPv4 address): nobody on "
            "them would ask for it");
  machine_.links.clear();
  EXPECT_EQ(not_owned(), "xdp-lb is attached to no link: xdp-lb attach IFACE");
}

TEST_F(Decide, AddressesInUseAreNotServedAtAll) {
  objects_.services.own(0).requested = {address("192.168.0.201")};
  machine_.own_addresses.insert(address("192.168.0.201"));
  EXPECT_EQ(not_owned(), "192.168.0.201 is an address of this node itself: take it out of the pool");
  EXPECT_TRUE(decided().services.empty());
  machine_.own_addresses.clear();
  machine_.links[0].gateway4 = address("192.168.0.201");
  EXPECT_EQ(not_owned(), "192.168.0.201 is the gateway of link eth0: take it out of the pool");
  EXPECT_TRUE(decided().services.empty());
  machine_.links[0].gateway4.reset();
  conflicts_[address("192.168.0.201")] = "02:00:00:00:00:09 answers for it";
  EXPECT_EQ(not_owned(), "02:00:00:00:00:09 answers for it");
  EXPECT_TRUE(decided().services.empty());
}

TEST_F(Decide, AddressesInUseAreNotGivenOutEither) {
  objects_.pools = {pool("home", {"192.168.0.0/24"})};
  machine_.own_addresses = {address("192.168.0.0")};
  const Allocation allocation = allocate(objects_, {}, own_uses(machine_));
  EXPECT_EQ(allocation.held.at({"default", "web"}).addresses, std::vector<Address>{address("192.168.0.2")});
}

TEST_F(Decide, NobodyAnnouncesWhatNothingServes) {
  objects_.slices.clear();
  EXPECT_EQ(not_owned(),
            "nothing serves it: default/web: no EndpointSlice is labelled kubernetes.io/service-name: web");
  EXPECT_EQ(decided().services.size(), 1u);  // but who comes is told at once that there is nobody
  objects_.services.own(0).ports.clear();
  EXPECT_EQ(not_owned(), "nothing serves it: no port");
}

TEST_F(Decide, OneServedPortIsEnough) {
  objects_.services.own(0).ports.push_back(tcp(443, "https"));
  EXPECT_TRUE(only_vip().owned);
}

TEST_F(Decide, Warnings) {
  objects_.services.own(0).family_policy = FamilyPolicy::require_dual;
  objects_.services.own(0).source_ranges = {prefix("192.168.0.0/16")};
  objects_.services.own(0).unknown_ports = UnknownPorts::fall_back;
  objects_.services.own(0).path = Path::fast;
  machine_.places[address("10.42.0.8")].kind = Place::Kind::routed;
  objects_.slices.own(0).endpoints.push_back(endpoint("10.42.1.1"));
  objects_.slices.own(0).endpoints.back().node = "pi2";
  const Desired desired = decided();
  EXPECT_TRUE(warned(desired,
                     "Service default/web: loadBalancerSourceRanges has no IPv6 range: every IPv6 client is denied"));
  EXPECT_TRUE(warned(desired, "unknown ports of 192.168.0.200 fall back to the kernel, but no kube-proxy was found"));
  EXPECT_TRUE(warned(desired, "asks for the fast path, but no veth was found for 10.42.0.8: kernel path"));
  EXPECT_TRUE(warned(desired, "endpoint 10.42.1.1 is on node pi2"));
}

TEST_F(Decide, ManyEndpointsLeftOutAreOneWarningOrFew) {
  for (int i = 1; i <= 50; ++i) {
    objects_.slices.own(0).endpoints.push_back(endpoint("10.42.1." + std::to_string(i)));
    objects_.slices.own(0).endpoints.back().node = "pi2";
  }
  const Desired desired = decided();
  EXPECT_EQ(desired.warnings.size(), 4u);
  EXPECT_TRUE(warned(desired, "47 more are left out"));
}

TEST_F(Decide, SharedVipUnknownPortsAreThoseOfTheFirst) {
  objects_.services.push_back(service("wiki", {tcp(81)}));
  for (std::size_t i = 0; i < objects_.services.size(); ++i) objects_.services.own(i).sharing_key = "k";
  objects_.services.own(0).unknown_ports = UnknownPorts::drop;
  const Desired desired = decided();
  ASSERT_EQ(desired.vips.size(), 1u);
  EXPECT_EQ(desired.vips[0].unknown_ports, UnknownPorts::drop);
  EXPECT_TRUE(warned(desired, "default/wiki: shares 192.168.0.200 with default/web"));
}

TEST_F(Decide, WithPeersClaimsSayWhoOwns) {
  peers_.alone = false;
  peers_.peers = {{"pi2", {address("192.168.0.12")}, {}, 2, 0, true}};
  EXPECT_FALSE(only_vip().owned);
  EXPECT_TRUE(only_vip().eligible);
  EXPECT_EQ(only_vip().reason, "nothing is settled yet between this node and its peers");
  EXPECT_EQ(decided().peers, peers_.peers);

  peers_.holdings[address("192.168.0.200")] = {true, 7, "pi1", "best rank"};
  EXPECT_TRUE(only_vip().owned);
  EXPECT_EQ(only_vip().claim_epoch, 7u);
  EXPECT_EQ(only_vip().reason, "best rank");

  peers_.holdings[address("192.168.0.200")] = {false, 0, "pi2", "pi2 claims it at epoch 8"};
  const DesiredVip standby = only_vip();
  EXPECT_FALSE(standby.owned);
  EXPECT_TRUE(standby.eligible);
  EXPECT_EQ(standby.owner, "pi2");
  EXPECT_EQ(standby.links, std::vector<std::string>{"eth0"});  // it may have to answer at any moment
}

TEST_F(Decide, AnOwnerThatIsNotEligibleAnyMoreAnswersUntilItHandsOver) {
  peers_.alone = false;
  peers_.holdings[address("192.168.0.200")] = {true, 7, "pi1", "nobody else is eligible"};
  objects_.slices.clear();
  EXPECT_TRUE(only_vip().owned);
  EXPECT_FALSE(only_vip().eligible);
  EXPECT_EQ(only_vip().obstacle,
            "nothing serves it: default/web: no EndpointSlice is labelled kubernetes.io/service-name: web");
}

TEST_F(Decide, WhatMustNotBeServedIsNotAnsweredForWhateverWasClaimed) {
  peers_.alone = false;
  peers_.holdings[address("192.168.0.200")] = {true, 7, "pi1", "best rank"};
  held_[{"default", "web"}] = {{address("192.168.0.200")}, "home"};
  conflicts_[address("192.168.0.200")] = "192.168.0.200 is taken by 02:00:00:00:00:99";
  objects_.services.own(0).requested = {};
  const Desired desired = decide(objects_, held_, machine_, {}, conflicts_, peers_);
  ASSERT_EQ(desired.vips.size(), 1u);
  EXPECT_FALSE(desired.vips[0].owned);
  EXPECT_EQ(desired.vips[0].reason, conflicts_.begin()->second);
}

TEST_F(Decide, AVipThatIsTakenOverIsTakenFirstWhereItWasAnnounced) {
  EXPECT_FALSE(only_vip().taken_over);
  machine_.taken_over[address("192.168.0.200")] = {true, "pi2", true};
  EXPECT_TRUE(only_vip().taken_over);
  EXPECT_TRUE(only_vip().continues);
  EXPECT_TRUE(only_vip().eligible) << "there is no pi2";
  peers_.alone = false;
  peers_.peers = {{"pi2", {address("192.168.0.12")}, {}, 2, 0, true}};
  EXPECT_FALSE(only_vip().eligible);
  EXPECT_EQ(only_vip().obstacle, "it is being taken over by pi2, from where MetalLB announced it");
  EXPECT_EQ(decided().services.size(), 1u) << "its packets are steered here all the same";
  peers_.peers[0].alive = false;
  EXPECT_TRUE(only_vip().eligible);
  peers_.peers[0].alive = true;
  machine_.taken_over[address("192.168.0.200")].reserved = false;
  EXPECT_TRUE(only_vip().eligible) << "pi2 has it";
  EXPECT_EQ(only_vip().preference, 0);
  machine_.taken_over[address("192.168.0.200")] = {true, "pi1", true};
  EXPECT_TRUE(only_vip().eligible);
  EXPECT_GT(only_vip().preference, 1000) << "it stays where connections are open";
}

TEST_F(Decide, PreferenceIsTheSumOfTheWeightsThatMatchThisNode) {
  L2Advertisement& lan = objects_.advertisements[0];
  const LabelSelector here{{{"kubernetes.io/hostname", LabelRequirement::Operator::in, {"pi1"}}}};
  const LabelSelector there{{{"kubernetes.io/hostname", LabelRequirement::Operator::in, {"pi2"}}}};
  lan.preferred_nodes = {{40, here}, {20, {}}, {100, there}};
  EXPECT_EQ(only_vip().preference, 60);
}

TEST_F(Decide, BothFamiliesOfAServiceAreRankedByTheFirst) {
  objects_.services.own(0).family_policy = FamilyPolicy::require_dual;
  const Desired desired = decided();
  ASSERT_EQ(desired.vips.size(), 2u);
  EXPECT_EQ(desired.vips[0].ranked_by, address("192.168.0.200"));
  EXPECT_EQ(desired.vips[1].ranked_by, address("192.168.0.200"));
}

TEST_F(Decide, RefusalsArePassedOn) {
  objects_.services.own(0).pool = "office";
  EXPECT_EQ(decided().refusals.at({"default", "web"}), "unknown pool \"office\"");
}

TEST_F(Decide, BackendAddressesToBeFound) {
  const std::vector<Address> here{address("10.42.0.8"), address("fd00:42::8")};
  EXPECT_EQ(backend_addresses(objects_, "pi1"), here);
  objects_.slices.own(0).endpoints[0].node = "pi1";
  EXPECT_EQ(backend_addresses(objects_, "pi1"), here);
  EXPECT_EQ(backend_addresses(objects_, "pi2"), std::vector<Address>{address("fd00:42::8")});
}

}  // namespace
}  // namespace xlb
