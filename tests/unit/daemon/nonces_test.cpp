// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/nonces.hpp"

#include <gtest/gtest.h>

#include "tests/unit/daemon/fake_live_rows.hpp"

namespace xlb {
namespace {

class NoncesTest : public ::testing::Test {
 protected:
  NoncesTest() { echoes_.set_peers({{"pi2", 1}, {"pi3", 2}}); }
  test::FakeLiveRows rows_;
  Nonces echoes_{rows_};
};

TEST_F(NoncesTest, TheTablesExpectANonceThatIsNobodysGuess) {
  const std::uint64_t nonce = echoes_.expect("pi2", 35, 0x0123456789abcdefULL);
  EXPECT_EQ(rows_.expected[1], std::vector<std::uint64_t>{nonce});
  EXPECT_EQ(nonce & (XLB_ECHOES - 1), 35 & (XLB_ECHOES - 1));
  EXPECT_EQ(nonce >> 5, 0x0123456789abcdefULL >> 5 | std::uint64_t{1} << 58) << "all other bits are chance";
  EXPECT_NE(echoes_.expect("pi2", 32, 0), 0u);
}

TEST_F(NoncesTest, WhatComesHomeIsToldOnceUnderItsNumber) {
  const std::uint64_t nonce = echoes_.expect("pi3", 7, 99);
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
  const std::uint64_t nonce = echoes_.expect("pi3", 7, 99);
  echoes_.set_peers({{"pi3", 5}});
  rows_.returns[5] = {{nonce, 1, false}};
  EXPECT_TRUE(echoes_.collect().empty());
  EXPECT_FALSE(echoes_.knows("pi2"));
}

TEST_F(NoncesTest, WhatStaysGoesOn) {
  const std::uint64_t nonce = echoes_.expect("pi3", 7, 99);
  echoes_.set_peers({{"pi3", 2}, {"pi4", 3}});
  rows_.returns[2] = {{nonce, 1, false}};
  EXPECT_EQ(echoes_.collect().size(), 1u);
}

}  // namespace
}  // namespace xlb
