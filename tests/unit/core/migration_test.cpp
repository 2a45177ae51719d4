// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/migration.hpp"

#include <algorithm>

#include "tests/unit/core/build.hpp"

namespace xlb {
namespace {

using test::address;
using test::pool;
using test::service;

// MetalLB by its chart and xdp-lb in standby, in one namespace, on two nodes; one Service that MetalLB announces from pi1.
class MigrationTest : public testing::Test {
 protected:
  MigrationTest() {
    facts.metallb_ns = facts.own_ns = "metallb-system";
    facts.controllers.push_back(workload("metallb-controller", {"--port=7472", "--log-level=info"}));
    facts.controllers[0].replicas = 1;
    facts.controllers[0].annotations = {{"meta.helm.sh/release-name", "metallb"}};
    facts.controllers[0].labels["helm.sh/chart"] = "metallb-0.15.2";
    facts.speakers.push_back(workload("metallb-speaker", {}));
    facts.daemons.push_back(workload("xdp-lb", {"run", "--in-cluster", "--standby"}));
    facts.daemons[0].labels["app.kubernetes.io/instance"] = "xdp-lb";
    for (const std::string node : {"pi1", "pi2"}) {
      facts.speaker_pods.push_back({"speaker-" + node, node, true, {}});
      facts.daemon_pods.push_back({"xdp-lb-" + node, node, true, {"run", "--standby"}});
    }
    facts.definitions = {{"ipaddresspools.metallb.io", "metallb-system/metallb", false}};
    facts.announced.emplace();
    facts.state.objects.pools = {pool("home", {"192.168.0.200-192.168.0.203", "fd00::200-fd00::203"})};
    add("web", {"192.168.0.200"}, "pi1");
  }
  static Workload workload(const std::string& name, std::vector<std::string> arguments) {
    Workload made;
    made.name = {"metallb-system", name};
    made.identity = {"u-" + name, "7", false};
    made.arguments = std::move(arguments);
    return made;
  }
  ApiService& add(const std::string& name, const std::vector<std::string>& shown, const std::string& node) {
    Service made = service(name);
    made.name.ns = "shop";
    made.type = "LoadBalancer";
    facts.state.objects.services.push_back(made);
    ApiService& api = facts.state.services.own()[made.name];
    api.identity = {"uid-" + name, "1", false};
    api.cluster_ips = {address("10.43.0.7")};
    for (const std::string& text : shown) api.ingress.push_back(address(text));
    if (!shown.empty()) api.allocated_from = "home";
    if (!node.empty()) (*facts.announced)[made.name] = node;
    return api;
  }
  Service& last() { return facts.state.objects.services.own(facts.state.objects.services.size() - 1); }
  void expect_refused(const std::string& sentence) {
    const MigrationPlan plan = plan_migration(facts);
    EXPECT_TRUE(std::any_of(plan.refusals.begin(), plan.refusals.end(), [&](const std::string& said) { return said.find(sentence) != std::string::npos; }))
        << sentence << " is not among " << testing::PrintToString(plan.refusals);
    EXPECT_TRUE(plan.next.empty());
  }
  MigrationPlan planned() {
    MigrationPlan plan = plan_migration(facts);
    EXPECT_EQ(plan.refusals, std::vector<std::string>{});
    return plan;
  }
  // As an earlier run has left it.
  ApiLease& claim(const std::string& vip, const std::string& name) {
    ApiLease lease = address_lease_object({address(vip), {{"uid-" + name, {"shop", name}}}, true, {}});
    lease.identity = {"u-" + vip, "5", false};
    return facts.state.leases.own()[address_lease_name(address(vip))] = lease;
  }

  MigrationFacts facts;
};

TEST_F(MigrationTest, EachAddressIsClaimedForWhoShowsIt) {
  add("both", {"192.168.0.201", "fd00::200"}, "pi2");
  last().families = {Family::ipv4, Family::ipv6};
  const MigrationPlan plan = planned();
  ASSERT_EQ(plan.vips.size(), 3u);
  EXPECT_EQ(plan.vips[0].lease.address, address("192.168.0.200"));
  EXPECT_EQ(plan.vips[0].lease.users, (std::vector<AddressUser>{{"uid-web", {"shop", "web"}}}));
  EXPECT_TRUE(plan.vips[0].lease.taken_over);
  EXPECT_EQ(plan.vips[0].from, "pi1");
  EXPECT_EQ(plan.vips[0].pool, "home");
  EXPECT_TRUE(plan.vips[0].announced);
  EXPECT_FALSE(plan.vips[0].claimed);
  EXPECT_EQ(plan.vips[2].lease.address, address("fd00::200"));
  EXPECT_EQ(plan.vips[2].from, "pi2");
  EXPECT_FALSE(plan.stopped);
  EXPECT_EQ(plan.replicas, 1u);
}

TEST_F(MigrationTest, WhoSharesAnAddressSharesTheLease) {
  facts.state.objects.services.own(0).sharing_key = "http3";
  add("quic", {"192.168.0.200"}, "pi1");
  last().sharing_key = "http3";
  last().ports = {test::udp(443)};
  const MigrationPlan plan = planned();
  ASSERT_EQ(plan.vips.size(), 1u);
  EXPECT_EQ(plan.vips[0].lease.users.size(), 2u);
}

TEST_F(MigrationTest, HelmsDefinitionsAreAdopted) {
  facts.definitions.push_back({"l2advertisements.metallb.io", "", false});
  facts.definitions.push_back({"servicel2statuses.metallb.io", "metallb-system/metallb", true});
  const MigrationPlan plan = planned();
  ASSERT_EQ(plan.adopt.size(), 1u);
  EXPECT_EQ(plan.adopt[0].name, "ipaddresspools.metallb.io");
}

TEST_F(MigrationTest, TheCommandsForAfterwardsFitHowMetallbWasInstalled) {
  std::vector<std::string> next = planned().next;
  EXPECT_EQ(next, (std::vector<std::string>{
                      "helm upgrade xdp-lb charts/xdp-lb -n metallb-system --reuse-values --set standby=false",
                      "kubectl -n metallb-system rollout status daemonset/xdp-lb",
                      "helm upgrade metallb metallb/metallb -n metallb-system --version 0.15.2 --reuse-values --set crds.enabled=false",
                      "helm uninstall metallb -n metallb-system"}));
  facts.controllers[0].annotations.clear();
  facts.definitions.clear();
  next = planned().next;
  ASSERT_EQ(next.size(), 4u);
  EXPECT_EQ(next[2], "kubectl -n metallb-system delete deployment/metallb-controller daemonset/metallb-speaker service/metallb-webhook-service "
                     "--ignore-not-found");
}

TEST_F(MigrationTest, PoolsOfAnotherNamespaceAreCopied) {
  facts.own_ns = "lb";
  facts.metallb.pools = std::exchange(facts.state.objects.pools, {});
  facts.metallb.advertisements.resize(1);
  facts.metallb.advertisements[0].name = {"metallb-system", "lan"};
  const MigrationPlan plan = planned();
  EXPECT_EQ(plan.copy_pools.size(), 1u);
  EXPECT_EQ(plan.copy_advertisements, (std::vector<ObjectName>{{"metallb-system", "lan"}}));
  // The copy of an earlier run.
  facts.state.objects.pools = facts.metallb.pools;
  facts.state.objects.pools[0].name.ns = "lb";
  EXPECT_TRUE(planned().copy_pools.empty());
  facts.state.objects.pools[0].auto_assign = false;
  expect_refused("is another one than MetalLB's");
}

TEST_F(MigrationTest, WhatNobodyAnnouncesIsClaimedAndNotWaitedFor) {
  add("idle", {"192.168.0.202"}, "");
  const MigrationPlan plan = planned();
  ASSERT_EQ(plan.vips.size(), 2u);
  EXPECT_FALSE(plan.vips[1].announced);
  EXPECT_EQ(plan.notes.size(), 1u);
  facts.announced.reset();  // a MetalLB that does not say who announces: each is waited for
  EXPECT_TRUE(planned().vips[1].announced);
  EXPECT_EQ(planned().vips[0].from, "");
}

TEST_F(MigrationTest, OthersServicesAreLeftAlone) {
  add("none", {}, "");
  add("theirs", {"10.9.9.9"}, "");
  last().load_balancer_class = "example.com/lb";
  const MigrationPlan plan = planned();
  EXPECT_EQ(plan.vips.size(), 1u);
  ASSERT_EQ(plan.notes.size(), 1u);
  EXPECT_NE(plan.notes[0].find("has no address"), std::string::npos);
}

TEST_F(MigrationTest, AnInterruptedRunIsGoneOnWith) {
  facts.controllers[0].replicas = 0;
  facts.controllers[0].annotations[kReplicasAnnotation] = "2";
  claim("192.168.0.200", "web").annotations[kAnnouncedByAnnotation] = "pi1";
  add("more", {"192.168.0.201"}, "pi2");
  const MigrationPlan plan = planned();
  EXPECT_TRUE(plan.stopped);
  EXPECT_EQ(plan.replicas, 2u);
  EXPECT_TRUE(plan.vips[0].claimed);
  EXPECT_EQ(plan.vips[0].taken_by, "pi1");
  EXPECT_FALSE(plan.vips[1].claimed);
}

TEST_F(MigrationTest, UndoingTakesBackWhatWasTakenOverAndNothingElse) {
  EXPECT_TRUE(plan_undo(facts).leases.empty());
  EXPECT_FALSE(plan_undo(facts).controller);
  facts.controllers[0].replicas = 0;
  facts.controllers[0].annotations[kReplicasAnnotation] = "2";
  claim("192.168.0.200", "web");
  claim("192.168.0.201", "own").annotations.erase(kTakenOverAnnotation);
  facts.state.leases.own()["xdp-lb-allocator"].annotations[kTakenOverAnnotation] = "metallb";
  const UndoPlan plan = plan_undo(facts);
  ASSERT_EQ(plan.leases.size(), 1u);
  EXPECT_EQ(plan.leases.begin()->first, "vip-192.168.0.200");
  EXPECT_EQ(plan.leases.begin()->second.uid, "u-192.168.0.200");
  ASSERT_TRUE(plan.controller);
  EXPECT_EQ(plan.replicas, 2u);
  EXPECT_TRUE(plan.refusals.empty());
  facts.daemons[0].arguments = {"run"};
  EXPECT_EQ(plan_undo(facts).refusals.size(), 1u);
  facts.daemons.clear();
  facts.controllers.clear();
  EXPECT_EQ(plan_undo(facts).refusals.size(), 1u);
}

TEST_F(MigrationTest, RefusedWithoutMetallb) {
  facts.controllers.clear();
  facts.speakers.clear();
  expect_refused("no Deployment of MetalLB's controller in namespace metallb-system");
  expect_refused("no DaemonSet of MetalLB's speaker");
}

TEST_F(MigrationTest, RefusedWhenSomebodyElseStoppedTheController) {
  facts.controllers[0].replicas = 0;
  expect_refused("is scaled to 0 already");
}

TEST_F(MigrationTest, RefusedWithoutXdpLbInStandbyWhereverMetallbRuns) {
  const MigrationFacts good = facts;
  facts.daemons.clear();
  expect_refused("install the chart beside MetalLB, with --set standby=true");
  facts = good;
  facts.daemons[0].arguments = {"run"};
  expect_refused("is not in standby");
  facts = good;
  facts.daemon_pods[1].ready = false;
  expect_refused("not ready in standby on pi2");
  facts = good;
  facts.daemon_pods[0].arguments = {"run"};  // of before the upgrade
  expect_refused("not ready in standby on pi1");
  facts = good;
  facts.daemon_pods.pop_back();
  expect_refused("speaker runs on pi2, and xdp-lb does not");
}

TEST_F(MigrationTest, RefusedInBgpMode) {
  facts.bgp = {"BGPPeer metallb-system/router"};
  expect_refused("BGPPeer metallb-system/router: MetalLB speaks BGP");
}

TEST_F(MigrationTest, RefusedForAnotherClass) {
  facts.controllers[0].arguments.push_back("--lb-class=metallb");
  expect_refused("loadBalancerClass \"metallb\"");
  facts.daemons[0].arguments.insert(facts.daemons[0].arguments.end(), {"--load-balancer-class", "metallb"});
  EXPECT_TRUE(planned().vips.empty()) << "the Service has no class";
  facts.state.objects.services.own(0).load_balancer_class = "metallb";
  EXPECT_EQ(planned().vips.size(), 1u);
}

TEST_F(MigrationTest, RefusedWhenAnAddressWouldBeLost) {
  facts.state.objects.pools = {pool("home", {"192.168.0.210-192.168.0.220"})};
  expect_refused("Service shop/web would lose 192.168.0.200");
}

TEST_F(MigrationTest, RefusedWhereAnotherBalancerWritesStatuses) {
  add("k3s", {"192.168.0.11"}, "").allocated_from.clear();
  expect_refused("192.168.0.11, which is of no IPAddressPool: another load balancer runs here");
}

TEST_F(MigrationTest, RefusedWhereALeaseIsSomebodyElses) {
  claim("192.168.0.200", "other");
  expect_refused("gives 192.168.0.200 to shop/other and is not of this migration");
  claim("192.168.0.200", "web").annotations.erase(kTakenOverAnnotation);
  expect_refused("is not of this migration");
  facts.state.leases.own().begin()->second.annotations.clear();
  expect_refused("lacks the annotation");
}

TEST_F(MigrationTest, RefusedForWhatCannotBeRead) {
  facts.unreadable = {"IPAddressPool metallb-system/odd: no range"};
  expect_refused("IPAddressPool metallb-system/odd");
}

}  // namespace
}  // namespace xlb
