// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/claims.hpp"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace xlb {
namespace {

Rank rank(std::uint8_t digest) {
  Rank rank;
  rank.digest[0] = digest;  // lower is better
  return rank;
}

Voice voice(const std::string& node, std::uint8_t digest, std::uint64_t epoch = 0) {
  Voice voice;
  voice.node = node;
  voice.said.vip = Address::from_ipv4({192, 168, 0, 200});
  voice.said.eligible = true;
  voice.said.rank = rank(digest);
  voice.said.epoch = epoch;
  voice.live = voice.reached = true;
  return voice;
}

// "b" looks at itself and at others; it has rank 2.
ClaimFacts facts(std::uint64_t own_epoch, std::vector<Voice> peers) {
  ClaimFacts facts;
  facts.standing = Standing::standing;
  facts.self = voice("b", 2, own_epoch);
  if (own_epoch != 0) facts.origin = "claimed it";
  facts.peers = std::move(peers);
  facts.highest_epoch = own_epoch;
  for (const Voice& peer : facts.peers) facts.highest_epoch = std::max(facts.highest_epoch, peer.said.epoch);
  return facts;
}

TEST(Claims, TheHighestEpochOwnsThenTheBetterRank) {
  EXPECT_EQ(settle(facts(3, {voice("a", 1, 2)})).view.owner, "b");
  EXPECT_EQ(settle(facts(3, {voice("a", 1, 4)})).view.owner, "a");
  EXPECT_EQ(settle(facts(3, {voice("a", 1, 3)})).view.owner, "a");
  EXPECT_EQ(settle(facts(3, {voice("c", 3, 3)})).view.owner, "b");
}

TEST(Claims, WhatLosesIsDroppedAtOnce) {
  const VipView view = settle(facts(3, {voice("a", 1, 4)})).view;
  EXPECT_FALSE(view.owned);
  EXPECT_EQ(view.epoch, 0U);
  EXPECT_EQ(view.reason, "a answers");
}

TEST(Claims, TheBestCandidateClaimsWhatIsVacant) {
  ClaimFacts vacant = facts(0, {voice("c", 3)});
  vacant.highest_epoch = 7;
  const VipView view = settle(vacant).view;
  EXPECT_TRUE(view.owned);
  EXPECT_EQ(view.epoch, 8U);
  EXPECT_EQ(view.reason, "claimed it, because nobody did");
  EXPECT_FALSE(settle(facts(0, {voice("a", 1)})).view.owned);
  EXPECT_EQ(settle(facts(0, {voice("a", 1)})).view.reason, "nobody answers yet; a comes first");
}

TEST(Claims, ABetterNodeThatIsAboutToBeReadyComesFirst) {
  Voice better = voice("a", 1);
  Voice worse = voice("c", 3);
  better.obstacle = worse.obstacle = "has just started and listens";
  better.joining = worse.joining = true;
  const VipView view = settle(facts(0, {better, worse})).view;
  EXPECT_FALSE(view.owned);
  EXPECT_EQ(view.reason, "nobody answers yet; a comes first");
  EXPECT_TRUE(settle(facts(0, {worse})).view.owned);
  better.joining = false;
  EXPECT_TRUE(settle(facts(0, {better, worse})).view.owned);
  EXPECT_TRUE(settle(facts(4, {better, worse})).view.owned) << "an incumbent waits for nobody";
}

TEST(Claims, ADeadOwnersVipIsTakenOverAndItsEpochSurpassed) {
  Voice dead = voice("a", 1, 5);
  dead.live = false;
  dead.obstacle = "is lost";
  const VipView view = settle(facts(0, {dead, voice("c", 3)})).view;
  EXPECT_EQ(view.epoch, 6U);
  EXPECT_EQ(view.reason, "took it over from a, which is lost");
  ASSERT_EQ(view.candidates.size(), 3U);
  EXPECT_EQ(view.candidates[0], (CandidateView{"a", false, "is lost", 1}));
  EXPECT_EQ(view.candidates[1], (CandidateView{"b", true, "owner", 2}));
  EXPECT_EQ(view.candidates[2], (CandidateView{"c", true, "candidate", 3}));
}

TEST(Claims, ABetterNodeWaitsUntilTheIncumbentHandsOver) {
  Voice better = voice("a", 1);
  EXPECT_EQ(settle(facts(3, {better})).view.handing_to, "");
  better.patient = true;
  const VipView view = settle(facts(3, {better})).view;
  EXPECT_TRUE(view.owned);  // until the other one claims
  EXPECT_EQ(view.handing_to, "a");
  better.reached = false;
  EXPECT_EQ(settle(facts(3, {better})).view.handing_to, "");
  better.reached = true;
  Voice best = voice("0", 0);  // has just come: one move to it later is better than two
  EXPECT_EQ(settle(facts(3, {better, best})).view.handing_to, "");
  best.patient = true;
  EXPECT_EQ(settle(facts(3, {better, best})).view.handing_to, "0");
  Voice worse = voice("c", 3);
  worse.patient = true;
  EXPECT_EQ(settle(facts(3, {worse})).view.handing_to, "");
}

TEST(Claims, WhoIsHandedAVipClaimsIt) {
  Voice incumbent = voice("a", 1, 4);
  EXPECT_FALSE(settle(facts(0, {incumbent})).view.owned);
  incumbent.said.handing_to = "b";
  EXPECT_EQ(settle(facts(0, {incumbent})).view.epoch, 5U);
  ClaimFacts unable = facts(0, {incumbent});
  unable.self.obstacle = "drains";
  EXPECT_FALSE(settle(unable).view.owned);
}

TEST(Claims, DrainingHandsOverToTheBestItReachesOrKeeps) {
  ClaimFacts draining = facts(3, {voice("d", 4), voice("c", 3)});
  draining.draining = true;
  draining.self.obstacle = "drains";
  EXPECT_EQ(settle(draining).view.handing_to, "c");
  draining.peers.clear();
  const Claims alone = settle(draining);
  EXPECT_TRUE(alone.view.owned);
  EXPECT_TRUE(alone.stranded);
}

TEST(Claims, WhoIsNotEligibleHandsOverOrGivesUp) {
  ClaimFacts unable = facts(3, {voice("c", 3)});
  unable.self.said.eligible = false;
  unable.self.said.obstacle = unable.self.obstacle = "has no backend";
  EXPECT_EQ(settle(unable).view.handing_to, "c");
  EXPECT_TRUE(settle(unable).view.owned);
  unable.peers[0].obstacle = "has no backend either";
  EXPECT_FALSE(settle(unable).view.owned);
  EXPECT_EQ(settle(unable).view.owner, "");
}

TEST(Claims, ListeningKeepsWhatItHasAndClaimsNothing) {
  ClaimFacts listening = facts(0, {});
  listening.standing = Standing::listening;
  listening.self.obstacle = "listens";
  EXPECT_FALSE(settle(listening).view.owned);
  listening.self.said.epoch = 4;  // adopted
  EXPECT_TRUE(settle(listening).view.owned);
  listening.peers = {voice("a", 1, 5)};
  EXPECT_FALSE(settle(listening).view.owned);
}

TEST(Claims, DeafDropsEverything) {
  ClaimFacts deaf = facts(9, {voice("a", 1, 5)});
  deaf.standing = Standing::deaf;
  deaf.self.obstacle = "hears no frame at all";
  EXPECT_FALSE(settle(deaf).view.owned);
  EXPECT_EQ(settle(deaf).view.reason, "hears no frame at all");
}

TEST(Claims, TheLastEpochDoesNotWrap) {
  ClaimFacts vacant = facts(0, {});
  vacant.highest_epoch = ~0ULL;
  EXPECT_EQ(settle(vacant).view.epoch, ~0ULL);
}

// Nodes that hear each other perfectly, each stating what it settled on, from whatever claims: after two rounds there
// is one owner, all agree on it, it is a candidate, and a third round changes nothing.
TEST(Claims, WhoHearEachOtherAgree) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 3000; ++round) {
    const std::size_t count = 2 + random() % 5;
    std::vector<Voice> nodes;
    for (std::size_t i = 0; i < count; ++i) {
      nodes.push_back(voice(std::string(1, static_cast<char>('a' + i)), static_cast<std::uint8_t>(random() % 3),
                            random() % 3 == 0 ? random() % 4 : 0));
      if (random() % 3 == 0) {
        nodes[i].said.eligible = false;
        nodes[i].said.obstacle = nodes[i].obstacle = "unfit";
      }
      nodes[i].patient = random() % 2 == 0;
    }
    std::vector<std::string> owners(count);
    const auto look = [&](std::size_t i) {
      ClaimFacts facts;
      facts.standing = Standing::standing;
      facts.self = nodes[i];
      for (std::size_t j = 0; j < count; ++j) {
        facts.highest_epoch = std::max(facts.highest_epoch, nodes[j].said.epoch);
        if (j != i) facts.peers.push_back(nodes[j]);
      }
      const Claims claims = settle(facts);
      nodes[i].said.epoch = claims.view.epoch;
      nodes[i].said.handing_to = claims.view.handing_to;
      owners[i] = claims.view.owner;
    };
    for (int again = 0; again < 4; ++again) {
      for (std::size_t i = 0; i < count; ++i) look(i);
    }
    const auto settled = owners;
    for (std::size_t i = 0; i < count; ++i) look(i);
    EXPECT_EQ(owners, settled) << round;
    bool any = false;
    for (const Voice& node : nodes) {
      any |= node.candidate();
      if (node.node == owners[0]) {
        EXPECT_TRUE(node.candidate()) << round;
      }
    }
    EXPECT_EQ(owners[0].empty(), !any) << round;
    for (const std::string& owner : owners) EXPECT_EQ(owner, owners[0]) << round;
  }
}

}  // namespace
}  // namespace xlb
