// SPDX-License-Identifier: Apache-2.0
// Against std::map, which it stands in for.
#include "userspace/core/sorted_rows.hpp"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace xlb {
namespace {

TEST(SortedRows, DoesWhatAMapDoes) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    std::mt19937 random(seed);
    SortedRows<int, int> rows;
    std::map<int, int> map;
    for (int step = 0; step < 200; ++step) {
      const int key = static_cast<int>(random() % 40);
      switch (random() % 4) {
        case 0:
          rows.erase(key);
          map.erase(key);
          break;
        case 1:
          if (map.empty() || map.rbegin()->first < key) {
            rows.append(key, step);
            map[key] = step;
          }
          break;
        default:
          rows[key] = step;
          map[key] = step;
      }
      ASSERT_EQ(rows.size(), map.size());
      ASSERT_EQ(rows.empty(), map.empty());
      ASSERT_EQ(rows.contains(key), map.contains(key));
      if (map.contains(key)) {
        ASSERT_EQ(rows.at(key), map.at(key));
        ASSERT_EQ(rows.find(key)->second, map.at(key));
      }
      if (!map.empty()) {
        ASSERT_EQ(rows.rbegin()->first, map.rbegin()->first);
      }
      ASSERT_TRUE(std::equal(rows.begin(), rows.end(), map.begin(), map.end(),
                             [](const auto& a, const auto& b) { return a.first == b.first && a.second == b.second; }));
    }
  }
}

}  // namespace
}  // namespace xlb
