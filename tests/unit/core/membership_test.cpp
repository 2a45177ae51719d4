// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/membership.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace xlb {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

const ClusterSettings kSettings;  // 30 ms x 3

Statement statement(const std::string& node, std::uint64_t sequence, std::uint8_t mac = 1) {
  Statement statement;
  statement.node = node;
  statement.incarnation = 1;
  statement.sequence = sequence;
  statement.mac = Mac{{2, 0, 0, 0, 0, mac}};
  return statement;
}

// ---- the rule of detection ----------------------------------------------------------------------------------------

TEST(Echoes, ThreeMustBeUnanswered) {
  Echoes echoes;
  echoes.sent(1, milliseconds(0));
  echoes.returned(1, false);
  echoes.sent(2, milliseconds(30));
  echoes.sent(3, milliseconds(60));
  EXPECT_EQ(echoes.lost_at(kSettings), kNever);  // however late it is: the rest of the time may be our own stall
  echoes.sent(4, milliseconds(70));
  EXPECT_EQ(echoes.lost_at(kSettings), milliseconds(90));
}

TEST(Echoes, TheFirstUnansweredMustBeAwayForTwoIntervals) {
  Echoes echoes;
  echoes.sent(1, milliseconds(0));
  echoes.returned(1, false);
  echoes.sent(2, milliseconds(500));  // after a stall of this node, in a hurry
  echoes.sent(3, milliseconds(501));
  echoes.sent(4, milliseconds(502));
  EXPECT_EQ(echoes.lost_at(kSettings), milliseconds(560));
}

TEST(Echoes, WhatComesHomeLateCountsFromWhenItWasSent) {
  Echoes echoes;
  for (std::uint64_t id = 1; id <= 4; ++id) echoes.sent(id, milliseconds(id * 10));
  EXPECT_TRUE(echoes.returned(2, false));
  EXPECT_EQ(echoes.home_sent(), milliseconds(20));
  EXPECT_EQ(echoes.first_unanswered(), milliseconds(30));
  EXPECT_FALSE(echoes.returned(2, false));  // each counts once
  EXPECT_FALSE(echoes.returned(1, false));  // overtaken
  EXPECT_FALSE(echoes.returned(5, false));  // never sent
  EXPECT_TRUE(echoes.returned(4, true));
  EXPECT_EQ(echoes.first_unanswered(), kNever);
  EXPECT_TRUE(echoes.home_stale());
}

TEST(Echoes, NumbersThatWereNeverSentAreNoGap) {
  Echoes echoes;
  echoes.sent(3, milliseconds(10));
  echoes.sent(7, milliseconds(20));
  EXPECT_FALSE(echoes.any_home());
  EXPECT_TRUE(echoes.returned(3, false));
  EXPECT_EQ(echoes.first_unanswered(), milliseconds(20));
}

// Whatever the sender's stalls: as long as every echo that was sent comes home within a fifth of an interval of being
// sent, the peer is not lost; and once none does, it is lost within three intervals of the last one that did, unless
// the sender stalls.
TEST(Echoes, OwnStallsAreNeverBlamedOnThePeer) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 2000; ++round) {
    Echoes echoes;
    Instant now{};
    std::uint64_t id = 0;
    for (int step = 0; step < 50; ++step) {
      if (id != 0) echoes.returned(id, false);  // it has been home long before this step reads it
      EXPECT_LT(now, echoes.lost_at(kSettings)) << "round " << round << " step " << step;
      echoes.sent(++id, now);
      now += step % 5 == 4 ? milliseconds(random() % 700) : microseconds(random() % 30000);
    }
  }
}

// ---- reached, heard, fresh ----------------------------------------------------------------------------------------

// A peer whose echoes come home every 30 ms until `cut`; the node steps every 10 ms.
class Watch : public ::testing::Test {
 protected:
  void run(Instant until, bool echoes_come_home) {
    for (; now_ <= until; now_ += milliseconds(10)) {
      Peer& peer = *membership_.find("b");
      if (echoes_come_home) {
        for (std::uint64_t id = first_; id <= last_; ++id) peer.echoes.returned(id, false);
      }
      changes_ += membership_.judge(now_, {now_, now_}).judged ? 1 : 0;
      if (now_ >= peer.next_echo) {
        last_ = peer.echoes.order();
        peer.echoes.sent(last_, now_);
        peer.next_echo = now_ + (peer.missing ? milliseconds(10) : milliseconds(30));
      }
    }
  }
  // Its echoes stay away after 200 ms; it says its last word then, and is found lost.
  void lose_after_a_word(Instant then) {
    membership_.said(statement("b", 1), now_, now_);
    run(milliseconds(200), true);
    run(then, false);
    membership_.said(statement("b", 2), now_, now_);
    run(milliseconds(300), false);
    ASSERT_FALSE(peer().reached);
  }
  const Peer& peer() { return *membership_.find("b"); }

  Membership membership_{kSettings};
  Instant now_{};
  std::uint64_t first_ = 1;
  std::uint64_t last_ = 0;
  int changes_ = 0;
};

TEST_F(Watch, ReachedByEchoesAloneWhateverTheDaemonSays) {
  membership_.said(statement("b", 1), now_, now_);
  run(seconds(3), true);
  EXPECT_TRUE(peer().reached);
  EXPECT_TRUE(peer().heard);
  EXPECT_FALSE(peer().fresh);  // one statement in 3 s: its daemon hangs
  EXPECT_FALSE(peer().candidate());
}

TEST_F(Watch, LostWithinThreeIntervals) {
  membership_.said(statement("b", 1), now_, now_);
  run(milliseconds(200), true);
  run(milliseconds(310), false);
  EXPECT_FALSE(peer().reached);
  EXPECT_FALSE(peer().heard);  // though its statement is young: it came before the first miss
  EXPECT_EQ(peer().losses, 1U);
  EXPECT_LE(peer().detection, kSettings.detection() + milliseconds(10));
}

TEST_F(Watch, AwaitedForAMomentOnceLost) {
  membership_.said(statement("b", 1), now_, now_);
  run(milliseconds(20), false);
  EXPECT_FALSE(peer().awaited);  // it was never reached: nothing waits for it
  run(milliseconds(200), true);
  EXPECT_FALSE(peer().awaited);
  run(milliseconds(310), false);
  ASSERT_FALSE(peer().reached);
  EXPECT_TRUE(peer().awaited);
  run(peer().lost + kAwaited - milliseconds(20), false);
  EXPECT_TRUE(peer().awaited);
  const Instant since = peer().since;
  const int changes = changes_;
  run(peer().lost + kAwaited, false);
  EXPECT_FALSE(peer().awaited);
  EXPECT_GT(changes_, changes) << "the tables must learn of it";
  EXPECT_EQ(peer().since, since) << "of what users ask about nothing has changed";
  first_ = last_ + 1;
  run(now_ + milliseconds(200), true);
  EXPECT_TRUE(peer().reached);
  EXPECT_FALSE(peer().awaited);
}

TEST_F(Watch, HeardByStatementsWhileEchoesAreLost) {
  lose_after_a_word(milliseconds(240));
  EXPECT_TRUE(peer().heard);
  membership_.said(statement("b", 3), now_, now_);  // and is lost already
  const Instant last = now_;
  run(last + kSettings.stale_age, false);
  EXPECT_TRUE(peer().heard);
  run(last + kSettings.stale_age + milliseconds(20), false);
  EXPECT_FALSE(peer().heard);
}

TEST_F(Watch, AStatementAfterALostEchoKeepsADeadPeerAliveForAMomentOnly) {
  lose_after_a_word(milliseconds(220));
  const Instant silent = peer().silent_at(kSettings);
  EXPECT_LE(silent, peer().lost + kSettings.detection());
  run(silent - milliseconds(10), false);
  EXPECT_TRUE(peer().heard) << "one that lives has until then to say more";
  run(silent + milliseconds(10), false);
  EXPECT_FALSE(peer().heard);
}

TEST_F(Watch, WhoStoodStillItselfWaitsForTheNextWordAllTheSame) {
  lose_after_a_word(milliseconds(220));
  const Instant awake = now_ + milliseconds(10);
  membership_.judge(now_ + milliseconds(500), {awake, awake});  // half a second, of which it was awake for a hundredth
  EXPECT_TRUE(peer().heard);
  EXPECT_TRUE(peer().speaks_on(awake, kSettings));
  membership_.judge(now_ + milliseconds(600), {peer().silent_at(kSettings), peer().silent_at(kSettings)});
  EXPECT_FALSE(peer().heard);
  EXPECT_TRUE(peer().speaks_on(peer().lost_attentive + 3 * kSettings.echo_interval, kSettings));
  EXPECT_FALSE(peer().speaks_on(peer().lost_attentive + 4 * kSettings.echo_interval, kSettings));
}

// A statement grows old on the one clock, what a lost peer said last on the other.
TEST_F(Watch, EachAgeHasItsClock) {
  lose_after_a_word(milliseconds(220));
  membership_.judge(now_, {now_ + milliseconds(600), peer().silent_at(kSettings) - milliseconds(1)});
  EXPECT_TRUE(peer().heard);
  membership_.judge(now_, {now_, peer().silent_at(kSettings)});
  EXPECT_FALSE(peer().heard);
  membership_.judge(now_, {now_ + milliseconds(800), peer().silent_at(kSettings) - milliseconds(1)});
  EXPECT_FALSE(peer().fresh);
  EXPECT_FALSE(peer().heard);
}

TEST_F(Watch, BackByAnEchoSentAfterTheLossOnly) {
  membership_.said(statement("b", 1), now_, now_);
  run(milliseconds(200), true);
  run(milliseconds(310), false);
  ASSERT_FALSE(peer().reached);
  membership_.find("b")->echoes.returned(last_ - 5, false);  // sent before it
  changes_ = 0;
  membership_.judge(now_, {now_, now_});
  EXPECT_FALSE(peer().reached);
  run(milliseconds(330), true);
  EXPECT_TRUE(peer().reached);
}

TEST_F(Watch, OldStatementsAndReplaysAreIgnored) {
  EXPECT_TRUE(membership_.said(statement("b", 5), now_, now_));
  EXPECT_FALSE(membership_.said(statement("b", 5), now_, now_));
  EXPECT_FALSE(membership_.said(statement("b", 4), now_, now_));
  Statement reborn = statement("b", 1);
  reborn.incarnation = 2;
  EXPECT_TRUE(membership_.said(reborn, now_, now_));
  EXPECT_FALSE(membership_.said(statement("b", 6), now_, now_));
}

TEST(Membership, ListedPeersStayAndStrangersAreForgotten) {
  Membership membership(kSettings);
  membership.list({"a", "b"});
  membership.said(statement("stranger", 1), Instant{}, Instant{});
  membership.said(statement("b", 1, 2), Instant{}, Instant{});
  membership.judge(seconds(1), {seconds(1), seconds(1)});
  membership.judge(seconds(700), {seconds(700), seconds(700)});
  membership.judge(seconds(1400), {seconds(1400), seconds(1400)});
  EXPECT_EQ(membership.find("stranger"), nullptr);
  EXPECT_NE(membership.find("a"), nullptr);
  EXPECT_NE(membership.find("b"), nullptr);
  membership.list({"b"});
  EXPECT_EQ(membership.find("a"), nullptr);  // never heard, no longer listed
}

TEST(Membership, QuietFromTheFirstMissOfTheLastPeer) {
  Membership membership(kSettings);
  membership.said(statement("b", 1), Instant{}, Instant{});
  Echoes& echoes = membership.find("b")->echoes;
  echoes.sent(echoes.order(), Instant{});
  echoes.returned(1, false);
  membership.judge(milliseconds(1), {milliseconds(1), milliseconds(1)});
  EXPECT_FALSE(membership.quiet());
  echoes.sent(echoes.order(), milliseconds(30));
  membership.judge(milliseconds(31), {milliseconds(31), milliseconds(31)});
  EXPECT_FALSE(membership.quiet());  // under way
  membership.judge(milliseconds(45), {milliseconds(45), milliseconds(45)});
  EXPECT_TRUE(membership.quiet());
  EXPECT_EQ(membership.quiet_since(), milliseconds(45));
  EXPECT_TRUE(membership.anybody_heard());
}

// ---- settings -----------------------------------------------------------------------------------------------------

TEST(ClusterSettings, BothProfilesMakeSense) {
  EXPECT_TRUE(validate(ClusterSettings{}).empty());
  EXPECT_TRUE(validate(ClusterSettings::fast()).empty());
}

TEST(ClusterSettings, WhatMakesNoSenseIsRefusedInOneSentenceEach) {
  const auto refused = [](auto change, const std::string& about) {
    ClusterSettings settings;
    change(settings);
    const auto wrong = validate(settings);
    return wrong.size() == 1 && wrong[0].find(about) != std::string::npos && wrong[0].find('\n') == std::string::npos;
  };
  EXPECT_TRUE(refused([](auto& s) { s.echo_interval = milliseconds(1); }, "echo interval is 1 ms"));
  EXPECT_TRUE(refused([](auto& s) { s.misses = 1; }, "lost after 1"));
  EXPECT_TRUE(refused([](auto& s) { s.statement_interval = milliseconds(20); }, "statement interval is 20 ms"));
  EXPECT_TRUE(refused([](auto& s) { s.stale_age = milliseconds(500); }, "stale after 500 ms"));
  EXPECT_TRUE(refused([](auto& s) { s.echo_interval = milliseconds(200); }, "before a peer is found lost"));
  EXPECT_TRUE(refused([](auto& s) { s.join_listen = milliseconds(600); }, "joins listens for 600 ms"));
  EXPECT_TRUE(refused([](auto& s) { s.rejoin_listen = milliseconds(100); }, "cut off listens for 100 ms"));
  EXPECT_TRUE(refused([](auto& s) { s.fail_back_delay = milliseconds(0); }, "fails back after 0 ms"));
  EXPECT_TRUE(refused([](auto& s) { s.lease = milliseconds(900); }, "lease is 900 ms"));
}

}  // namespace
}  // namespace xlb
