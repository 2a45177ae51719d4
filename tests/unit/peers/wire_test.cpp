// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/wire.hpp"

#include <set>

#include "maps/abi.h"
#include "tests/unit/peers/statements.hpp"

namespace xlb {
namespace {

std::vector<Octets> pieces(const Statement& statement, const Seal* seal) {
  auto made = pieces_of(statement, seal);
  EXPECT_TRUE(made) << made.error().text;
  return *made;
}

Refusal refused(std::span<const std::uint8_t> datagram) {
  const auto read = read_datagram(datagram);
  const auto* refusal = std::get_if<Refusal>(&read);
  EXPECT_TRUE(refusal);
  return refusal ? *refusal : Refusal::duplicate;
}

TEST(WireTest, PiecesSayWhoseTheyAreAndFitIntoAFrame) {
  const Seal seal = test::seal(1);
  const Statement statement = test::largest_statement();
  const auto made = pieces(statement, &seal);
  EXPECT_GT(made.size(), 500u);
  EXPECT_LE(made.size(), kPieces);
  for (std::size_t i = 0; i < made.size(); ++i) {
    EXPECT_LE(made[i].size(), 1400u);
    const auto read = read_datagram(made[i]);
    ASSERT_TRUE(std::holds_alternative<Piece>(read));
    const Piece& piece = std::get<Piece>(read);
    EXPECT_EQ(piece.index, i);
    EXPECT_EQ(piece.pieces, made.size());
    EXPECT_EQ(piece.sender, sender_id(statement.node));
    EXPECT_EQ(piece.incarnation, statement.incarnation);
    EXPECT_EQ(piece.sequence, statement.sequence);
    EXPECT_EQ(piece.key, seal.fingerprint());
    EXPECT_TRUE(seal.holds(piece.sealed, piece.seal));
    const auto passed = pass_on(made[i], 5, &seal);
    ASSERT_TRUE(passed);
    EXPECT_LE(passed->size() + sizeof(lb_wire), 1500u);
  }
}

TEST(WireTest, NumbersAreInNetworkOrder) {
  Statement statement = test::some_statement();
  statement.incarnation = 0x0102030405060708;
  const Octets piece = pieces(statement, nullptr).at(0);
  EXPECT_EQ(piece[0], kWireVersion);
  EXPECT_EQ((Octets{piece.begin() + 2, piece.begin() + 6}), (Octets{0, 0, 0, 1}));
  EXPECT_EQ((Octets{piece.begin() + 20, piece.begin() + 28}), (Octets{1, 2, 3, 4, 5, 6, 7, 8}));
}

TEST(WireTest, PassedOnPiecesAreAsTheyCame) {
  for (const bool with_key : {false, true}) {
    const Seal key = test::seal(1);
    const Seal* seal = with_key ? &key : nullptr;
    const Octets piece = pieces(test::some_statement(), seal).at(0);
    const auto passed = pass_on(piece, 0xfeed, seal);
    ASSERT_TRUE(passed);
    const auto read = read_datagram(*passed);
    ASSERT_TRUE(std::holds_alternative<PassedOn>(read));
    const PassedOn& outer = std::get<PassedOn>(read);
    EXPECT_EQ(outer.relayer, 0xfeedu);
    EXPECT_TRUE(std::equal(outer.piece.begin(), outer.piece.end(), piece.begin(), piece.end()));
    if (with_key) {
      EXPECT_TRUE(key.holds(outer.sealed, outer.seal));
    }
  }
  EXPECT_FALSE(pass_on(Octets(kPieceBytes + 1), 1, nullptr));
}

TEST(WireTest, EveryOtherLengthIsRefused) {
  const Seal seal = test::seal(1);
  const Octets piece = pieces(test::some_statement(), &seal).at(0);
  const Octets passed = *pass_on(piece, 1, &seal);
  for (const Octets& datagram : {piece, passed, pieces(test::some_statement(), nullptr).at(0)}) {
    for (std::size_t length = 0; length < datagram.size(); ++length)
      EXPECT_EQ(refused(std::span(datagram).first(length)), Refusal::wrong_length) << length;
    Octets longer = datagram;
    longer.push_back(0);
    EXPECT_EQ(refused(longer), Refusal::wrong_length);
  }
}

TEST(WireTest, ImpossiblePiecesHaveTheirOwnReasons) {
  const Octets piece = pieces(test::some_statement(), nullptr).at(0);
  const auto with = [&](std::size_t at, std::initializer_list<std::uint8_t> bytes) {
    Octets other = piece;
    std::copy(bytes.begin(), bytes.end(), other.begin() + static_cast<std::ptrdiff_t>(at));
    return other;
  };
  EXPECT_EQ(refused(with(0, {kWireVersion + 1})), Refusal::other_version);
  EXPECT_EQ(refused(Octets{kWireVersion + 1, 9}), Refusal::other_version) << "which may look any way";
  EXPECT_EQ(refused(with(1, {0})), Refusal::unknown_form);
  EXPECT_EQ(refused(with(1, {3})), Refusal::unknown_form);
  EXPECT_EQ(refused(with(2, {0, 1})), Refusal::impossible_piece) << "the second of one";
  EXPECT_EQ(refused(with(4, {0, 0})), Refusal::impossible_piece) << "the first of none";
  EXPECT_EQ(refused(with(4, {0, 2})), Refusal::impossible_piece) << "not full, and not the last";
  EXPECT_EQ(refused(with(4, {0xff, 0xff})), Refusal::oversized) << "a statement of 87 MB";
  EXPECT_EQ(refused(with(6, {0xff, 0xff})), Refusal::wrong_length);
  Octets empty(piece.begin(), piece.begin() + kPieceHead);
  empty[6] = empty[7] = 0;
  EXPECT_EQ(refused(empty), Refusal::impossible_piece);
}

TEST(WireTest, EveryRefusalHasItsOwnWords) {
  std::set<std::string> names, texts;
  for (std::size_t i = 0; i < kRefusals; ++i) {
    const RefusalText text = refusal_text(static_cast<Refusal>(i));
    EXPECT_TRUE(names.insert(text.name).second) << text.name;
    EXPECT_TRUE(texts.insert(text.text).second) << text.text;
  }
}

}  // namespace
}  // namespace xlb
