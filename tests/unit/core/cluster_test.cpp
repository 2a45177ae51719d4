// SPDX-License-Identifier: Apache-2.0
// What the simulator (tests/sim) does not look at: single steps, words, and the edges of the interface.
#include "userspace/core/cluster.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

namespace xlb {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

const Address kVip = Address::from_ipv4({192, 168, 0, 200});

Mac mac(std::uint8_t last) {
  return Mac{{2, 0, 0, 0, 0, last}};
}

SelfFacts self(std::uint8_t rank = 5) {
  SelfFacts self;
  self.incarnation = 1;
  self.version = "0.1.0";
  self.macs = {mac(5)};
  self.listed = {"a"};
  OwnVip own{kVip, true, "", {}};
  own.rank.digest[0] = rank;
  self.vips = {own};
  return self;
}

// Node "b" in the hands of a test, which is also its whole world.
class Daemon {
 public:
  explicit Daemon(SelfFacts facts, const std::map<Address, std::uint64_t>& adopted = {})
      : cluster_("b", ClusterSettings{}, adopted) {
    cluster_.declare(std::move(facts));
  }

  // Runs for that long; echoes to those in `reached` come home; the LAN is never silent.
  ClusterOrders run(Instant time) {
    ClusterOrders last;
    const Instant end = now_ + time;
    while (now_ <= end) {
      last = step();
      now_ = std::max(last.wake, now_ + milliseconds(1));
    }
    return last;
  }

  void pass(Instant time) { now_ += time; }  // without a step

  ClusterOrders step() {
    facts_.now = facts_.last_frame = now_;
    const ClusterFacts facts = std::exchange(facts_, {});
    ClusterOrders orders = cluster_.step(facts);
    for (const EchoOrder& echo : orders.echoes) {
      facts_.sent.push_back({echo.peer, echo.id, now_});
      if (echoes_come_home) facts_.returned.push_back({echo.peer, echo.id, stale});
    }
    notes.insert(notes.end(), orders.notes.begin(), orders.notes.end());
    if (orders.statement) said = *orders.statement;
    passed_on += orders.pass_on.size();
    return orders;
  }

  // To be read in the next step.
  void receive(Statement statement, bool direct = true) {
    statement.sequence = ++sequence_;
    facts_.statements.push_back({std::move(statement), direct, now_});
  }
  ClusterOrders hear(Statement statement, bool direct = true) {
    receive(std::move(statement), direct);
    return step();
  }

  [[nodiscard]] const VipView& vip() const { return cluster_.vips().at(0); }
  [[nodiscard]] const PeerView& peer() const { return cluster_.peers().at(0); }
  Cluster& operator*() { return cluster_; }
  Cluster* operator->() { return &cluster_; }

  bool echoes_come_home = true;
  bool stale = false;
  std::vector<std::string> notes;
  Statement said;
  std::size_t passed_on = 0;

 private:
  Cluster cluster_;
  Instant now_ = seconds(100);
  ClusterFacts facts_;
  std::uint64_t sequence_ = 0;
};

Statement of(const std::string& node, std::uint8_t rank, std::uint64_t epoch = 0) {
  Statement statement;
  statement.node = node;
  statement.incarnation = 1;
  statement.mac = mac(static_cast<std::uint8_t>(node[0] - 'a' + 0x10));
  statement.hears = {"b"};
  VipStatement vip;
  vip.vip = kVip;
  vip.eligible = true;
  vip.rank.digest[0] = rank;
  vip.epoch = epoch;
  statement.vips = {vip};
  return statement;
}

// Says it again and again for that long.
void keep_hearing(Daemon& daemon, const Statement& statement, Instant time) {
  for (Instant said{}; said < time; said += milliseconds(200)) {
    daemon.hear(statement);
    daemon.run(milliseconds(200));
  }
}

// ---- alone --------------------------------------------------------------------------------------------------------

TEST(Cluster, AloneItOwnsWhatItMayAtOnceAndSaysNothing) {
  SelfFacts facts = self();
  facts.alone = true;
  facts.listed.clear();
  OwnVip unfit{kVip.next(), false, "has no backend", {}};
  facts.vips.push_back(unfit);
  Daemon daemon(facts);
  const ClusterOrders orders = daemon.step();
  EXPECT_TRUE(orders.vips_changed);
  EXPECT_TRUE(daemon.vip().owned);
  EXPECT_EQ(daemon.vip().owner, "b");
  EXPECT_EQ(daemon.vip().epoch, 1U);
  EXPECT_FALSE(daemon->vips().at(1).owned);
  EXPECT_EQ(daemon->vips().at(1).reason, "nobody answers: has no backend");
  EXPECT_FALSE(orders.statement);
  EXPECT_FALSE(orders.ask);
  EXPECT_TRUE(orders.echoes.empty());
}

TEST(Cluster, WhoGetsPeersKeepsWhatItOwnsWhileItListens) {
  SelfFacts facts = self();
  facts.alone = true;
  Daemon daemon(facts);
  daemon.step();
  daemon->declare(self());
  daemon.step();
  EXPECT_EQ(daemon->standing(), Standing::listening);
  EXPECT_TRUE(daemon.vip().owned);
  daemon.hear(of("a", 9, 5));  // somebody else has owned it for longer
  EXPECT_FALSE(daemon.vip().owned);
  EXPECT_EQ(daemon.vip().owner, "a");
}

// ---- joining, adopting, losing the lease --------------------------------------------------------------------------

TEST(Cluster, ListensBeforeItClaims) {
  Daemon daemon(self());
  daemon.run(milliseconds(900));
  EXPECT_FALSE(daemon.vip().owned);
  EXPECT_TRUE(daemon.said.listening);
  daemon.run(milliseconds(200));
  EXPECT_TRUE(daemon.vip().owned);
  EXPECT_FALSE(daemon.said.listening);
  EXPECT_EQ(daemon.said.vips.at(0).epoch, 1U);
}

TEST(Cluster, AdoptsWhatTheKernelStillAnswersFor) {
  Daemon daemon(self(), {{kVip, 7}});
  daemon.step();
  EXPECT_TRUE(daemon.vip().owned);
  EXPECT_EQ(daemon.vip().epoch, 7U);
  EXPECT_EQ(daemon.vip().reason, "answered for it when the daemon started");
  EXPECT_EQ(daemon.said.vips.at(0).epoch, 7U);
}

TEST(Cluster, AnAdoptedVipIsGivenUpIfItIsNoLongerDeclared) {
  SelfFacts facts = self();
  facts.vips.clear();
  Daemon daemon(facts, {{kVip, 7}});
  daemon.step();
  EXPECT_TRUE(daemon.vip().owned);  // the declarations may still be on their way
  daemon.run(milliseconds(1100));
  EXPECT_TRUE(daemon->vips().empty());
}

TEST(Cluster, ANewIncarnationDropsItsClaimsAndJoins) {
  Daemon daemon(self());
  daemon.run(milliseconds(1100));
  ASSERT_TRUE(daemon.vip().owned);
  SelfFacts reborn = self();
  reborn.incarnation = 2;
  daemon->declare(reborn);
  daemon.step();
  EXPECT_FALSE(daemon.vip().owned);
  EXPECT_EQ(daemon->standing(), Standing::listening);
  EXPECT_EQ(daemon.said.incarnation, 2U);
  daemon.run(milliseconds(1100));
  EXPECT_EQ(daemon.vip().epoch, 2U);
}

// What others said before a long stall counts no more, so it must hear them again before it claims anything; also
// when it stalls once more while it listens.
TEST(Cluster, ListensAfterEachLongStall) {
  Daemon daemon(self());
  keep_hearing(daemon, of("a", 1, 4), milliseconds(1400));
  for (int stall = 0; stall < 2; ++stall) {
    daemon.pass(seconds(2));
    daemon.run(milliseconds(250));
    EXPECT_EQ(daemon->standing(), Standing::listening);
    EXPECT_FALSE(daemon.vip().owned);
  }
  daemon.hear(of("a", 1, 4));
  daemon.run(milliseconds(100));
  EXPECT_EQ(daemon->standing(), Standing::standing);
  EXPECT_EQ(daemon.vip().owner, "a");
}

// A better node that drained for a moment while this one stalled: it has been a candidate since then only.
TEST(Cluster, WhoWithdrewMeanwhileWaitsForTheFailBackDelayAnew) {
  Daemon daemon(self());
  daemon.run(milliseconds(1100));
  ASSERT_TRUE(daemon.vip().owned);
  Statement better = of("a", 1);
  keep_hearing(daemon, better, seconds(20));
  daemon.pass(milliseconds(300));
  better.draining = true;
  daemon.receive(better);
  better.draining = false;
  daemon.hear(better);
  keep_hearing(daemon, better, seconds(25));
  EXPECT_EQ(daemon.said.vips.at(0).handing_to, "") << "its 45 s were broken";
  keep_hearing(daemon, better, seconds(7));
  EXPECT_EQ(daemon.said.vips.at(0).handing_to, "a");
}

// ---- draining -----------------------------------------------------------------------------------------------------

TEST(Cluster, DrainSaysHowFarItIs) {
  Daemon daemon(self());
  daemon.run(milliseconds(1100));
  EXPECT_EQ(daemon->drain(), Drain::none);
  SelfFacts draining = self();
  draining.draining = true;
  daemon->declare(draining);
  daemon.step();
  EXPECT_EQ(daemon->drain(), Drain::stranded);
  EXPECT_TRUE(daemon.vip().owned);
  keep_hearing(daemon, of("a", 9), milliseconds(400));
  EXPECT_EQ(daemon->drain(), Drain::handing_over);
  EXPECT_EQ(daemon.said.vips.at(0).handing_to, "a");
  daemon.hear(of("a", 9, 2));
  EXPECT_EQ(daemon->drain(), Drain::done);
  EXPECT_FALSE(daemon.vip().owned);
}

// ---- peers --------------------------------------------------------------------------------------------------------

TEST(Cluster, AStaleOwnerIsSucceeded) {
  Daemon daemon(self());
  keep_hearing(daemon, of("a", 1, 4), milliseconds(1400));
  EXPECT_EQ(daemon.vip().owner, "a");
  EXPECT_TRUE(daemon.peer().reached);
  daemon.stale = true;
  daemon.run(milliseconds(100));
  EXPECT_TRUE(daemon.peer().reached);  // its backends still get flows
  EXPECT_TRUE(daemon.peer().stale);
  EXPECT_EQ(daemon.vip().epoch, 5U);
  EXPECT_EQ(daemon.vip().reason, "took it over from a, which forwards, but its daemon has not renewed its lease");
}

TEST(Cluster, PassesOnWhatTwoDoNotHearOfEachOtherOnce) {
  Daemon daemon(self());
  Statement a = of("a", 1), c = of("c", 2);
  a.hears = {"b", "c"};
  c.hears = {"a", "b"};
  for (int i = 0; i < 3; ++i) {
    daemon.hear(a);
    daemon.hear(c);
    daemon.run(milliseconds(100));
  }
  daemon.passed_on = 0;
  daemon.hear(a);
  daemon.hear(c);
  EXPECT_EQ(daemon.passed_on, 0U);
  a.hears = {"b"};  // a misses c
  daemon.hear(a);
  EXPECT_EQ(daemon.passed_on, 1U);
  daemon.hear(c);
  EXPECT_EQ(daemon.passed_on, 2U);
  daemon.hear(a, false);  // somebody passed it on to us: that was once
  EXPECT_EQ(daemon.passed_on, 2U);
}

TEST(Cluster, AnotherConfigurationIsSaidOnceAndStopsNothing) {
  Daemon daemon(self());
  Statement a = of("a", 9);
  a.configuration = 77;
  const auto said = [&] {
    return std::count_if(daemon.notes.begin(), daemon.notes.end(),
                         [](const std::string& note) { return note.find("another configuration") != std::string::npos; });
  };
  keep_hearing(daemon, a, milliseconds(4000));
  EXPECT_EQ(said(), 0) << "a change reaches the nodes one after the other";
  keep_hearing(daemon, a, milliseconds(4000));
  EXPECT_EQ(said(), 1);
  EXPECT_FALSE(daemon.peer().same_configuration);
  EXPECT_TRUE(daemon.peer().candidate);
  EXPECT_TRUE(daemon.vip().owned);
}

// ---- names --------------------------------------------------------------------------------------------------------

TEST(Cluster, WhoFindsItsNameTakenGivesWay) {
  Daemon daemon(self(), {{kVip, 3}});
  daemon.step();
  keep_hearing(daemon, of("b", 9), milliseconds(1400));  // its MAC is 02:…:11, ours 02:…:05: it was here first
  EXPECT_EQ(daemon->standing(), Standing::doubled);
  EXPECT_FALSE(daemon.vip().owned);
  EXPECT_EQ(daemon.notes,
            std::vector<std::string>{"this node has the name of another node, 02:00:00:00:00:11; rename one"});
  daemon.run(seconds(3));  // the other one has been renamed
  EXPECT_EQ(daemon->standing(), Standing::standing);
}

TEST(Cluster, WhoIsThereIgnoresANewcomerOfItsName) {
  Daemon daemon(self());
  daemon.run(milliseconds(1100));
  Statement newcomer = of("b", 1, 99);
  newcomer.listening = true;
  keep_hearing(daemon, newcomer, milliseconds(600));
  EXPECT_EQ(daemon->standing(), Standing::standing);
  EXPECT_TRUE(daemon.vip().owned);
  EXPECT_EQ(daemon.notes.size(), 1U);
}

TEST(Cluster, ItsOwnFramesReflectedAreNoNamesake) {
  Daemon daemon(self());
  Statement reflected = of("b", 5);
  reflected.mac = mac(5);
  keep_hearing(daemon, reflected, milliseconds(1400));
  EXPECT_EQ(daemon->standing(), Standing::standing);
  EXPECT_TRUE(daemon.notes.empty());
}

TEST(Cluster, OfTwoPeersWithOneNameTheFirstCounts) {
  Daemon daemon(self());
  keep_hearing(daemon, of("a", 1, 4), milliseconds(1400));
  Statement other = of("a", 1, 9);
  other.mac = mac(0x77);
  daemon.hear(other);
  EXPECT_EQ(daemon.peer().said.mac, mac(0x10));
  ASSERT_EQ(daemon.notes.size(), 1U);
  EXPECT_NE(daemon.notes[0].find("two nodes are called a"), std::string::npos);
}

// ---- the interface ------------------------------------------------------------------------------------------------

TEST(Cluster, AClockThatGoesBackIsNoTime) {
  Daemon daemon(self());
  daemon.run(milliseconds(1100));
  ClusterFacts facts;
  facts.now = seconds(1);
  const ClusterOrders orders = daemon->step(facts);
  EXPECT_TRUE(daemon.vip().owned);
  EXPECT_GT(orders.wake, seconds(100));
}

TEST(Cluster, StatementsAndReturnsOfStrangersDoNoHarm) {
  Daemon daemon(self());
  ClusterFacts facts;
  facts.now = seconds(101);
  facts.sent.push_back({"nobody", 1, seconds(101)});
  facts.returned.push_back({"nobody", 1, true});
  facts.returned.push_back({"a", 9, true});
  daemon->step(facts);
  EXPECT_EQ(daemon->peers().size(), 1U);
  EXPECT_FALSE(daemon.peer().reached);
}

// A hundred idle steps of a cluster of four with 50 VIPs rewrite nothing.
TEST(Cluster, NothingChangesWhileNothingHappens) {
  SelfFacts facts = self();
  for (int i = 0; i < 50; ++i) {
    OwnVip own = facts.vips.back();
    own.address = own.address.next();
    facts.vips.push_back(own);
  }
  Daemon daemon(facts);
  for (int i = 0; i < 8; ++i) {
    for (const char* node : {"a", "c", "d"}) {
      Statement statement = of(node, 1);
      statement.hears = {"a", "b", "c", "d"};
      daemon.hear(statement);
    }
    daemon.run(milliseconds(200));
  }
  const auto before = daemon->vips();
  int changes = 0;
  for (int i = 0; i < 100; ++i) {
    if (i % 20 == 0) {
      for (const char* node : {"a", "c", "d"}) {
        Statement statement = of(node, 1);
        statement.hears = {"a", "b", "c", "d"};
        const ClusterOrders orders = daemon.hear(statement);
        changes += orders.vips_changed || orders.peers_changed ? 1 : 0;
      }
    }
    const ClusterOrders orders = daemon.run(milliseconds(9));
    changes += orders.vips_changed || orders.peers_changed ? 1 : 0;
  }
  EXPECT_EQ(changes, 0);
  EXPECT_EQ(daemon->vips(), before);
}

}  // namespace
}  // namespace xlb
