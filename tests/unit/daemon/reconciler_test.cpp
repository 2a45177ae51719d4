// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/reconciler.hpp"

#include <unistd.h>

#include <fstream>

#include "tests/unit/daemon/fakes.hpp"

namespace xlb {
namespace {

using fake::address;

const PassOptions kQuick{.lock_patience = std::chrono::milliseconds(50),
                         .place_patience = std::chrono::seconds(10),
                         .retry_conflicts = true,
                         .announcements = 1};

std::string pool(const std::string& range) {
  return "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: home, namespace: metallb-system}\n"
         "spec: {addresses: [\"" + range + "\"]}\n---\n"
         "apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: home, namespace: metallb-system}\n"
         "spec: {ipAddressPools: [home]}\n";
}

std::string service(const std::string& name, const std::string& backend, const std::string& annotation = "") {
  return "apiVersion: v1\nkind: Service\nmetadata:\n  name: " + name + "\n" +
         (annotation.empty() ? "" : "  annotations: {" + annotation + "}\n") +
         "spec:\n  type: LoadBalancer\n  ports: [{name: http, port: 80, targetPort: 8000}]\n---\n"
         "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: " + name +
         "-1\n  labels: {kubernetes.io/service-name: " + name + "}\naddressType: IPv4\n"
         "ports: [{name: http, port: 8000, protocol: TCP}]\nendpoints: [{addresses: [\"" + backend + "\"]}]\n";
}

class ReconcilerTest : public testing::Test {
 protected:
  ReconcilerTest() {
    attach();
    for (const char* pod : {"10.42.0.8", "10.42.0.9"})
      world_.places[address(pod)] = {Place::Kind::pod, 7, "veth7", "found"};
  }
  void attach() { world_.attached = {{"eth0", 2, AttachMode::tc, "test", {"xlb_lan_tc"}}}; }
  Reconciler reconciler() { return {folder_.settings(), fake::edges(world_)}; }
  Result<Outcome> apply(const std::string& yaml) { return reconciler().apply({{"test.yaml", yaml}}, kQuick); }
  void must_apply(const std::string& yaml) {
    auto outcome = apply(yaml);
    ASSERT_TRUE(outcome) << outcome.error().text;
  }
  bool owned(const std::string& vip) {
    const auto row = world_.tables.vips.find(address(vip));
    return row != world_.tables.vips.end() && row->second.owned_epoch == world_.node.epoch;
  }
  State state() {
    auto read = read_state(folder_.settings().state_file());
    EXPECT_TRUE(read);
    return *read;
  }

  fake::World world_;
  fake::Folder folder_;
};

TEST_F(ReconcilerTest, FirstServiceGetsTheLowestAddressAndIsAnnounced) {
  auto outcome = apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8"));
  ASSERT_TRUE(outcome) << outcome.error().text;
  ASSERT_EQ(outcome->services.size(), 1u);
  EXPECT_EQ(outcome->services[0].addresses, std::vector<Address>{address("192.168.0.200")});
  EXPECT_TRUE(owned("192.168.0.200"));
  EXPECT_EQ(world_.probed, std::vector<Address>{address("192.168.0.200")});
  EXPECT_EQ(world_.announced, (std::vector{std::pair(std::string("eth0"), address("192.168.0.200"))}));
  ASSERT_EQ(outcome->taken.size(), 1u);
  EXPECT_EQ(outcome->taken[0].links, std::vector<std::string>{"eth0"});
}

TEST_F(ReconcilerTest, WhatGoesBackToMetalLbIsToldOnceToTheNodeThatItAnnouncesFrom) {
  auto facts = std::make_shared<ApiFacts>();
  Reconciler here = reconciler();
  here.follow_api([&facts] { return facts; });
  const auto pass = [&](std::map<Address, TakenOver> taken_over) {
    facts = std::make_shared<ApiFacts>();
    facts->taken_over = std::move(taken_over);
    std::vector<Address> back;
    auto outcome = here.reconcile(kQuick);
    EXPECT_TRUE(outcome);
    for (const LinkVips& entry : outcome->given_back) back.insert(back.end(), entry.vips.begin(), entry.vips.end());
    return back;
  };
  const std::string self = folder_.settings().node;
  EXPECT_TRUE(pass({{address("192.168.0.200"), {true, self, false}},
                    {address("192.168.0.201"), {true, "another", false}},
                    {address("192.168.0.202"), {true, self, false}},
                    {address("203.0.113.9"), {true, self, false}}}).empty());
  EXPECT_EQ(pass({{address("192.168.0.202"), {false, "", false}}}), std::vector<Address>{address("192.168.0.200")})
      << "not another node's, not one of another subnet, not one that stays";
  EXPECT_TRUE(pass({}).empty());
}

TEST_F(ReconcilerTest, SecondPassFindsNothingToDo) {
  must_apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8"));
  const auto files = folder_.content();
  const auto edits = world_.edits;
  auto outcome = reconciler().reconcile(kQuick);
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_TRUE(outcome->edits.empty());
  EXPECT_TRUE(outcome->services.empty());
  EXPECT_TRUE(outcome->taken.empty());
  EXPECT_EQ(world_.edits, edits);
  EXPECT_EQ(world_.probed.size(), 1u);
  EXPECT_EQ(world_.announced.size(), 1u);
  EXPECT_EQ(folder_.content(), files);
}

TEST_F(ReconcilerTest, ApplyIsWholeOrNotAtAll) {
  must_apply(pool("192.168.0.200-192.168.0.200") + "---\n" + service("web", "10.42.0.8"));
  const auto files = folder_.content();
  const Tables tables = world_.tables;
  // The first document would be fine, the second finds the pool exhausted.
  auto outcome = apply(service("web", "10.42.0.9") + "---\n" + service("other", "10.42.0.9"));
  ASSERT_FALSE(outcome);
  EXPECT_TRUE(fake::has(outcome.error().text, "Service default/other: no available IPs"));
  EXPECT_TRUE(fake::has(outcome.error().text, "nothing was changed"));
  EXPECT_EQ(folder_.content(), files);
  EXPECT_TRUE(world_.tables == tables);
}

TEST_F(ReconcilerTest, WhatDoesNotFitTheTablesIsRefusedBeforeAnythingIsWritten) {
  must_apply(pool("192.168.0.200-192.168.0.250"));
  world_.capacity.backends = 1;  // room for none: id 0 is "none"
  const auto files = folder_.content();
  auto outcome = apply(service("web", "10.42.0.8"));
  ASSERT_FALSE(outcome);
  EXPECT_TRUE(fake::has(outcome.error().text, "xlb_backends"));
  EXPECT_EQ(folder_.content(), files);
  EXPECT_EQ(world_.tables.vips.size(), 0u);
}

TEST_F(ReconcilerTest, WithoutALinkDeclarationsAndAddressesAreKept) {
  world_.attached.clear();
  auto outcome = apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8"));
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_TRUE(outcome->attached.empty());
  EXPECT_EQ(state().held.at({"default", "web"}).addresses.front(), address("192.168.0.200"));
  EXPECT_EQ(world_.edits, 0u);
  EXPECT_TRUE(world_.probed.empty());
  // attach puts it in force
  auto attached = reconciler().attach({"eth0", AttachMode::automatic, {}, ""}, kQuick);
  ASSERT_TRUE(attached) << attached.error().text;
  EXPECT_TRUE(owned("192.168.0.200"));
  EXPECT_EQ(world_.probed, std::vector<Address>{address("192.168.0.200")});
}

TEST_F(ReconcilerTest, ACrashAtAnyEditIsFinishedByTheNextPass) {
  const std::string before = pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8");
  const std::string after = service("web", "10.42.0.9") + "---\n" + service("other", "10.42.0.8");
  std::size_t crashes = 0;
  for (std::size_t at = 0;; ++at) {
    fake::World world;
    world.attached = world_.attached;
    world.places = world_.places;
    fake::Folder folder;
    Reconciler reconciler(folder.settings(), fake::edges(world));
    ASSERT_TRUE(reconciler.apply({{"a.yaml", before}}, kQuick));
    world.fail_at_edit = world.edits + at;
    const bool crashed = !reconciler.apply({{"b.yaml", after}}, kQuick);
    world.fail_at_edit.reset();
    Reconciler next(folder.settings(), fake::edges(world));
    auto mended = next.reconcile(kQuick);
    ASSERT_TRUE(mended) << mended.error().text;
    auto seen = next.look();
    ASSERT_TRUE(seen);
    auto judged = next.judge(*seen);
    ASSERT_TRUE(judged);
    EXPECT_TRUE(plan(seen->installed, judged->wanted).empty()) << "crash at edit " << at;
    EXPECT_EQ(world.tables.vips.size(), 2u);
    EXPECT_EQ(world.tables.services.size(), 2u);
    if (!crashed) break;
    ++crashes;
  }
  EXPECT_GT(crashes, 3u);
}

TEST_F(ReconcilerTest, ACrashBetweenManifestsAndStateLeavesNothingLost) {
  must_apply(pool("192.168.0.200-192.168.0.250"));
  auto prepared = prepare_apply(folder_.settings().manifests(), {{"web.yaml", service("web", "10.42.0.8")}});
  ASSERT_TRUE(prepared);
  ASSERT_TRUE(commit(*prepared));  // and then the power went
  auto outcome = reconciler().reconcile(kQuick);
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_TRUE(owned("192.168.0.200"));
  EXPECT_EQ(state().held.size(), 1u);
}

TEST_F(ReconcilerTest, AnAddressThatSomebodyAnswersForIsNotTakenAndRemembered) {
  Mac stranger;
  stranger.bytes = {0xaa, 0xbb, 0xcc, 0, 0, 1};
  world_.strangers[address("192.168.0.200")] = stranger;
  auto outcome = apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8"));
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_FALSE(owned("192.168.0.200"));
  EXPECT_TRUE(owned("192.168.0.201"));
  EXPECT_TRUE(fake::says(outcome->warnings, "192.168.0.200 is in use by aa:bb:cc:00:00:01 on eth0"));
  EXPECT_TRUE(fake::has(state().conflicts.at(address("192.168.0.200")), "aa:bb:cc:00:00:01"));
  // It goes away: the address is free again for the next service; the first one stays where it is.
  world_.strangers.clear();
  must_apply(service("other", "10.42.0.9"));
  EXPECT_TRUE(state().conflicts.empty());
  EXPECT_EQ(state().held.at({"default", "web"}).addresses.front(), address("192.168.0.201"));
  EXPECT_EQ(state().held.at({"default", "other"}).addresses.front(), address("192.168.0.200"));
}

TEST_F(ReconcilerTest, OnTheLoopAnAddressIsNotServedBeforeTheWireHasAnswered) {
  must_apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8"));
  std::ofstream(folder_.settings().manifests() / "other.yaml") << service("other", "10.42.0.9");
  world_.silent_wire = true;
  PassOptions on_the_loop{.place_patience = std::chrono::milliseconds(0), .announcements = 1, .waits = false};
  Reconciler daemon = reconciler();
  auto outcome = daemon.reconcile(on_the_loop);
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_TRUE(outcome->open);
  EXPECT_TRUE(outcome->taken.empty());
  EXPECT_EQ(outcome->deferred, Outcome::Deferred::no);
  EXPECT_TRUE(owned("192.168.0.200"));  // what was served goes on
  EXPECT_FALSE(owned("192.168.0.201"));
  EXPECT_EQ(world_.tables.services.size(), 1u);
  EXPECT_EQ(state().held.at({"default", "other"}).addresses.front(), address("192.168.0.201"));
  EXPECT_FALSE(state().probed.contains(address("192.168.0.201")));
  // Somebody who looks meanwhile is told why.
  auto seen = daemon.look();
  ASSERT_TRUE(seen);
  auto judged = daemon.judge(*seen);
  ASSERT_TRUE(judged);
  ASSERT_EQ(judged->desired.vips.size(), 2u);
  EXPECT_TRUE(fake::has(judged->desired.vips[1].reason, "probing: first use of 192.168.0.201: eth0 is asked"));
  EXPECT_TRUE(plan(seen->installed, judged->wanted).empty());
  world_.silent_wire = false;
  outcome = daemon.reconcile(on_the_loop);
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_FALSE(outcome->open);
  EXPECT_TRUE(owned("192.168.0.201"));
}

TEST_F(ReconcilerTest, AConflictIsAskedForAgainAndStaysUntilTheWireHasAnswered) {
  world_.strangers[address("192.168.0.200")] = Mac{{0xaa, 0xbb, 0xcc, 0, 0, 1}};
  must_apply(pool("192.168.0.200-192.168.0.200"));
  EXPECT_FALSE(apply(service("web", "10.42.0.8")));
  auto prepared = prepare_apply(folder_.settings().manifests(), {{"web.yaml", service("web", "10.42.0.8")}});
  ASSERT_TRUE(prepared && commit(*prepared));
  PassOptions on_the_loop{.place_patience = std::chrono::milliseconds(0), .announcements = 1, .waits = false};
  ASSERT_TRUE(reconciler().reconcile(on_the_loop));
  EXPECT_EQ(state().conflicts.size(), 1u);
  world_.strangers.clear();
  world_.silent_wire = true;
  ASSERT_TRUE(reconciler().reconcile(on_the_loop));
  EXPECT_EQ(state().conflicts.size(), 1u);
  world_.silent_wire = false;
  ASSERT_TRUE(reconciler().reconcile(on_the_loop));
  EXPECT_TRUE(state().conflicts.empty());
  EXPECT_TRUE(owned("192.168.0.200"));
}

TEST_F(ReconcilerTest, WhatIsAnsweredForIsNotProbedWhenTheStateFileHasGone) {
  must_apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8"));
  std::filesystem::remove(folder_.settings().state_file());
  world_.silent_wire = true;
  auto outcome = reconciler().reconcile({.place_patience = std::chrono::milliseconds(0), .announcements = 1, .waits = false});
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_TRUE(owned("192.168.0.200"));
  EXPECT_TRUE(outcome->dropped.empty());
}

TEST_F(ReconcilerTest, AskingForATakenAddressIsRefusedWhole) {
  must_apply(pool("192.168.0.200-192.168.0.250"));
  Mac stranger;
  stranger.bytes = {0xaa, 0xbb, 0xcc, 0, 0, 1};
  world_.strangers[address("192.168.0.210")] = stranger;
  const auto files = folder_.content();
  auto outcome = apply(service("web", "10.42.0.8", "metallb.io/loadBalancerIPs: 192.168.0.210"));
  ASSERT_FALSE(outcome);
  EXPECT_TRUE(fake::has(outcome.error().text, "aa:bb:cc:00:00:01"));
  EXPECT_EQ(folder_.content(), files);
}

TEST_F(ReconcilerTest, SomethingThatAnswersForEverythingIsOnlyWarnedAbout) {
  Mac proxy;
  proxy.bytes = {0xde, 0xad, 0, 0, 0, 1};
  world_.proxy = proxy;
  auto outcome = apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8"));
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_TRUE(owned("192.168.0.200"));
  EXPECT_TRUE(state().conflicts.empty());
  EXPECT_TRUE(fake::says(outcome->warnings, "proxy ARP"));
  EXPECT_FALSE(fake::says(outcome->warnings, "is in use by"));
}

TEST_F(ReconcilerTest, AProxyIsRecognisedForAnAddressThatWasAskedForToo) {
  Mac proxy;
  proxy.bytes = {0xde, 0xad, 0, 0, 0, 1};
  world_.proxy = proxy;
  must_apply(pool("192.168.0.200-192.168.0.250"));
  must_apply(service("web", "10.42.0.8", "metallb.io/loadBalancerIPs: 192.168.0.210"));
  EXPECT_TRUE(owned("192.168.0.210"));
}

TEST_F(ReconcilerTest, ANeighbourWithARunOfAddressesIsNoProxy) {
  Mac stranger;
  stranger.bytes = {0xaa, 0xbb, 0xcc, 0, 0, 1};
  for (const char* held : {"192.168.0.200", "192.168.0.201", "192.168.0.202", "192.168.0.203"})
    world_.strangers[address(held)] = stranger;
  must_apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8"));
  EXPECT_TRUE(owned("192.168.0.204"));
  EXPECT_EQ(state().conflicts.size(), 4u);
}

TEST_F(ReconcilerTest, ADamagedStateFileMovesNoAddress) {
  must_apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("aaa", "10.42.0.8") + "---\n" + service("bbb", "10.42.0.9"));
  // "aaa" goes: "bbb" now holds what a fresh allocation would not give it.
  ASSERT_TRUE(reconciler().remove({{"Service", {"default", "aaa"}}}, kQuick));
  ASSERT_EQ(state().held.at({"default", "bbb"}).addresses.front(), address("192.168.0.201"));
  const auto file = folder_.settings().state_file();
  std::filesystem::resize_file(file, std::filesystem::file_size(file) / 2);
  auto outcome = reconciler().reconcile(kQuick);
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_TRUE(fake::says(outcome->warnings, "set aside"));
  EXPECT_EQ(state().held.at({"default", "bbb"}).addresses.front(), address("192.168.0.201"));
  EXPECT_TRUE(owned("192.168.0.201"));
  EXPECT_TRUE(std::filesystem::exists(file.string() + ".damaged"));
}

TEST_F(ReconcilerTest, ASecondProcessIsToldWhoHoldsTheLock) {
  auto lock = Lock::take(folder_.settings().lock_file(), std::chrono::milliseconds(0), "another");
  ASSERT_TRUE(lock);
  auto outcome = apply(pool("192.168.0.200-192.168.0.250"));
  ASSERT_FALSE(outcome);
  EXPECT_TRUE(fake::has(outcome.error().text, "pid " + std::to_string(getpid())));
  EXPECT_TRUE(folder_.content().empty());
}

TEST_F(ReconcilerTest, WhatTheTablesHoldIsKeptUntilAnotherProcessHadTheLock) {
  Reconciler here = reconciler();
  ASSERT_TRUE(here.apply({{"test.yaml", pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8")}}, kQuick));
  ASSERT_TRUE(world_.kept);
  EXPECT_TRUE(*world_.kept == world_.tables);
  world_.forgotten = 0;
  ASSERT_TRUE(here.reconcile(kQuick));
  EXPECT_EQ(world_.forgotten, 0u);
  std::ofstream(folder_.settings().lock_file()) << getpid() << " 1\n";  // the same number in another container
  ASSERT_TRUE(here.reconcile(kQuick));
  EXPECT_EQ(world_.forgotten, 1u);
  ASSERT_TRUE(here.reconcile(kQuick));
  EXPECT_EQ(world_.forgotten, 1u);
  ASSERT_TRUE(here.look());
  EXPECT_EQ(world_.forgotten, 2u) << "without the lock somebody may be editing";
}

TEST_F(ReconcilerTest, WhatWasEditedInPartIsNotKept) {
  Reconciler here = reconciler();
  world_.fail_at_edit = 2;
  ASSERT_FALSE(here.apply({{"test.yaml", pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8")}}, kQuick));
  EXPECT_FALSE(world_.kept);
}

TEST_F(ReconcilerTest, AttachThatCannotBePutInForceIsTakenBack) {
  must_apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8"));
  world_.attached.clear();
  world_.tables = {};
  world_.capacity.backends = 1;
  auto outcome = reconciler().attach({"eth0", AttachMode::automatic, {}, ""}, kQuick);
  ASSERT_FALSE(outcome);
  EXPECT_TRUE(fake::has(outcome.error().text, "taken back"));
  EXPECT_TRUE(world_.attached.empty());
}

// A daemon that starts knows little yet of what its predecessor has put in force.
TEST_F(ReconcilerTest, AttachBeforeAPassLeavesTheTablesOfAnAttachedInterface) {
  must_apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8"));
  const Tables before = world_.tables;
  ASSERT_EQ(before.vips.size(), 1u);
  std::filesystem::remove_all(folder_.settings().manifests());
  PassOptions options = kQuick;
  options.pass_follows = true;
  auto outcome = reconciler().attach({"eth0", AttachMode::automatic, {}, ""}, options);
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_EQ(outcome->link->interface, "eth0");
  EXPECT_EQ(world_.tables.vips.size(), 1u);
  EXPECT_EQ(world_.tables.backends.size(), before.backends.size());
  ASSERT_TRUE(reconciler().attach({"eth0", AttachMode::automatic, {}, ""}, kQuick));
  EXPECT_TRUE(world_.tables.vips.empty());
}

TEST_F(ReconcilerTest, BadManifestsRefuseAttachBeforeItTouchesTheKernel) {
  world_.attached.clear();
  std::filesystem::create_directories(folder_.settings().manifests());
  std::ofstream(folder_.settings().manifests() / "bad.yaml") << "kind: IPAddressPool\nspec: [\n";
  auto outcome = reconciler().attach({"eth0", AttachMode::automatic, {}, ""}, kQuick);
  ASSERT_FALSE(outcome);
  EXPECT_TRUE(fake::has(outcome.error().text, "bad.yaml"));
  EXPECT_EQ(world_.attach_calls, 0u);
}

TEST_F(ReconcilerTest, ANeighbourThatNobodyAskedForIsWaitedFor) {
  world_.routed_until[address("10.42.0.8")] = 2;
  must_apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8"));
  EXPECT_EQ(world_.asked_neighbours, std::vector<Address>{address("10.42.0.8")});
  ASSERT_EQ(world_.tables.returns.size(), 1u);
  EXPECT_EQ(*world_.tables.returns.begin(), 7u);
}

TEST_F(ReconcilerTest, APodThatNobodyListsAnyMoreIsLookedForUntilItIsGone) {
  const auto flags = [&](const char* pod) {
    for (const auto& [id, row] : world_.tables.backends)
      if (Address::from_abi(row.address) == address(pod)) return row.flags;
    return 0u;
  };
  must_apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8"));
  must_apply(service("web", "10.42.0.9"));
  for (int pass = 0; pass < 2; ++pass) {
    EXPECT_EQ(flags("10.42.0.8"), XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL | XLB_BACKEND_DRAINING);
    EXPECT_EQ(flags("10.42.0.9"), XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL);
    ASSERT_TRUE(reconciler().reconcile(kQuick));
  }
  world_.places[address("10.42.0.8")] = {Place::Kind::routed, 0, "", "its veth is gone"};
  auto outcome = reconciler().reconcile(kQuick);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(flags("10.42.0.8"), 0u);
  EXPECT_TRUE(world_.asked_neighbours.empty()) << "nobody waits for it";
  EXPECT_FALSE(outcome->places_missing);
}

TEST_F(ReconcilerTest, RemovingAServiceDropsItsVip) {
  must_apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8"));
  auto outcome = reconciler().remove({{"Service", {"default", "web"}}}, kQuick);
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_EQ(outcome->dropped, std::vector<Address>{address("192.168.0.200")});
  ASSERT_EQ(outcome->services.size(), 1u);
  EXPECT_TRUE(outcome->services[0].addresses.empty());
  EXPECT_FALSE(owned("192.168.0.200"));
  EXPECT_TRUE(state().held.empty());
}

TEST_F(ReconcilerTest, AVipOutsideEverySubnetIsSaid) {
  auto outcome = apply(pool("192.168.9.200-192.168.9.250") + "---\n" + service("web", "10.42.0.8"));
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_TRUE(fake::says(outcome->warnings, "192.168.9.200 is outside every subnet"));
  EXPECT_TRUE(world_.announced.empty());
}

std::string node(const std::string& name, const std::string& address) {
  return "---\napiVersion: v1\nkind: Node\nmetadata: {name: " + name +
         "}\nstatus: {addresses: [{type: InternalIP, address: " + address + "}]}\n";
}

// A daemon has minded peers and died; what it promised to renew has run out.
class OrphanedLeaseTest : public ReconcilerTest {
 protected:
  OrphanedLeaseTest() {
    must_apply(pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8"));
    must_apply(node("pi2", "192.168.0.12").substr(4) + node("pi3", "192.168.0.13"));
    world_.node.lease_boot_ns = 1000;
    world_.announced.clear();
  }
  Result<Outcome> remove_peer(const std::string& name) { return reconciler().remove({{"Node", {"", name}}}, kQuick); }
};

TEST_F(OrphanedLeaseTest, WithTheLastPeerGoneItIsGivenForEver) {
  auto outcome = remove_peer("pi2");
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_EQ(world_.node.lease_boot_ns, 1000u) << "pi3 may have taken it over";
  EXPECT_TRUE(world_.announced.empty());
  outcome = remove_peer("pi3");
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_EQ(world_.node.lease_boot_ns, XLB_FOREVER);
  EXPECT_TRUE(owned("192.168.0.200"));
  ASSERT_EQ(outcome->taken.size(), 1u);
  EXPECT_EQ(world_.announced.size(), 1u) << "the LAN may have another MAC in mind";
  outcome = reconciler().reconcile(kQuick);
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(outcome->taken.empty());
  EXPECT_EQ(world_.announced.size(), 1u);
}

TEST_F(OrphanedLeaseTest, ItIsGivenWhenTheTablesAreRight) {
  ASSERT_TRUE(remove_peer("pi2"));
  // While nobody looked, the service went: what is still owned in the tables must not be revived.
  std::filesystem::remove_all(folder_.settings().manifests());
  ASSERT_TRUE(reconciler().reconcile(kQuick));
  EXPECT_EQ(world_.vips_at_lease, 0u);
  EXPECT_EQ(world_.node.lease_boot_ns, XLB_FOREVER);
}

TEST_F(OrphanedLeaseTest, AKeyMeansThatPeersMayCome) {
  std::ofstream(folder_.settings().key_file()) << "key";
  ASSERT_TRUE(remove_peer("pi2"));
  ASSERT_TRUE(remove_peer("pi3"));
  EXPECT_EQ(world_.node.lease_boot_ns, 1000u);
}

TEST_F(OrphanedLeaseTest, AFailureIsSaidAndTriedAgain) {
  ASSERT_TRUE(remove_peer("pi2"));
  world_.fail_lease = true;
  auto outcome = remove_peer("pi3");
  ASSERT_FALSE(outcome);
  EXPECT_TRUE(fake::has(outcome.error().text, "nothing is answered for"));
  world_.fail_lease = false;
  ASSERT_TRUE(reconciler().reconcile(kQuick));
  EXPECT_EQ(world_.node.lease_boot_ns, XLB_FOREVER);
}

TEST_F(ReconcilerTest, CheckWritesNothing) {
  const std::string yaml = pool("192.168.0.200-192.168.0.250") + "---\n" + service("web", "10.42.0.8");
  auto outcome = reconciler().check({{"test.yaml", yaml}});
  ASSERT_TRUE(outcome) << outcome.error().text;
  EXPECT_EQ(outcome->changes.size(), 4u);
  EXPECT_TRUE(folder_.content().empty());
  EXPECT_EQ(world_.edits, 0u);
  EXPECT_FALSE(reconciler().check({{"test.yaml", service("web", "10.42.0.8")}}));  // no pool
}

}  // namespace
}  // namespace xlb
