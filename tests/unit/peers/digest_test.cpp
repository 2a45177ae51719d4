// SPDX-License-Identifier: Apache-2.0
#include "userspace/peers/digest.hpp"

#include <gtest/gtest.h>

#include "tests/unit/peers/statements.hpp"

namespace xlb {
namespace {

std::string hex(std::span<const std::uint8_t> bytes) {
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

TEST(DigestTest, KnownValues) {
  // FIPS 180-2, appendix B.1.
  EXPECT_EQ(hex(sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(hex(sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

TEST(DigestTest, ARankIsOfTheTextThatMetalLbHashes) {
  EXPECT_EQ(rank_digest("pi1", test::address("192.168.0.200")), sha256("pi1#192.168.0.200"));
  EXPECT_EQ(rank_digest("pi1", test::address("fd00:0::200")), sha256("pi1#fd00::200"));
}

TEST(SealTest, KnownValues) {
  // The text of RFC 4231, 4.2 under a key of our length, by `openssl dgst -sha256 -mac HMAC`.
  const Seal seal = test::seal(0x0b);
  const std::string text = "Hi There";
  const auto tag = seal.tag({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  EXPECT_EQ(hex(tag), "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7");
}

TEST(SealTest, HoldsForItsBytesAndKeyOnly) {
  const Seal mine = test::seal(1), other = test::seal(2);
  EXPECT_NE(mine.fingerprint(), other.fingerprint());
  std::array<std::uint8_t, 100> bytes{};
  for (int round = 0; round < 3; ++round) {  // a context is used again and again
    const auto tag = mine.tag(bytes);
    EXPECT_TRUE(mine.holds(bytes, tag));
    EXPECT_FALSE(other.holds(bytes, tag));
    EXPECT_FALSE(mine.holds(std::span(bytes).first(99), tag));
    EXPECT_FALSE(mine.holds(bytes, std::span(tag).first(31)));
    EXPECT_FALSE(mine.holds(bytes, {}));
    bytes[50] ^= 1;
    EXPECT_FALSE(mine.holds(bytes, tag));
  }
}

}  // namespace
}  // namespace xlb
