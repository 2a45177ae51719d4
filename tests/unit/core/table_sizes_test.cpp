// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/table_sizes.hpp"

#include <gtest/gtest.h>

#include <random>

namespace xlb {
namespace {

std::string refusal(const std::string& text) {
  const auto sizes = parse_table_sizes(text);
  return sizes ? "taken" : sizes.error().text;
}

TEST(TableSizes, AreRead) {
  const auto sizes = parse_table_sizes("backends=131072,slots=16777216");
  ASSERT_TRUE(sizes) << sizes.error().text;
  EXPECT_EQ(*sizes, (TableSizes{{"backends", 131072}, {"slots", 16777216}}));
}

TEST(TableSizes, BoundsAreAllowed) {
  EXPECT_EQ(refusal("flows=16384,services=16,backends=64,slots=1024,sources=16"), "taken");
  EXPECT_EQ(refusal("flows=8388608,services=65536,backends=1048576,slots=67108864,sources=1048576"), "taken");
}

TEST(TableSizes, WhatIsWrongIsNamed) {
  const std::string there = " is no size of a table: backends=131072, say; there are flows, services, backends, slots, sources";
  for (const std::string part : {"", "backends", "vips=100", "xlb_backends=100000", " backends=100000", "=5"})
    EXPECT_EQ(refusal(part), "\"" + part + "\"" + there);
  EXPECT_EQ(refusal("backends=131072,"), "\"\"" + there);
  for (const std::string figure : {"", "63", "1048577", "99999999999", "-1", "1e5", "100000x", "0x20000", " 100000"})
    EXPECT_EQ(refusal("slots=4096,backends=" + figure), "\"backends=" + figure + "\": backends may have from 64 to 1048576 entries");
  EXPECT_EQ(refusal("slots=4096,slots=4096"), "slots is there twice");
}

TEST(TableSizes, TextAndBack) {
  std::mt19937 random(1);
  for (int round = 0; round < 1000; ++round) {
    TableSizes sizes;
    for (const char* name : {"flows", "services", "backends", "slots", "sources"})
      if (random() % 2 == 0) sizes[name] = static_cast<std::uint32_t>(16384 + random() % 49153);
    if (sizes.empty()) continue;
    const auto again = parse_table_sizes(table_sizes_text(sizes));
    ASSERT_TRUE(again) << again.error().text;
    EXPECT_EQ(*again, sizes);
  }
  EXPECT_EQ(table_sizes_text({}), "");
}

// Whatever is typed: an answer, and one that can be typed again.
TEST(TableSizes, AnyText) {
  std::mt19937 random(2);
  const std::string_view alphabet = "backendslotflows=,0123456789-\xff";
  int taken = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = round % 2 == 0 ? "slots=65536,backends=65536" : "";
    for (int edit = static_cast<int>(random() % 4); edit >= 0; --edit) {
      const std::size_t at = random() % (text.size() + 1);
      if (random() % 2 == 0 && at < text.size()) text.erase(at, 1);
      else text.insert(at, 1, alphabet[random() % alphabet.size()]);
    }
    const auto sizes = parse_table_sizes(text);
    if (!sizes) {
      EXPECT_FALSE(sizes.error().text.empty());
      continue;
    }
    ++taken;
    EXPECT_EQ(*parse_table_sizes(table_sizes_text(*sizes)), *sizes);
  }
  EXPECT_GT(taken, 100);
}

}  // namespace
}  // namespace xlb
