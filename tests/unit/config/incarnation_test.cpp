// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/incarnation.hpp"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/unit/config/temporary_folder.hpp"

namespace xlb {
namespace {

TEST(Incarnation, CountsUpAcrossLives) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "incarnation.json";
  for (std::uint64_t life = 0; life < 3; ++life) {
    auto next = next_incarnation(file, 0);
    ASSERT_TRUE(next) << next.error().text;
    EXPECT_EQ(next->number, 1 + life * kIncarnationsInARow) << "none of an earlier life's";
    EXPECT_TRUE(next->damage.empty());
  }
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"incarnation.json"}));
}

TEST(Incarnation, ADamagedFileIsSetAsideAndJumpedOver) {
  const TemporaryFolder folder;
  const auto file = folder.path() / "incarnation.json";
  for (const char* damage : {"", "{", "{\"version\":1,\"checksum\":\"00000000\",\"content\":7}"}) {
    std::ofstream(file) << damage;
    auto next = next_incarnation(file, 40);
    ASSERT_TRUE(next) << next.error().text;
    EXPECT_EQ(next->number, (std::uint64_t{1} << 32) + 11);
    EXPECT_NE(next->damage.find(file.string()), std::string::npos) << next->damage;
    auto after = next_incarnation(file, 0);
    ASSERT_TRUE(after);
    EXPECT_EQ(after->number, next->number + kIncarnationsInARow);
  }
}

}  // namespace
}  // namespace xlb
