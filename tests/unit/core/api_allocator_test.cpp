// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/api_allocator.hpp"

#include <algorithm>
#include <optional>
#include <random>

#include "tests/unit/core/model_api_server.hpp"

namespace xlb {
namespace {

using test::address;
using test::ModelApiServer;
using test::pool;
using test::service;
using test::tcp;
using test::udp;

class ApiAllocatorTest : public testing::Test {
 protected:
  ApiAllocatorTest() { server.state.objects.pools = {pool("home", {"192.168.0.200-192.168.0.203", "fd00::200-fd00::203"})}; }

  AllocatorOrders step() { return allocator.step(server.state.objects, server.state, avoid); }
  // Every order is carried out until there is none.
  AllocatorOrders settle() {
    for (int round = 0; round < 50; ++round) {
      AllocatorOrders orders = step();
      for (const ServiceNotice& notice : orders.notices) notices.push_back(notice.service.name + ": " + notice.reason + ": " + notice.message);
      if (orders.claims.empty() && orders.statuses.empty() && orders.releases.empty()) return orders;
      for (const ClaimOrder& order : orders.claims) EXPECT_TRUE(server.carry_out(order));
      for (const StatusOrder& order : orders.statuses)
        if (server.carry_out(order)) allocator.wrote(order);
      for (const ReleaseOrder& order : orders.releases) server.carry_out(order);
    }
    ADD_FAILURE() << "does not come to rest";
    return {};
  }
  std::string given(const std::string& name) {
    const Assignments all = given_by_api(server.state.objects, server.state, {});
    std::string text;
    for (const Address& address : all.at({"default", name}).addresses) text += (text.empty() ? "" : " ") + address.text();
    return text;
  }
  [[nodiscard]] std::vector<std::string> leases() const {
    std::vector<std::string> names;
    for (const auto& [name, lease] : *server.state.leases) names.push_back(name + " " + lease.annotations.at(kServicesAnnotation));
    return names;
  }

  ModelApiServer server;
  ApiAllocator allocator;
  std::map<Address, std::string> avoid;
  std::vector<std::string> notices;
};

TEST_F(ApiAllocatorTest, TheAddressIsClaimedBeforeItIsShown) {
  server.add("web");
  AllocatorOrders orders = step();
  ASSERT_EQ(orders.claims.size(), 1u);
  EXPECT_TRUE(orders.claims[0].create);
  EXPECT_EQ(orders.claims[0].lease.address, address("192.168.0.200"));
  EXPECT_TRUE(orders.statuses.empty()) << "not before the Lease is there";
  server.carry_out(orders.claims[0]);
  EXPECT_EQ(given("web"), "") << "nobody serves what the status does not show";
  orders = step();
  EXPECT_TRUE(orders.claims.empty());
  ASSERT_EQ(orders.statuses.size(), 1u);
  EXPECT_EQ(orders.statuses[0].pool, "home");
  server.carry_out(orders.statuses[0]);
  EXPECT_EQ(given("web"), "192.168.0.200");
  settle();
  EXPECT_EQ(leases(), std::vector<std::string>{"vip-192.168.0.200 uid-1 default/web"});
}

TEST_F(ApiAllocatorTest, WhatTheStatusShowsAtTheStartStays) {
  server.add("old");
  server.add("young");
  server.show("young", {"192.168.0.202"});
  settle();
  EXPECT_EQ(server.shown("young"), "192.168.0.202");
  EXPECT_EQ(server.shown("old"), "192.168.0.200");
}

TEST_F(ApiAllocatorTest, AddressesOfNodesAndOfNoPoolDoNotStay) {
  server.add("a");
  server.add("b");
  server.show("a", {"192.168.0.10"});
  server.show("b", {"192.168.0.201"});
  avoid[address("192.168.0.201")] = "it is a node's";
  settle();
  EXPECT_EQ(server.shown("a"), "192.168.0.200");
  EXPECT_EQ(server.shown("b"), "192.168.0.202");
}

TEST_F(ApiAllocatorTest, AServiceThatIsMadeAgainDoesNotInherit) {
  server.add("web");
  settle();
  server.remove("web");
  server.add("other");
  server.add("web");
  settle();
  EXPECT_EQ(leases().size(), 2u);
  EXPECT_NE(given("web"), "");
  EXPECT_NE(given("web"), given("other"));
}

TEST_F(ApiAllocatorTest, ADeletedServiceGivesItsAddressBack) {
  server.add("web");
  settle();
  server.remove("web");
  settle();
  EXPECT_TRUE(leases().empty());
  server.add("next");
  settle();
  EXPECT_EQ(server.shown("next"), "192.168.0.200");
}

TEST_F(ApiAllocatorTest, WhoIsOnlyMissingFromTheListKeepsItsLease) {
  server.add("web");
  settle();
  const ModelApiServer before = server;
  server.remove("web");  // the list lags: the Service is there still
  const AllocatorOrders orders = step();
  ASSERT_EQ(orders.releases.size(), 1u);
  EXPECT_EQ(orders.releases[0].unseen.size(), 1u);
  ModelApiServer real = before;
  EXPECT_FALSE(real.carry_out(orders.releases[0]));
}

TEST_F(ApiAllocatorTest, AnotherAddressAskedForIsShownBeforeTheOldOneGoes) {
  server.add("web");
  settle();
  server.state.objects.services.own(0).requested = {address("192.168.0.203")};
  AllocatorOrders orders = step();
  EXPECT_EQ(orders.claims.size(), 1u);
  EXPECT_TRUE(orders.releases.empty());
  settle();
  EXPECT_EQ(server.shown("web"), "192.168.0.203");
  EXPECT_EQ(leases().size(), 1u);
}

TEST_F(ApiAllocatorTest, TwoThatChangePlacesGetThere) {
  server.add("a");
  server.add("b");
  settle();
  server.state.objects.services.own(0).requested = {address("192.168.0.201")};
  server.state.objects.services.own(1).requested = {address("192.168.0.200")};
  settle();
  EXPECT_EQ(given("a"), "192.168.0.201");
  EXPECT_EQ(given("b"), "192.168.0.200");
}

TEST_F(ApiAllocatorTest, UnderASharingKeyOneLeaseServesBoth) {
  Service quic = service("quic", {udp(443)}), web = service("web", {tcp(443)});
  quic.sharing_key = web.sharing_key = "http3";
  server.add(quic);
  server.add(web);
  settle();
  EXPECT_EQ(given("quic"), "192.168.0.200");
  EXPECT_EQ(given("web"), "192.168.0.200");
  EXPECT_EQ(leases(), std::vector<std::string>{"vip-192.168.0.200 uid-1 default/quic,uid-2 default/web"});
  server.remove("quic");
  settle();
  EXPECT_EQ(leases(), std::vector<std::string>{"vip-192.168.0.200 uid-2 default/web"});
  EXPECT_EQ(given("web"), "192.168.0.200");
}

TEST_F(ApiAllocatorTest, WhoSharedWithOneThatIsGoneIsNotMoved) {
  Service quic = service("quic", {udp(443)}), web = service("web", {tcp(443)});
  quic.sharing_key = web.sharing_key = "http3";
  server.add(quic);
  server.add(web);
  settle();
  server.remove("quic");
  const AllocatorOrders orders = step();
  EXPECT_TRUE(orders.claims.empty());
  EXPECT_EQ(orders.wanted.at({"default", "web"}).addresses, std::vector<Address>{address("192.168.0.200")});
  EXPECT_EQ(orders.releases.size(), 1u);
}

TEST_F(ApiAllocatorTest, NoServiceIsLeftForNodesToDecide) {
  server.add("web");
  settle();
  server.state.services.own()[{"default", "web"}].identity.deleting = true;
  EXPECT_EQ(given("web"), "192.168.0.200") << "served until it is gone";
  server.state.services.own().clear();
  EXPECT_EQ(given("web"), "");
}

TEST_F(ApiAllocatorTest, ARefusalIsSaidOnceInMetalLbsWords) {
  Service web = service("web");
  web.requested = {address("10.0.0.1")};
  server.add(web);
  settle();
  settle();
  EXPECT_EQ(notices, std::vector<std::string>{
                         "web: AllocationFailed: Failed to allocate IP for default/web: [\"10.0.0.1\"] is not allowed in config"});
}

TEST_F(ApiAllocatorTest, OldSpellingsAreToldOnce) {
  server.add("web");
  server.state.services.own()[{"default", "web"}].deprecated = {"metallb.universe.tf/address-pool"};
  settle();
  settle();
  EXPECT_EQ(notices, std::vector<std::string>{"web: deprecatedAnnotation: Service uses deprecated annotation "
                                              "metallb.universe.tf/address-pool: write metallb.io/ instead of metallb.universe.tf/"});
}

TEST_F(ApiAllocatorTest, AFamilyThatNobodyComesInByIsToldOnceAndAgainWhenItIsNews) {
  Service web = service("web");
  web.families = {Family::ipv4, Family::ipv6};
  web.family_policy = FamilyPolicy::require_dual;
  web.source_ranges = {*parse_prefix("192.168.0.0/24")};
  server.add(web);
  settle();
  settle();
  const std::string sentence =
      "web: sourceRangesDenyFamily: loadBalancerSourceRanges has no IPv6 range: every IPv6 client is denied";
  EXPECT_EQ(notices, std::vector<std::string>{sentence});
  server.state.objects.services.own(0).source_ranges.push_back(*parse_prefix("fd00::/64"));
  settle();
  EXPECT_EQ(notices.size(), 1u) << "nobody is denied";
  server.state.objects.services.own(0).source_ranges.pop_back();
  settle();
  EXPECT_EQ(notices, (std::vector<std::string>{sentence, sentence}));
}

TEST_F(ApiAllocatorTest, WhatHasNoAddressOfAFamilyDeniesNobody) {
  Service web = service("web");
  web.source_ranges = {*parse_prefix("192.168.0.0/24")};
  server.add(web);
  settle();
  EXPECT_EQ(server.shown("web"), "192.168.0.200");
  EXPECT_EQ(notices, std::vector<std::string>{});
}

TEST_F(ApiAllocatorTest, WhatIsAllowedNoMoreIsTakenAway) {
  server.add("web");
  settle();
  server.state.objects.pools = {pool("other", {"192.168.7.1-192.168.7.1"})};
  server.add("more");
  settle();
  EXPECT_EQ(server.shown("more"), "192.168.7.1") << "by name more comes first";
  EXPECT_EQ(server.shown("web"), "");
  EXPECT_EQ(leases().size(), 1u);
  EXPECT_EQ(notices.back(), "web: AllocationFailed: Failed to allocate IP for default/web: no available IPs");
}

TEST_F(ApiAllocatorTest, ANoMoreLoadBalancerIsCleared) {
  server.add("web");
  settle();
  // As the server has it: the status is empty at once, the annotation stays.
  server.state.objects.services.own(0).type = "ClusterIP";
  server.show("web", {});
  settle();
  EXPECT_EQ(server.of("web").allocated_from, "");
  EXPECT_TRUE(leases().empty());
  server.add("next");
  settle();
  server.state.objects.services.own(1).type = "ExternalName";
  settle();
  EXPECT_EQ(server.shown("next"), "");
}

TEST_F(ApiAllocatorTest, AClassOfSomebodyElseIsNotTouched) {
  Service web = service("web");
  web.load_balancer_class = "example.com/lb";
  server.add(web);
  server.show("web", {"192.168.0.200"});
  server.add("own");
  const AllocatorOrders orders = settle();
  EXPECT_EQ(server.shown("web"), "192.168.0.200");
  EXPECT_EQ(server.shown("own"), "192.168.0.200") << "what another balancer does with an address of ours is its user's affair";
}

TEST_F(ApiAllocatorTest, WhoIsOverwrittenTwiceStopsAndSaysSo) {
  server.add("web");
  settle();
  for (int time = 0; time < 2; ++time) {
    step();  // sees its own
    server.show("web", {"192.168.0.11"});
    settle();
  }
  EXPECT_EQ(server.shown("web"), "192.168.0.11");
  ASSERT_FALSE(notices.empty());
  EXPECT_NE(notices.back().find("--disable servicelb"), std::string::npos) << notices.back();
  settle();
  EXPECT_EQ(notices.size(), 1u);
}

TEST_F(ApiAllocatorTest, AnUnreadableLeaseKeepsItsAddressFromEverybody) {
  ApiLease lease;
  lease.holder = "somebody";
  server.state.leases.own()["vip-192.168.0.200"] = lease;
  server.add("web");
  settle();
  EXPECT_EQ(server.shown("web"), "192.168.0.201");
}

TEST_F(ApiAllocatorTest, ALeaseDeletedByHandTakesNothingFromWhoServesIt) {
  server.add("web");
  settle();
  const Assignments before = given_by_api(server.state.objects, server.state, {});
  server.state.leases.own().clear();
  EXPECT_EQ(given("web"), "");
  EXPECT_EQ(given_by_api(server.state.objects, server.state, before), before);
  settle();
  EXPECT_EQ(given("web"), "192.168.0.200");
}

TEST_F(ApiAllocatorTest, WithoutAClusterIpOrWithAContradictionThereIsNoAddress) {
  server.add("fresh");
  server.state.services.own()[{"default", "fresh"}].cluster_ips.clear();
  server.add("torn");
  server.state.services.own()[{"default", "torn"}].contradiction = "service can not have both";
  const AllocatorOrders orders = step();
  EXPECT_TRUE(orders.claims.empty());
  EXPECT_EQ(orders.refusals.size(), 2u);
}

TEST_F(ApiAllocatorTest, AContradictionKeepsWhatIsShown) {
  server.add("web");
  settle();
  server.state.services.own()[{"default", "web"}].contradiction = "service can not have both";
  settle();
  server.state.objects.services.clear();  // as one that cannot be read has no row
  settle();
  EXPECT_EQ(server.shown("web"), "192.168.0.200");
  EXPECT_EQ(leases().size(), 1u);
  EXPECT_EQ(notices.size(), 1u);
}

// ---- two allocators that both lead, with views that lag, and orders that get lost ---------------------------------------

struct Two : testing::TestWithParam<unsigned> {};

// What nodes serve: one address for one Service, unless both share it.
void expect_nobody_twice(const ModelApiServer& server, const std::string& when) {
  std::map<Address, const Service*> users;
  const Assignments given = given_by_api(server.state.objects, server.state, {});
  for (const Service& service : server.state.objects.services) {
    for (const Address& address : given.at(service.name).addresses) {
      const auto [place, fresh] = users.try_emplace(address, &service);
      if (!fresh) {
        ASSERT_FALSE(service.sharing_key.empty()) << when << ": " << address.text();
        ASSERT_EQ(service.sharing_key, place->second->sharing_key) << when << ": " << address.text();
      }
    }
  }
}

TEST_P(Two, NeverGiveOneAddressToTwoServicesAndComeToRest) {
  std::mt19937 chance(GetParam());
  const auto roll = [&](unsigned sides) { return chance() % sides; };
  ModelApiServer server;
  server.state.objects.pools = {pool("home", {"192.168.0.200-192.168.0.205"})};
  ApiAllocator allocators[2];
  ApiState views[2];
  std::vector<std::pair<int, AllocatorOrders>> late;  // of a paused process
  for (int turn = 0; turn < 300; ++turn) {
    const std::string name = "s" + std::to_string(roll(6));
    switch (roll(8)) {
      case 0: {
        Service made = service(name, {tcp(static_cast<std::uint16_t>(80 + roll(3)))});
        if (roll(3) == 0) made.sharing_key = "shared";
        if (roll(4) == 0) made.requested = {address("192.168.0.20" + std::to_string(roll(7)))};
        server.add(made);
        break;
      }
      case 1: server.remove(name); break;
      case 2:
        if (server.state.services->contains({"default", name})) server.show(name, {"192.168.0.20" + std::to_string(roll(7))});
        break;
      default: break;
    }
    for (const int who : {0, 1}) {
      if (roll(2) == 0) views[who] = server.state;
      AllocatorOrders orders = allocators[who].step(views[who].objects, views[who], {});
      if (roll(4) == 0) {
        late.emplace_back(who, std::move(orders));
        continue;
      }
      if (!late.empty() && roll(3) == 0) {
        orders = late.back().second;
        late.pop_back();
      }
      for (const ClaimOrder& order : orders.claims)
        if (roll(5) != 0) server.carry_out(order);
      for (const StatusOrder& order : orders.statuses)
        if (roll(5) != 0 && server.carry_out(order)) allocators[who].wrote(order);
      for (const ReleaseOrder& order : orders.releases)
        if (roll(5) != 0) server.carry_out(order);
      ASSERT_NO_FATAL_FAILURE(expect_nobody_twice(server, "turn " + std::to_string(turn)));
    }
  }
  // Quiet, and one that leads: what allocate() says is what everybody serves, and no Lease is left over.
  ApiAllocator last;
  for (int round = 0; round < 60; ++round) {
    const AllocatorOrders orders = last.step(server.state.objects, server.state, {});
    for (const ClaimOrder& order : orders.claims) server.carry_out(order);
    for (const StatusOrder& order : orders.statuses) server.carry_out(order);
    for (const ReleaseOrder& order : orders.releases) server.carry_out(order);
  }
  const AllocatorOrders rest = last.step(server.state.objects, server.state, {});
  EXPECT_TRUE(rest.claims.empty() && rest.statuses.empty() && rest.releases.empty());
  const Assignments given = given_by_api(server.state.objects, server.state, {});
  std::set<Address> used;
  for (const auto& [name, assignment] : given) {
    const auto wanted = rest.wanted.find(name);
    EXPECT_EQ(assignment.addresses, wanted == rest.wanted.end() ? std::vector<Address>{} : wanted->second.addresses) << name.text();
    used.insert(assignment.addresses.begin(), assignment.addresses.end());
  }
  EXPECT_EQ(server.state.leases->size(), used.size());
}
INSTANTIATE_TEST_SUITE_P(Seeds, Two, testing::Range(1u, 61u));

}  // namespace
}  // namespace xlb
