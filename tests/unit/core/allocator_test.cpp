// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/allocator.hpp"

#include <algorithm>

#include "tests/unit/core/build.hpp"

namespace xlb {
namespace {

using test::address;
using test::pool;
using test::service;
using test::tcp;
using test::udp;

const ObjectName web{"default", "web"};

std::string given(const Allocation& allocation, const std::string& name) {
  const auto held = allocation.held.find({"default", name});
  if (held == allocation.held.end()) {
    const auto refusal = allocation.refusals.find({"default", name});
    return refusal == allocation.refusals.end() ? "nothing" : refusal->second;
  }
  std::string text;
  for (const Address& address : held->second.addresses) text += (text.empty() ? "" : " ") + address.text();
  return text;
}

Objects home(std::vector<Service> services = {service("web")}) {
  Objects objects;
  objects.pools = {pool("home", {"192.168.0.200-192.168.0.250"})};
  objects.services = std::move(services);
  return objects;
}

Objects dual(std::vector<Service> services = {service("web")}) {
  Objects objects;
  objects.pools = {pool("home", {"192.168.0.200-192.168.0.203", "fd00::200-fd00::203"})};
  objects.services = std::move(services);
  return objects;
}

TEST(Allocator, TutorialPoolGivesItsFirstAddress) {
  const Allocation allocation = allocate(home(), {}, {});
  EXPECT_EQ(given(allocation, "web"), "192.168.0.200");
  EXPECT_EQ(allocation.held.at(web).pool, "home");
  EXPECT_TRUE(allocation.refusals.empty());
}

TEST(Allocator, OnlyLoadBalancersWithoutAClass) {
  Objects objects = home({service("cluster"), service("other")});
  objects.services.own(0).type = "ClusterIP";
  objects.services.own(1).load_balancer_class = "example.com/lb";
  const Allocation allocation = allocate(objects, {}, {});
  EXPECT_EQ(given(allocation, "cluster"), "nothing");
  EXPECT_EQ(given(allocation, "other"), "loadBalancerClass \"example.com/lb\" belongs to another load balancer");
}

TEST(Allocator, WhatIsGivenElsewhereIsTakenAsItIs) {
  const Objects objects = home({service("abroad"), service("own"), service("waits")});
  const Assignments given_elsewhere{{{"default", "abroad"}, {{address("192.168.0.200")}, "home"}}, {{"default", "waits"}, {}}};
  const Allocation allocation = allocate(objects, {{{"default", "own"}, {{address("192.168.0.200")}, "home"}}}, {}, given_elsewhere);
  EXPECT_EQ(given(allocation, "abroad"), "192.168.0.200");
  EXPECT_EQ(given(allocation, "own"), "192.168.0.201") << "though it held the other";
  EXPECT_EQ(given(allocation, "waits"), "nothing");
}

TEST(Allocator, HeldAddressesStayAndComeFirst) {
  const Objects objects = home({service("alpha"), service("web")});
  const Assignments held{{web, {{address("192.168.0.200")}, "home"}}};
  const Allocation allocation = allocate(objects, held, {});
  EXPECT_EQ(given(allocation, "web"), "192.168.0.200");
  EXPECT_EQ(given(allocation, "alpha"), "192.168.0.201");
}

TEST(Allocator, HeldAddressOutsideEveryPoolIsReplaced) {
  const Assignments held{{web, {{address("192.168.9.9")}, "home"}}};
  EXPECT_EQ(given(allocate(home(), held, {}), "web"), "192.168.0.200");
}

TEST(Allocator, HeldAddressFollowsARequestAndAPool) {
  Objects objects = home();
  objects.pools.push_back(pool("lab", {"10.0.0.0/30"}));
  const Assignments held{{web, {{address("192.168.0.205")}, "home"}}};
  EXPECT_EQ(given(allocate(objects, held, {}), "web"), "192.168.0.205");
  objects.services.own(0).requested = {address("192.168.0.210")};
  EXPECT_EQ(given(allocate(objects, held, {}), "web"), "192.168.0.210");
  objects.services.own(0).requested.clear();
  objects.services.own(0).pool = "lab";
  EXPECT_EQ(given(allocate(objects, held, {}), "web"), "10.0.0.0");
}

TEST(Allocator, AnAnsweredAddressIsNotGivenOutAndNotKept) {
  const std::map<Address, std::string> avoid{{address("192.168.0.200"), "02:00:00:00:00:09 answers for it"}};
  EXPECT_EQ(given(allocate(home(), {}, avoid), "web"), "192.168.0.201");
  const Assignments held{{web, {{address("192.168.0.200")}, "home"}}};
  EXPECT_EQ(given(allocate(home(), held, avoid), "web"), "192.168.0.201");
  Objects objects = home();
  objects.services.own(0).requested = {address("192.168.0.200")};
  EXPECT_EQ(given(allocate(objects, {}, avoid), "web"),
            "requested loadBalancer IP(s) [\"192.168.0.200\"] cannot be given out: 02:00:00:00:00:09 "
            "answers for it");
}

TEST(Allocator, RequestsGoBeforeTheRest) {
  Objects objects = home({service("alpha"), service("web")});
  objects.services.own(1).requested = {address("192.168.0.200")};
  const Allocation allocation = allocate(objects, {}, {});
  EXPECT_EQ(given(allocation, "web"), "192.168.0.200");
  EXPECT_EQ(given(allocation, "alpha"), "192.168.0.201");
}

TEST(Allocator, RefusalsOfRequests) {
  const auto refused = [](std::vector<std::string> asked, const auto& change) {
    Objects objects = dual({service("web"), service("zeta")});
    for (const std::string& text : asked) objects.services.own(0).requested.push_back(address(text));
    objects.services.own(1).requested = {address("192.168.0.203")};
    change(objects);
    const Assignments held{{{"default", "zeta"}, {{address("192.168.0.203")}, "home"}}};
    return given(allocate(objects, held, {}), "web");
  };
  const auto as_is = [](Objects&) {};
  EXPECT_EQ(refused({"192.168.0.200", "192.168.0.201", "fd00::200"}, as_is),
            R"(more than two addresses ["192.168.0.200" "192.168.0.201" "fd00::200"])");
  EXPECT_EQ(refused({"192.168.0.200", "192.168.0.201"}, as_is),
            R"("192.168.0.200" "192.168.0.201" has the same family)");
  EXPECT_EQ(refused({"192.168.0.199"}, as_is), R"(["192.168.0.199"] is not allowed in config)");
  EXPECT_EQ(refused({"192.168.0.203"}, as_is),
            R"(can't change sharing key for "default/web", address also in use by default/zeta)");
  EXPECT_EQ(refused({"192.168.0.200"}, [](Objects& objects) { objects.services.own(0).families = {Family::ipv6}; }),
            R"(requested loadBalancer IP(s) ["192.168.0.200"] does not match the ipFamily of the service)");
  EXPECT_EQ(refused({"192.168.0.200"},
                    [](Objects& objects) { objects.services.own(0).family_policy = FamilyPolicy::require_dual; }),
            R"(requested loadBalancer IP(s) ["192.168.0.200"] does not match the ipFamily of the service)");
  EXPECT_EQ(refused({"192.168.0.200"}, [](Objects& objects) { objects.services.own(0).pool = "other"; }),
            R"(requested loadBalancer IP(s) ["192.168.0.200"] is not compatible with requested address pool other)");
  EXPECT_EQ(refused({"192.168.0.200"},
                    [](Objects& objects) {
                      objects.pools[0].allocation = ServiceAllocation{0, {"prod"}, {}, {}};
                    }),
            "pool home not compatible for ip assignment");
  EXPECT_EQ(refused({"192.168.0.200", "fd00::200"}, as_is), "192.168.0.200 fd00::200");
}

TEST(Allocator, RefusalsWithoutRequest) {
  Objects objects = dual();
  objects.services.own(0).pool = "office";
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), "unknown pool \"office\"");
  objects.pools.push_back(pool("office", {"10.0.0.1/32"}));
  objects.services.push_back(service("alpha"));
  objects.services.own(1).pool = "office";
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), "no available IPs in pool office");
  objects.services.own(0).families = {Family::ipv6};
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), "no available IPs in pool office for ipv6 IPFamily");
  objects.services.own(0).families = {Family::ipv4, Family::ipv6};
  objects.services.own(0).family_policy = FamilyPolicy::require_dual;
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), "no available IPs in pool office for dual IPFamily");
  EXPECT_EQ(given(allocate({}, {}, {}), "web"), "nothing");
  objects = {};
  objects.services = {service("web")};
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), "no available IPs");
}

TEST(Allocator, AutoAssignAndAvoidedAddresses) {
  Objects objects = home();
  objects.pools[0].auto_assign = false;
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), "no available IPs");
  objects.services.own(0).pool = "home";
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), "192.168.0.200");
  objects = home();
  objects.pools[0] = pool("home", {"192.168.0.255-192.168.1.2"});
  objects.pools[0].avoid_buggy_ips = true;
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), "192.168.1.1");
  objects.services.own(0).requested = {address("192.168.0.255")};
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), R"(["192.168.0.255"] is not allowed in config)");
}

TEST(Allocator, Families) {
  const auto given_for = [](std::vector<Family> families, FamilyPolicy policy) {
    Objects objects = dual();
    objects.services.own(0).families = std::move(families);
    objects.services.own(0).family_policy = policy;
    return given(allocate(objects, {}, {}), "web");
  };
  EXPECT_EQ(given_for({}, FamilyPolicy::single), "192.168.0.200");
  EXPECT_EQ(given_for({Family::ipv6}, FamilyPolicy::single), "fd00::200");
  EXPECT_EQ(given_for({}, FamilyPolicy::require_dual), "192.168.0.200 fd00::200");
  EXPECT_EQ(given_for({Family::ipv6, Family::ipv4}, FamilyPolicy::prefer_dual), "fd00::200 192.168.0.200");
  EXPECT_EQ(given_for({Family::ipv4}, FamilyPolicy::prefer_dual), "192.168.0.200");  // a single-stack cluster
}

TEST(Allocator, PreferDualStackTakesOneAndGainsTheOtherFromItsPool) {
  Objects objects = home();
  objects.services.own(0).family_policy = FamilyPolicy::prefer_dual;
  Allocation allocation = allocate(objects, {}, {});
  EXPECT_EQ(given(allocation, "web"), "192.168.0.200");
  objects.pools.push_back(pool("six", {"fd00:6::/120"}));
  allocation = allocate(objects, allocation.held, {});
  EXPECT_EQ(given(allocation, "web"), "192.168.0.200");  // not from another pool
  objects.pools[0].ranges.push_back(test::range("fd00::200-fd00::203"));
  allocation = allocate(objects, allocation.held, {});
  EXPECT_EQ(given(allocation, "web"), "192.168.0.200 fd00::200");
  objects.services.own(0).family_policy = FamilyPolicy::single;
  EXPECT_EQ(given(allocate(objects, allocation.held, {}), "web"), "192.168.0.200");
}

TEST(Allocator, PinnedPoolsGoFirstByPriority) {
  Objects objects = home();
  objects.pools.push_back(pool("any", {"10.0.0.1/32"}));
  objects.pools.push_back(pool("second", {"10.0.2.1/32"}));
  objects.pools.push_back(pool("first", {"10.0.1.1/32"}));
  objects.pools[1].allocation = ServiceAllocation{};  // priority 0: last of the pinned
  objects.pools[2].allocation = ServiceAllocation{20, {"default"}, {}, {}};
  objects.pools[3].allocation =
      ServiceAllocation{10, {}, {}, {LabelSelector{{{"app", LabelRequirement::Operator::in, {"x"}}}}}};
  objects.services = {service("a"), service("b"), service("c"), service("d")};
  for (std::size_t i = 0; i < objects.services.size(); ++i) objects.services.own(i).labels = {{"app", "x"}};
  const Allocation allocation = allocate(objects, {}, {});
  EXPECT_EQ(given(allocation, "a"), "10.0.1.1");
  EXPECT_EQ(given(allocation, "b"), "10.0.2.1");
  EXPECT_EQ(given(allocation, "c"), "10.0.0.1");
  EXPECT_EQ(given(allocation, "d"), "192.168.0.200");
}

TEST(Allocator, APoolWithAServiceAllocationIsNeverAmongTheOthers) {
  Objects objects = home();
  objects.pools[0].allocation = ServiceAllocation{0, {"prod"}, {}, {}};
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), "no available IPs");
  objects.services.own(0).pool = "home";
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), "pool home not compatible for ip assignment");
}

TEST(Allocator, NamespaceSelectorsThatMatchNothingAdmitRequestsOnly) {
  Objects objects = home();
  const LabelSelector team{{{"team", LabelRequirement::Operator::in, {"a"}}}};
  objects.pools[0].allocation = ServiceAllocation{0, {}, {team}, {}};
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), "no available IPs");
  objects.services.own(0).pool = "home";
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), "192.168.0.200");
  objects.namespaces.own()["prod"] = {{"team", "a"}};
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), "pool home not compatible for ip assignment");
  objects.namespaces.own()["default"] = {{"team", "a"}};
  objects.services.own(0).pool.clear();
  EXPECT_EQ(given(allocate(objects, {}, {}), "web"), "192.168.0.200");
}

TEST(Allocator, Sharing) {
  Objects objects = home({service("dns-tcp", {tcp(53)}), service("dns-udp", {udp(53)}), service("more", {tcp(53)})});
  for (std::size_t i = 0; i < objects.services.size(); ++i) objects.services.own(i).sharing_key = "dns";
  const Allocation allocation = allocate(objects, {}, {});
  EXPECT_EQ(given(allocation, "dns-tcp"), "192.168.0.200");
  EXPECT_EQ(given(allocation, "dns-udp"), "192.168.0.200");
  EXPECT_EQ(given(allocation, "more"), "192.168.0.201");  // its port is taken on the first
  objects.services.own(2).requested = {address("192.168.0.200")};
  EXPECT_EQ(given(allocate(objects, allocation.held, {}), "more"),
            "port TCP/53 is already in use on \"192.168.0.200\"");
  objects.services.own(2).sharing_key = "other";
  EXPECT_EQ(given(allocate(objects, allocation.held, {}), "more"),
            "can't change sharing key for \"default/more\", address also in use by default/dns-tcp,default/dns-udp");
}

TEST(Allocator, SharingUnderLocalNeedsTheSameSelector) {
  Objects objects = home({service("a", {tcp(80)}), service("b", {tcp(443)})});
  for (std::size_t i = 0; i < objects.services.size(); ++i) objects.services.own(i).sharing_key = "k";
  objects.services.own(0).policy = TrafficPolicy::local;
  EXPECT_EQ(given(allocate(objects, {}, {}), "b"), "192.168.0.201");
  Objects asking = objects;
  for (std::size_t i = 0; i < asking.services.size(); ++i) asking.services.own(i).requested = {address("192.168.0.200")};
  EXPECT_EQ(given(allocate(asking, {}, {}), "b"),
            "can't change sharing key for \"default/b\", address also in use by default/a");
  objects.services.own(1).policy = TrafficPolicy::local;
  EXPECT_EQ(given(allocate(objects, {}, {}), "b"), "192.168.0.200");
  objects.services.own(1).selector = {{"app", "b"}};
  EXPECT_EQ(given(allocate(objects, {}, {}), "b"), "192.168.0.201");
}

TEST(Usage, CountsAddresses) {
  const Assignments held{{web, {{address("192.168.0.200")}, "home"}},
                         {{"default", "shared"}, {{address("192.168.0.200")}, "home"}},
                         {{"default", "elsewhere"}, {{address("10.0.0.1")}, "lab"}}};
  const PoolUsage seed = usage(home().pools[0], held);
  EXPECT_EQ(seed.total, 51u);
  EXPECT_EQ(seed.assigned, 1u);
  EXPECT_EQ(seed.available, 50u);
  Pool buggy = pool("b", {"10.0.0.0/23", "10.0.2.255-10.0.3.0", "fd00::/120"});
  EXPECT_EQ(usage(buggy, {}).total, 512u + 2 + 256);
  buggy.avoid_buggy_ips = true;
  EXPECT_EQ(usage(buggy, {}).total, 508u + 0 + 256);
  EXPECT_EQ(usage(pool("six", {"fd00::/64", "fd01::/64"}), {}).total, (std::uint64_t{1} << 63) - 1);
}

// ---- the slow, obvious allocator: looks at every address of every pool for every service
// ---------------------------

struct Slow {
  const Objects& objects;
  const std::map<Address, std::string>& avoid;
  std::map<ObjectName, Address> held;

  const Service& named(const ObjectName& name) const {
    return *std::find_if(objects.services.begin(), objects.services.end(),
                         [&](const auto& s) { return s.name == name; });
  }
  bool may_have(const Service& service, const Pool& pool, const Address& candidate) const {
    if (avoid.contains(candidate)) return false;
    const std::uint8_t last = candidate.bytes[15];
    if (pool.avoid_buggy_ips && (last == 0 || last == 255)) return false;
    for (const auto& [name, address] : held) {
      if (address != candidate) continue;
      const Service& other = named(name);
      if (service.sharing_key.empty() || other.sharing_key != service.sharing_key) return false;
      if (service.policy != other.policy) return false;
      if (service.policy == TrafficPolicy::local && service.selector != other.selector) return false;
      for (const ServicePort& mine : service.ports) {
        for (const ServicePort& theirs : other.ports) {
          if (mine.port == theirs.port && mine.protocol == theirs.protocol) return false;
        }
      }
    }
    return true;
  }
  std::optional<Address> requested(const Service& service) const {
    for (const Pool& pool : objects.pools) {
      const bool inside = std::any_of(pool.ranges.begin(), pool.ranges.end(),
                                      [&](const auto& range) { return range.contains(service.requested.front()); });
      if (!inside || (!service.pool.empty() && service.pool != pool.name.name)) continue;
      if (may_have(service, pool, service.requested.front())) return service.requested.front();
    }
    return std::nullopt;
  }
  std::optional<Address> first(const Service& service) const {
    std::vector<const Pool*> pools;
    for (const Pool& pool : objects.pools) pools.push_back(&pool);
    std::sort(pools.begin(), pools.end(), [](auto a, auto b) { return a->name.name < b->name.name; });
    for (const Pool* pool : pools) {
      if (service.pool.empty() ? !pool->auto_assign : pool->name.name != service.pool) continue;
      for (const AddressRange& range : pool->ranges) {
        for (Address candidate = range.first;; candidate = candidate.next()) {
          if (may_have(service, *pool, candidate)) return candidate;
          if (candidate == range.last) break;
        }
      }
    }
    return std::nullopt;
  }
};

TEST(Allocator, AgreesWithTheObviousModel) {
  test::Random random(9);
  int refused = 0;
  for (int round = 0; round < 400; ++round) {
    Objects objects;
    for (std::uint32_t i = 0; i < 1 + test::below(random, 3); ++i) {
      const std::string net = "10.0." + std::to_string(i) + ".";
      Pool each = pool(
          "p" + std::to_string(test::below(random, 100)) + "-" + std::to_string(i),
          {net + "254-10.0." + std::to_string(i + 1) + ".1", net + "4-" + net + "7", net + "100-" + net + "101"});
      each.ranges[0] = test::range(net + "252-" + net + "255");
      each.auto_assign = test::chance(random, 70);
      each.avoid_buggy_ips = test::chance(random, 50);
      objects.pools.push_back(each);
    }
    for (int i = 0; i < 20; ++i) {
      Service each =
          service("s" + std::to_string(100 + i), {tcp(static_cast<std::uint16_t>(80 + test::below(random, 3)))});
      if (test::chance(random, 50))
        each.sharing_key = std::string(1, static_cast<char>('a' + test::below(random, 2)));
      if (test::chance(random, 20)) each.policy = TrafficPolicy::local;
      if (test::chance(random, 50)) each.selector = {{"app", "x"}};
      if (test::chance(random, 20))
        each.pool = objects.pools[test::below(random, static_cast<std::uint32_t>(objects.pools.size()))].name.name;
      if (test::chance(random, 25)) {
        each.requested = {address(
            "10.0." + std::to_string(test::below(random, 3)) + "." +
            std::to_string(test::chance(random, 50) ? 4 + test::below(random, 5) : 251 + test::below(random, 5)))};
      }
      objects.services.push_back(each);
    }
    std::map<Address, std::string> avoid;
    for (int i = 0; i < 3; ++i) avoid[address("10.0.0." + std::to_string(252 + i))] = "taken";

    const Allocation fast = allocate(objects, {}, avoid);
    Slow slow{objects, avoid, {}};
    for (const bool asked : {true, false}) {          // requests first
      for (const Service& each : objects.services) {  // by name already
        if (each.requested.empty() == asked) continue;
        const auto expected = asked ? slow.requested(each) : slow.first(each);
        if (expected) slow.held[each.name] = *expected;
        const auto actual = fast.held.find(each.name);
        ASSERT_EQ(actual != fast.held.end(), expected.has_value()) << round << " " << each.name.text();
        ASSERT_EQ(fast.refusals.contains(each.name), !expected.has_value());
        if (expected) {
          ASSERT_EQ(actual->second.addresses, std::vector<Address>{*expected}) << round << " " << each.name.text();
        }
        refused += expected ? 0 : 1;
      }
    }
    // What is held stays, whatever else is asked for.
    const Allocation again = allocate(objects, fast.held, avoid);
    ASSERT_EQ(again.held, fast.held);
    ASSERT_EQ(again.refusals.size(), fast.refusals.size());
  }
  EXPECT_GT(refused, 100);  // both ways were taken
}

}  // namespace
}  // namespace xlb
