// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/room.hpp"

#include <vector>

#include "tests/unit/core/build.hpp"

namespace xlb {
namespace {

TEST(Ids, GivesFreeOnesFirstAndInstalledOnesLast) {
  Ids ids(6);  // 1..5
  ids.reserve(1);
  ids.reserve(2);
  EXPECT_TRUE(ids.take(2));
  EXPECT_FALSE(ids.take(2));
  EXPECT_EQ(ids.take_next(1), 3u);
  EXPECT_EQ(ids.take_next(5), 5u);
  EXPECT_EQ(ids.take_next(5), 4u);  // round the end
  EXPECT_EQ(ids.take_next(1), 1u);  // installed, not kept
  EXPECT_EQ(ids.take_next(1), 0u);
}

TEST(Ids, HasNoIdZeroAndNoneBeyondItsLimit) {
  Ids ids(2);
  EXPECT_FALSE(ids.take(0));
  EXPECT_FALSE(ids.take(2));
  EXPECT_EQ(ids.take_next(0xffffffffu), 1u);
  EXPECT_EQ(Ids(0).take_next(1), 0u);
  EXPECT_EQ(Ids(1).take_next(1), 0u);
}

TEST(Stretches, FirstFit) {
  Stretches room(100);
  EXPECT_TRUE(room.take(10, 20));
  EXPECT_FALSE(room.take(29, 1));
  EXPECT_FALSE(room.take(5, 6));
  EXPECT_FALSE(room.take(90, 11));
  EXPECT_EQ(room.take_first(10), 0u);
  EXPECT_EQ(room.take_first(10), 30u);
  EXPECT_EQ(room.take_first(60), 40u);
  EXPECT_EQ(room.take_first(1), std::nullopt);
}

// Against an array of booleans.
TEST(Stretches, AgreesWithAnObviousModel) {
  constexpr std::uint32_t size = 64;
  test::Random random(3);
  for (int round = 0; round < 300; ++round) {
    Stretches room(size);
    std::vector<bool> taken(size + 32, false);
    for (std::uint32_t i = size; i < taken.size(); ++i) taken[i] = true;
    const auto all_free = [&](std::uint32_t base, std::uint32_t count) {
      for (std::uint32_t i = base; i < base + count; ++i) {
        if (taken[i]) return false;
      }
      return true;
    };
    for (int step = 0; step < 30; ++step) {
      const std::uint32_t base = test::below(random, size);
      const std::uint32_t count = 1 + test::below(random, 16);
      switch (test::below(random, 3)) {
        case 0: {
          const bool free = all_free(base, count);
          ASSERT_EQ(room.take(base, count), free);
          if (free) std::fill_n(taken.begin() + base, count, true);
          break;
        }
        case 1:
          room.take_rest(base, count);
          for (std::uint32_t i = base; i < base + count; ++i) taken[i] = true;
          break;
        default: {
          std::optional<std::uint32_t> expected;
          for (std::uint32_t at = 0; at < size && !expected; ++at) {
            if (all_free(at, count)) expected = at;
          }
          ASSERT_EQ(room.take_first(count), expected);
          if (expected) std::fill_n(taken.begin() + *expected, count, true);
        }
      }
    }
  }
}

}  // namespace
}  // namespace xlb
