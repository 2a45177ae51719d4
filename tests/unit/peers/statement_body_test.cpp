// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/statement_body.hpp"

#include "tests/unit/peers/statements.hpp"

namespace xlb {
namespace {

// The pieces carry these two.
Statement without_order(Statement statement) {
  statement.incarnation = statement.sequence = 0;
  return statement;
}

Refusal refused(std::span<const std::uint8_t> octets) {
  const auto decoded = decode_body(octets);
  const auto* refusal = std::get_if<Refusal>(&decoded);
  EXPECT_TRUE(refusal);
  return refusal ? *refusal : Refusal::duplicate;
}

TEST(StatementBodyTest, ReadsAsWritten) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 300; ++i) {
    const Statement statement = i == 0 ? test::some_statement() : test::random_statement(random, 40);
    const auto octets = encode_body(statement);
    ASSERT_TRUE(octets) << octets.error().text;
    const auto decoded = decode_body(*octets);
    ASSERT_TRUE(std::holds_alternative<Statement>(decoded)) << i;
    EXPECT_EQ(std::get<Statement>(decoded), without_order(statement));
  }
}

TEST(StatementBodyTest, TheLargestThatTheBoundsAllowFits) {
  const Statement statement = test::largest_statement();
  const auto octets = encode_body(statement);
  ASSERT_TRUE(octets) << octets.error().text;
  EXPECT_LE(octets->size(), kBodyBytes);
  const auto decoded = decode_body(*octets);
  ASSERT_TRUE(std::holds_alternative<Statement>(decoded));
  EXPECT_EQ(std::get<Statement>(decoded), without_order(statement));
}

TEST(StatementBodyTest, ThereIsOneSpelling) {
  const auto octets = encode_body(test::some_statement());
  ASSERT_TRUE(octets);
  for (std::size_t i = 0; i < octets->size(); ++i)
    for (int bit = 0; bit < 8; ++bit) {
      Octets other = *octets;
      other[i] ^= static_cast<std::uint8_t>(1 << bit);
      const auto decoded = decode_body(other);
      if (const auto* statement = std::get_if<Statement>(&decoded)) {
        EXPECT_NE(*statement, without_order(test::some_statement()));
        EXPECT_EQ(*encode_body(*statement), other) << "byte " << i << " bit " << bit;
      }
    }
}

TEST(StatementBodyTest, CutShortOrContinuedIsMalformed) {
  const auto octets = encode_body(test::some_statement());
  ASSERT_TRUE(octets);
  for (std::size_t length = 0; length < octets->size(); ++length)
    EXPECT_EQ(refused(std::span(*octets).first(length)), Refusal::malformed) << length;
  Octets longer = *octets;
  longer.push_back(0);
  EXPECT_EQ(refused(longer), Refusal::malformed);
}

TEST(StatementBodyTest, MoreThanThereCanBeIsNeitherWrittenNorRead) {
  const auto refusal = [](auto change) {
    Statement statement = test::some_statement();
    change(statement);
    const auto octets = encode_body(statement);
    return octets ? std::string() : octets.error().text;
  };
  EXPECT_EQ(refusal([](Statement&) {}), "");
  EXPECT_NE(refusal([](Statement& s) { s.node.clear(); }), "");
  EXPECT_NE(refusal([](Statement& s) { s.node = std::string(kStatedName + 1, 'n'); }), "");
  EXPECT_NE(refusal([](Statement& s) { s.node = "a b"; }), "");
  EXPECT_NE(refusal([](Statement& s) { s.version = std::string(kStatedVersion + 1, '1'); }), "");
  EXPECT_NE(refusal([](Statement& s) { s.hears.assign(kStatedPeers + 1, "p"); }), "");
  EXPECT_NE(refusal([](Statement& s) { s.hears = {""}; }), "");
  EXPECT_NE(refusal([](Statement& s) { s.addresses.assign(kStatedAddresses + 1, Address{}); }), "");
  EXPECT_NE(refusal([](Statement& s) { s.vips[0].handing_to = "\x1b[31m"; }), "");
  EXPECT_NE(refusal([](Statement& s) { std::swap(s.vips[0], s.vips[1]); }), "");
  EXPECT_NE(refusal([](Statement& s) { s.vips[1] = s.vips[0]; }), "");
  Statement crowd = test::largest_statement();
  crowd.vips.push_back(crowd.vips.back());
  crowd.vips.back().vip = crowd.vips.back().vip.next();
  EXPECT_FALSE(encode_body(crowd));

  // By hand what encode_body() will not write: an empty statement, but for its last count.
  Statement plain;
  plain.node = "n";
  const Octets octets = *encode_body(plain);
  Octets vips = octets;
  vips[vips.size() - 2] = vips[vips.size() - 1] = 0xff;
  EXPECT_EQ(refused(vips), Refusal::oversized) << "65,535 VIPs";
  vips[vips.size() - 2] = 0x10;
  vips[vips.size() - 1] = 0;
  EXPECT_EQ(refused(vips), Refusal::malformed) << "4,096 could be, but are not there";
  EXPECT_EQ(refused(Octets(kBodyBytes + 1, 1)), Refusal::oversized);
}

TEST(StatementBodyTest, ObstaclesAreCutToLengthAndPrint) {
  Statement statement = test::some_statement();
  statement.vips[2].obstacle = std::string(kStatedObstacle - 1, 'o') + "\xc3\xa4";  // ä would be cut in two
  statement.vips[1].obstacle = "red \x1b[31m\n";
  const auto decoded = decode_body(*encode_body(statement));
  ASSERT_TRUE(std::holds_alternative<Statement>(decoded));
  const auto& vips = std::get<Statement>(decoded).vips;
  EXPECT_EQ(vips[2].obstacle, std::string(kStatedObstacle - 1, 'o'));
  EXPECT_EQ(vips[1].obstacle, "red  [31m ");
}

TEST(StatementBodyTest, NamesThatATerminalWouldActOnAreRefused) {
  Statement statement;
  statement.node = "n";
  Octets octets = *encode_body(statement);
  octets[1] = 0x1b;
  EXPECT_EQ(refused(octets), Refusal::malformed);
}

}  // namespace
}  // namespace xlb
