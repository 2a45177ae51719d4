// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/assembly.hpp"

#include <algorithm>

#include "tests/unit/peers/statements.hpp"

namespace xlb {
namespace {

constexpr std::uint64_t kMillisecond = 1'000'000;
constexpr Mac kPi1{{2, 0, 0, 0, 0, 1}}, kPi2{{2, 0, 0, 0, 0, 2}}, kPi3{{2, 0, 0, 0, 0, 3}};

// The receiver is pi3; pi1 states, pi2 passes on.
class AssemblyTest : public testing::Test {
 protected:
  AssemblyTest()
      : key_(test::seal(1)),
        keyed_(test::assembly("pi3", test::seal(1))),
        keyless_(test::assembly("pi3", std::nullopt)) {
    keyed_.set_incarnation(9);
    keyless_.set_incarnation(9);
    keyless_.set_listed({{kPi1, "pi1"}, {kPi2, "pi2"}});
  }
  static Statement statement(std::uint64_t incarnation, std::uint64_t sequence, std::size_t vips = 3) {
    Statement statement = test::some_statement();
    statement.incarnation = incarnation;
    statement.sequence = sequence;
    Address vip = test::address("fd00::1000");
    for (std::size_t i = statement.vips.size(); i < vips; ++i, vip = vip.next()) {
      statement.vips.push_back({});
      statement.vips.back().vip = vip;
      statement.vips.back().epoch = i;
    }
    return statement;
  }
  std::vector<Octets> sealed(const Statement& statement) const { return *pieces_of(statement, &key_); }
  Assembly::Taken take(const Octets& datagram, const Mac& from = kPi1, std::uint64_t at_ns = kMillisecond) {
    return keyed_.take(datagram, from, at_ns);
  }
  // What becomes of the last of them.
  Assembly::Taken take_all(const std::vector<Octets>& datagrams, const Mac& from = kPi1,
                           std::uint64_t at_ns = kMillisecond) {
    Assembly::Taken taken;
    for (const Octets& datagram : datagrams) taken = take(datagram, from, at_ns);
    return taken;
  }
  static testing::AssertionResult is(const Assembly::Taken& taken, Refusal refusal) {
    if (!taken.heard && taken.refusal == refusal) return testing::AssertionSuccess();
    return testing::AssertionFailure() << (taken.heard     ? "heard"
                                           : taken.refusal ? refusal_text(*taken.refusal).name
                                                           : "kept")
                                       << " instead of " << refusal_text(refusal).name;
  }
  Seal key_;
  Assembly keyed_, keyless_;
};

TEST_F(AssemblyTest, PiecesInAnyOrderGiveTheStatement) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 60; ++i) {
    Assembly receiver = test::assembly("pi3", test::seal(1));
    const Statement statement = test::random_statement(random, 200);
    std::vector<Octets> datagrams = sealed(statement);
    const auto in_order = datagrams;
    std::shuffle(datagrams.begin(), datagrams.end(), random);
    std::optional<Heard> heard;
    for (const Octets& datagram : datagrams) {
      EXPECT_FALSE(heard);
      auto taken = receiver.take(datagram, kPi1, 5);
      EXPECT_FALSE(taken.refusal);
      heard = std::move(taken.heard);
    }
    ASSERT_TRUE(heard);
    EXPECT_EQ(heard->statement, statement);
    EXPECT_EQ(heard->pieces, in_order);
    EXPECT_EQ(heard->mac, kPi1);
    EXPECT_FALSE(heard->passed_on);
    EXPECT_EQ(receiver.unfinished_bytes(), 0u);
  }
}

TEST_F(AssemblyTest, TheAgeIsThatOfTheFirstPiece) {
  const auto datagrams = sealed(statement(1, 1, 60));
  ASSERT_GE(datagrams.size(), 3u);
  for (std::size_t i = 0; i + 1 < datagrams.size(); ++i)
    EXPECT_FALSE(take(datagrams[i], kPi1, (10 + i) * kMillisecond).heard);
  const auto taken = take(datagrams.back(), kPi1, 500 * kMillisecond);
  ASSERT_TRUE(taken.heard);
  EXPECT_EQ(taken.heard->at_ns, 10 * kMillisecond);
}

TEST_F(AssemblyTest, EveryChangedBitIsRefusedAndCounted) {
  for (const Octets& datagram :
       {sealed(statement(1, 1)).at(0), *pass_on(sealed(statement(1, 1)).at(0), sender_id("pi2"), &key_)}) {
    std::uint64_t refusals = 0;
    for (std::size_t i = 0; i < datagram.size(); ++i)
      for (int bit = 0; bit < 8; ++bit) {
        Octets other = datagram;
        other[i] ^= static_cast<std::uint8_t>(1 << bit);
        const auto taken = take(other);
        EXPECT_FALSE(taken.heard) << i;
        ASSERT_TRUE(taken.refusal) << i;
        refusals += keyed_.refused(*taken.refusal);
      }
    EXPECT_GT(keyed_.refused(Refusal::wrong_seal), 8 * (datagram.size() - 60));
    EXPECT_GT(refusals, 0u);
    EXPECT_EQ(keyed_.unfinished_bytes(), 0u);
  }
  EXPECT_TRUE(take(sealed(statement(1, 1)).at(0)).heard) << "and the true one is heard after all that";
}

TEST_F(AssemblyTest, ThreeCopiesCountOnce) {
  const auto one = sealed(statement(1, 1, 60));
  EXPECT_TRUE(take_all(one).heard);
  for (int copy = 0; copy < 2; ++copy)
    for (const Octets& datagram : one) EXPECT_TRUE(is(take(datagram), Refusal::duplicate));
  // Interleaved copies, each with a hole, complete each other.
  const auto two = sealed(statement(1, 2, 60));
  EXPECT_FALSE(take(two[0]).refusal);
  EXPECT_TRUE(is(take(two[0]), Refusal::duplicate));
  for (std::size_t i = 2; i < two.size(); ++i) EXPECT_FALSE(take(two[i]).heard);
  EXPECT_TRUE(take(two[1]).heard);
}

TEST_F(AssemblyTest, OnlyNewerStatementsAreHeard) {
  EXPECT_TRUE(take_all(sealed(statement(5, 100))).heard);
  EXPECT_TRUE(take_all(sealed(statement(5, 102))).heard);
  EXPECT_TRUE(is(take_all(sealed(statement(5, 101))), Refusal::late)) << "overtaken";
  EXPECT_TRUE(is(take_all(sealed(statement(5, 102 - 63))), Refusal::late));
  EXPECT_TRUE(is(take_all(sealed(statement(5, 102 - 64))), Refusal::replayed));
  EXPECT_TRUE(is(take_all(sealed(statement(4, 1000))), Refusal::replayed)) << "of an earlier life";
  EXPECT_TRUE(take_all(sealed(statement(6, 1))).heard) << "a new life counts from one";
  EXPECT_TRUE(is(take_all(sealed(statement(5, 103))), Refusal::replayed));
  EXPECT_TRUE(take_all(sealed(statement(~0ull, ~0ull))).heard);
  EXPECT_EQ(keyed_.refused(Refusal::replayed), 3u);
}

TEST_F(AssemblyTest, TheSameNameFromAnotherMac) {
  EXPECT_TRUE(take_all(sealed(statement(5, 100))).heard);
  EXPECT_TRUE(is(take_all(sealed(statement(2, 7)), kPi2), Refusal::second_sender));
  // Different words under one number.
  Statement other = statement(6, 1, 60), twin = other;
  twin.version = "9.9.9";
  EXPECT_FALSE(take(sealed(other).at(0)).refusal);
  EXPECT_TRUE(is(take(sealed(twin).at(0)), Refusal::piece_differs));
}

// A disk was copied: the twin has started more often. Whoever speaks keeps its name until it falls silent.
TEST_F(AssemblyTest, ATwinDoesNotSilenceTheNodeWhoseNameItBears) {
  const auto at = [&](const Statement& said, const Mac& from, std::uint64_t ms) {
    Assembly::Taken taken;
    for (const Octets& datagram : sealed(said)) taken = keyed_.take(datagram, from, ms * 1'000'000);
    return taken;
  };
  EXPECT_TRUE(at(statement(5, 100), kPi1, 1000).heard);
  EXPECT_TRUE(is(at(statement(8, 1), kPi2, 1100), Refusal::second_sender));
  EXPECT_TRUE(at(statement(5, 101), kPi1, 1200).heard);
  EXPECT_TRUE(at(statement(5, 102), kPi2, 1300).heard) << "another link of the same node";
  EXPECT_TRUE(at(statement(6, 1), kPi2, 1400).heard) << "started again";
  EXPECT_TRUE(at(statement(8, 2), kPi1, 3400).heard) << "the other has been silent for long";
}

TEST_F(AssemblyTest, OwnStatementsComeBackAndOwnNamesClash) {
  Statement mine = statement(9, 4);
  mine.node = "pi3";
  EXPECT_TRUE(is(take_all(sealed(mine)), Refusal::came_back));
  EXPECT_TRUE(is(take(*pass_on(sealed(mine).at(0), sender_id("pi2"), &key_), kPi2), Refusal::came_back));
  EXPECT_TRUE(is(take(*pass_on(sealed(statement(1, 1)).at(0), sender_id("pi3"), &key_), kPi2), Refusal::came_back));
  mine.incarnation = 3;
  EXPECT_TRUE(is(take_all(sealed(mine)), Refusal::own_name));
}

TEST_F(AssemblyTest, PassedOnOnceAndSaidByWhom) {
  Statement relayer = statement(1, 1);
  relayer.node = "pi2";
  const auto datagrams = sealed(statement(5, 100, 60));
  std::optional<Heard> heard;
  const auto pass_all_on = [&](const std::vector<Octets>& pieces) {
    for (const Octets& piece : pieces) {
      auto taken = take(*pass_on(piece, sender_id("pi2"), &key_), kPi2);
      EXPECT_FALSE(taken.refusal);
      heard = std::move(taken.heard);
    }
  };
  pass_all_on(datagrams);
  ASSERT_TRUE(heard);
  EXPECT_EQ(heard->statement.node, "pi1");
  EXPECT_EQ(heard->passed_on->size(), 16u) << "a relayer that has not said its name yet";
  EXPECT_EQ(heard->pieces, datagrams) << "as they came from pi1";

  EXPECT_TRUE(take_all(sealed(relayer), kPi2).heard);
  pass_all_on(sealed(statement(5, 101)));
  ASSERT_TRUE(heard);
  EXPECT_EQ(heard->passed_on, "pi2");
  EXPECT_TRUE(is(take_all(sealed(statement(5, 101))), Refusal::duplicate)) << "by itself, but later";
  EXPECT_FALSE(take_all(sealed(statement(5, 102))).heard->passed_on);

  const Octets once = *pass_on(sealed(statement(5, 103)).at(0), sender_id("pi2"), &key_);
  EXPECT_TRUE(is(take(*pass_on(once, sender_id("pi4"), &key_)), Refusal::passed_on_twice));
}

TEST_F(AssemblyTest, ARelayersSealDoesNotMendAForgery) {
  Octets forged = *pieces_of(statement(5, 100), nullptr)->begin();
  EXPECT_TRUE(is(take(*pass_on(forged, sender_id("pi2"), &key_)), Refusal::no_key_there));
  const Seal other = test::seal(2);
  forged = pieces_of(statement(5, 100), &other)->at(0);
  EXPECT_TRUE(is(take(*pass_on(forged, sender_id("pi2"), &key_)), Refusal::other_key));
  EXPECT_TRUE(is(take(*pass_on(sealed(statement(5, 100)).at(0), sender_id("pi2"), &other)), Refusal::other_key));
}

TEST_F(AssemblyTest, KeysThatDifferAreToldApart) {
  const Seal other = test::seal(2);
  EXPECT_TRUE(is(take(pieces_of(statement(1, 1), &other)->at(0)), Refusal::other_key));
  EXPECT_TRUE(is(take(pieces_of(statement(1, 1), nullptr)->at(0)), Refusal::no_key_there));
  EXPECT_TRUE(is(keyless_.take(sealed(statement(1, 1)).at(0), kPi1, 1), Refusal::no_key_here));
}

TEST_F(AssemblyTest, WithoutAKeyDeclaredPeersOnly) {
  const Octets plain = pieces_of(statement(1, 1), nullptr)->at(0);
  EXPECT_TRUE(is(keyless_.take(plain, kPi3, 1), Refusal::stranger));
  EXPECT_TRUE(is(keyless_.take(plain, kPi2, 1), Refusal::not_its_name));
  EXPECT_TRUE(keyless_.take(plain, kPi1, 1).heard);
  // Passed on: by a declared peer in its own name, of a declared peer.
  const Octets next = pieces_of(statement(1, 2), nullptr)->at(0);
  EXPECT_TRUE(is(keyless_.take(*pass_on(next, sender_id("pi2"), nullptr), kPi1, 1), Refusal::not_its_name));
  EXPECT_TRUE(is(keyless_.take(*pass_on(next, sender_id("pi2"), nullptr), kPi3, 1), Refusal::stranger));
  Statement unknown = statement(1, 1);
  unknown.node = "pi9";
  EXPECT_TRUE(is(keyless_.take(*pass_on(pieces_of(unknown, nullptr)->at(0), sender_id("pi2"), nullptr), kPi2, 1),
                 Refusal::stranger));
  auto taken = keyless_.take(*pass_on(next, sender_id("pi2"), nullptr), kPi2, 1);
  ASSERT_TRUE(taken.heard);
  EXPECT_EQ(taken.heard->passed_on, "pi2");
}

TEST_F(AssemblyTest, WhatDoesNotCompleteIsGivenUp) {
  const auto datagrams = sealed(statement(1, 1, 60));
  EXPECT_FALSE(take(datagrams[0], kPi1, kMillisecond).refusal);
  EXPECT_EQ(keyed_.unfinished_bytes(), datagrams[0].size());
  keyed_.expire(kMillisecond + Assembly::kPatienceNs);
  EXPECT_GT(keyed_.unfinished_bytes(), 0u);
  keyed_.expire(kMillisecond + Assembly::kPatienceNs + 1);
  EXPECT_EQ(keyed_.unfinished_bytes(), 0u);
  EXPECT_EQ(keyed_.refused(Refusal::abandoned), 1u);
  EXPECT_FALSE(take_all({datagrams.begin() + 1, datagrams.end()}, kPi1, 3'000 * kMillisecond).heard)
      << "the first is gone";
  EXPECT_TRUE(take(datagrams[0], kPi1, 3'001 * kMillisecond).heard);
}

TEST_F(AssemblyTest, AFewUnfinishedOfOneSender) {
  std::size_t most = 0;
  for (std::uint64_t sequence = 1; sequence <= 100; ++sequence) {
    EXPECT_FALSE(take(sealed(statement(1, sequence, 60)).at(0)).refusal);
    most = std::max(most, keyed_.unfinished_bytes());
  }
  EXPECT_LE(most, (Assembly::kUnfinished + 1) * kPieceBytes);
  EXPECT_EQ(keyed_.refused(Refusal::abandoned), 98u);
  EXPECT_TRUE(is(take(sealed(statement(1, 50, 60)).at(0)), Refusal::late)) << "older than all that is kept";
  EXPECT_TRUE(take_all(sealed(statement(1, 101))).heard);
  EXPECT_EQ(keyed_.unfinished_bytes(), 0u) << "a whole one ends what is older";
}

TEST_F(AssemblyTest, MemoryIsBoundedHoweverManySend) {
  // Each of many senders with the key states as much as can be, and never the last piece.
  Statement large = test::largest_statement();
  std::size_t most = 0;
  for (int node = 0; node < 8; ++node) {
    large.node = "node" + std::to_string(node);
    auto datagrams = sealed(large);
    datagrams.pop_back();
    for (const Octets& datagram : datagrams) {
      take(datagram, kPi1, static_cast<std::uint64_t>(node) * kMillisecond);
      most = std::max(most, keyed_.unfinished_bytes());
    }
  }
  EXPECT_LE(most, Assembly::kUnfinishedBytes);
  EXPECT_GT(most, Assembly::kUnfinishedBytes / 2);
  EXPECT_GT(keyed_.refused(Refusal::crowded_out), 0u);
}

TEST_F(AssemblyTest, TheSenderThatWasSilentForLongestMakesRoom) {
  Statement one = statement(1, 5);
  for (std::uint64_t i = 0; i <= Assembly::kSenders; ++i) {
    one.node = "node" + std::to_string(i);
    ASSERT_TRUE(take_all(sealed(one), kPi1, (i + 1) * kMillisecond).heard);
  }
  one.node = "node1";
  EXPECT_TRUE(is(take_all(sealed(one), kPi1, 999 * kMillisecond), Refusal::duplicate)) << "remembered";
  one.node = "node0";
  EXPECT_TRUE(take_all(sealed(one), kPi1, 999 * kMillisecond).heard) << "forgotten";
}

TEST_F(AssemblyTest, ASealedLieAboutItsNameIsRefusedOnceForAllCopies) {
  // The id in the head is of another node than the body names: made with the key, so a fault and not a forgery.
  Octets piece = sealed(statement(1, 1)).at(0);
  piece[12] ^= 1;
  const auto tag = key_.tag(std::span(piece).first(piece.size() - Seal::kTagBytes));
  std::copy(tag.begin(), tag.end(), piece.end() - Seal::kTagBytes);
  EXPECT_TRUE(is(take(piece), Refusal::malformed));
  EXPECT_TRUE(is(take(piece), Refusal::duplicate));
}

}  // namespace
}  // namespace xlb
