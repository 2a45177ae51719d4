// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/nonces.hpp"

#include <gtest/gtest.h>

#include "tests/unit/daemon/fake_live_rows.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;

class NoncesTest : public ::testing::Test {
 protected:
  NoncesTest() { echoes_.set_peers({{"pi2", 1}, {"pi3", 2}}); }
  test::FakeLiveRows rows_;
  Nonces echoes_{rows_, 30ms};
};

TEST_F(NoncesTest, TheTablesExpectANonceThatIsNobodysGuess) {
  const std::uint64_t nonce = echoes_.expect("pi2", 35, 0x0123456789abcdefULL, 1s);
  EXPECT_EQ(rows_.expected[1], std::vector<std::uint64_t>{nonce});
  EXPECT_EQ(nonce & (XLB_ECHOES - 1), 35 & (XLB_ECHOES - 1));
  EXPECT_EQ(nonce >> 5, 0x0123456789abcdefULL >> 5 | std::uint64_t{1} << 58) << "all other bits are chance";
  EXPECT_NE(echoes_.expect("pi2", 32, 0, 1s), 0u);
}

TEST_F(NoncesTest, WhatComesHomeIsToldOnceUnderItsNumber) {
  const std::uint64_t nonce = echoes_.expect("pi3", 7, 99, 1s);
  EXPECT_TRUE(echoes_.collect().empty());
  rows_.returns[2] = {{nonce, 1, true}};
  const auto returned = echoes_.collect();
  ASSERT_EQ(returned.size(), 1u);
  EXPECT_EQ(returned[0].peer, "pi3");
  EXPECT_EQ(returned[0].id, 7u);
  EXPECT_TRUE(returned[0].stale);
  rows_.returns[2] = {{nonce, 1, true}};
  EXPECT_TRUE(echoes_.collect().empty());
}

TEST_F(NoncesTest, WhatWasSentToAnotherIdIsForgotten) {
  const std::uint64_t nonce = echoes_.expect("pi3", 7, 99, 1s);
  echoes_.set_peers({{"pi3", 5}});
  rows_.returns[5] = {{nonce, 1, false}};
  EXPECT_TRUE(echoes_.collect().empty());
  EXPECT_FALSE(echoes_.knows("pi2"));
}

TEST_F(NoncesTest, WhatStaysGoesOn) {
  const std::uint64_t nonce = echoes_.expect("pi3", 7, 99, 1s);
  echoes_.set_peers({{"pi3", 2}, {"pi4", 3}});
  rows_.returns[2] = {{nonce, 1, false}};
  EXPECT_EQ(echoes_.collect().size(), 1u);
}

TEST_F(NoncesTest, WhatIsSentAndComesHomeIsCounted) {
  const std::uint64_t first = echoes_.expect("pi2", 1, 99, 1s);
  const std::uint64_t second = echoes_.expect("pi2", 2, 99, 2s);
  (void)echoes_.expect("pi2", 3, 99, 3s);
  const auto at = [](Instant time) { return static_cast<std::uint64_t>(time.count()); };
  rows_.returns[1] = {{first, at(1s + 30ms), false}, {second, at(2s + 31ms), false}};
  (void)echoes_.collect();
  EXPECT_EQ(echoes_.counts(), (std::map<std::string, EchoCounts>{{"pi2", {3, 2, 1}}, {"pi3", {}}}));
  echoes_.set_peers({{"pi2", 1}, {"pi3", 9}});
  EXPECT_EQ(echoes_.counts().at("pi2"), (EchoCounts{3, 2, 1}));
}

}  // namespace
}  // namespace xlb
