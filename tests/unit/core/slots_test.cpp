// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/slots.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

#include "tests/unit/core/build.hpp"

namespace xlb {
namespace {

std::vector<SlotCandidate> candidates(std::size_t count, test::Random& random) {
  std::map<std::pair<Address, std::uint16_t>, SlotCandidate> result;
  while (result.size() < count) {
    const auto last = static_cast<std::uint8_t>(random());
    const auto third = static_cast<std::uint8_t>(random() % 4);
    SlotCandidate candidate{Address::from_ipv4({10, 42, third, last}), 8000, 0};
    candidate.id = static_cast<std::uint32_t>(result.size() + 1);
    result.try_emplace({candidate.address, candidate.port}, candidate);
  }
  std::vector<SlotCandidate> list;
  for (const auto& [key, candidate] : result) list.push_back(candidate);
  std::shuffle(list.begin(), list.end(), random);
  return list;
}

TEST(SlotCount, IsAPowerOfTwoWithRoomForEvenShares) {
  EXPECT_EQ(slot_count(0), 0u);
  EXPECT_EQ(slot_count(1), 1u);
  for (std::size_t backends = 2; backends <= 2048; ++backends) {
    const std::uint32_t count = slot_count(backends);
    ASSERT_TRUE(std::has_single_bit(count));
    ASSERT_GE(count, 32 * backends) << backends;
  }
}

// Written down once: every node, compiler and architecture must give these.
TEST(Slots, AreTheSameEverywhere) {
  EXPECT_EQ(hash_endpoint(Address::from_ipv4({10, 42, 0, 8}), 8000), 0xacd5518c1c07db8eu);
  EXPECT_EQ(hash_endpoint(test::address("fd00:42::8"), 443), 0x768c7babe0a638c5u);
  std::vector<SlotCandidate> three;
  for (std::uint8_t i = 1; i <= 3; ++i) three.push_back({Address::from_ipv4({10, 42, 0, i}), 8000, i});
  const std::vector<SlotPair> slots = fill_slots(three);
  std::uint64_t digest = 0;
  for (const SlotPair& pair : slots) digest = digest * 31 + pair.first * 5 + pair.second;
  EXPECT_EQ(digest, 0x1f7667a4dfb0a63bu);
}

TEST(Slots, OfOneBackend) {
  const std::vector<SlotCandidate> one{{Address::from_ipv4({10, 0, 0, 1}), 80, 7}};
  EXPECT_EQ(fill_slots(one), (std::vector<SlotPair>{{7, 0}}));
  EXPECT_EQ(fill_slots(one, 4), std::vector<SlotPair>(4, {7, 0}));
  EXPECT_TRUE(fill_slots({}).empty());
}

// What makes a peer give a flow to the backend that the owner of the VIP had in mind.
TEST(Slots, AWinnerAmongAllIsTheWinnerAmongSome) {
  test::Random random(9);
  const std::vector<SlotCandidate> all = candidates(20, random);
  const std::vector<SlotPair> slots = fill_slots(all);
  for (const std::size_t some : {1, 2, 7, 19}) {
    const std::vector<SlotCandidate> few(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(some));
    const std::vector<SlotPair> own = fill_slots(few, static_cast<std::uint32_t>(slots.size()));
    ASSERT_EQ(own.size(), slots.size());
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const bool among = std::any_of(few.begin(), few.end(), [&](const auto& one) { return one.id == slots[i].first; });
      if (among) {
        ASSERT_EQ(own[i].first, slots[i].first) << i;
      }
    }
  }
}

TEST(Slots, ListTwoDifferentBackends) {
  test::Random random(4);
  for (const SlotPair& pair : fill_slots(candidates(5, random))) {
    EXPECT_NE(pair.first, pair.second);
    EXPECT_NE(pair.first, 0u);
    EXPECT_NE(pair.second, 0u);
  }
}

TEST(Slots, DoNotDependOnOrderOrIds) {
  test::Random random(5);
  std::vector<SlotCandidate> list = candidates(20, random);
  const std::vector<SlotPair> before = fill_slots(list);
  std::shuffle(list.begin(), list.end(), random);
  EXPECT_EQ(fill_slots(list), before);
  for (SlotCandidate& candidate : list) candidate.id += 1000;
  std::vector<SlotPair> moved = fill_slots(list);
  for (SlotPair& pair : moved) pair = {pair.first - 1000, pair.second - 1000};
  EXPECT_EQ(moved, before);
}

// The property that lets connections survive: a slot that did not list the removed backend is untouched, and one that
// listed it first is taken over by its second.
TEST(Slots, RemovingABackendChangesOnlyItsOwn) {
  test::Random random(6);
  for (const std::size_t count : {3u, 4u, 9u, 16u, 40u, 256u}) {
    const std::vector<SlotCandidate> all = candidates(count, random);
    const std::vector<SlotPair> before = fill_slots(all);
    const std::size_t victim = test::below(random, static_cast<std::uint32_t>(count));
    std::vector<SlotCandidate> rest = all;
    rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(victim));
    if (slot_count(rest.size()) != slot_count(count)) continue;
    const std::vector<SlotPair> after = fill_slots(rest);
    const std::uint32_t gone = all[victim].id;
    std::size_t changed = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      if (before[i].first == gone) {
        EXPECT_EQ(after[i].first, before[i].second);
      } else {
        EXPECT_EQ(after[i].first, before[i].first);
        if (before[i].second != gone) {
          EXPECT_EQ(after[i].second, before[i].second);
        }
      }
      changed += before[i] != after[i] ? 1 : 0;
    }
    EXPECT_GT(changed, 0u);
  }
}

// Shares stray as chance would have it, not more: 1/sqrt(slots per backend) of the mean, over many services.
TEST(Slots, AreEven) {
  test::Random random(7);
  for (const std::size_t count : {2u, 10u, 16u, 64u}) {
    constexpr int services = 60;
    double first_squares = 0;
    double second_squares = 0;
    const double mean = static_cast<double>(slot_count(count)) / static_cast<double>(count);
    for (int i = 0; i < services; ++i) {
      const std::vector<SlotCandidate> list = candidates(count, random);
      std::map<std::uint32_t, double> first;
      std::map<std::uint32_t, double> second;
      for (const SlotPair& pair : fill_slots(list)) {
        first[pair.first] += 1 / mean;
        second[pair.second] += 1 / mean;
      }
      for (const SlotCandidate& candidate : list) {
        first_squares += std::pow(first[candidate.id] - 1, 2);
        second_squares += std::pow(second[candidate.id] - 1, 2);
      }
    }
    const double shares = static_cast<double>(count) * services;
    const double expected = std::sqrt((1 - 1 / static_cast<double>(count)) / mean);
    EXPECT_NEAR(std::sqrt(first_squares / shares), expected, expected * 0.25) << count;
    EXPECT_NEAR(std::sqrt(second_squares / shares), expected, expected * 0.25) << count;
  }
}

Slots rows_of(const std::vector<SlotPair>& pairs) {
  std::vector<lb_slot> rows;
  for (const SlotPair& pair : pairs) rows.push_back({pair.first, pair.second});
  return rows;
}

TEST(Slots, AreSharedUntilSomebodyChangesThem) {
  Slots first(std::vector<lb_slot>{{1, 2}, {3, 4}});
  Slots second = first;
  EXPECT_TRUE(same_slots(first, second));
  EXPECT_TRUE(first.shares(second));
  second.set(1, {5, 6});
  EXPECT_FALSE(first.shares(second));
  EXPECT_EQ(first[1].first, 3u);
  EXPECT_EQ(second[1].first, 5u);
  EXPECT_FALSE(same_slots(first, second));
  second.set(1, {3, 4});
  EXPECT_TRUE(same_slots(first, second));
  EXPECT_EQ(Slots().size(), 0u);
  EXPECT_TRUE(same_slots(Slots(), std::vector<lb_slot>()));
  EXPECT_FALSE(same_slots(Slots(), first));
}

// However many backends there are: what was put in comes out, and equal ones are equal however they came about.
TEST(Slots, KeepWhatTheyWereGiven) {
  test::Random random(9);
  for (const std::uint32_t ids : {1u, 2u, 17u, 255u, 256u, 257u, 1000u, 100000u}) {
    for (const std::size_t count : {1u, 512u, 8192u}) {
      std::vector<lb_slot> rows(count);
      for (lb_slot& slot : rows) slot = {static_cast<std::uint32_t>(random() % ids), static_cast<std::uint32_t>(random() % ids)};
      const Slots slots = rows;
      ASSERT_EQ(slots.size(), count);
      const std::vector<lb_slot> back = slots.rows();
      for (std::size_t i = 0; i < count; ++i) {
        ASSERT_TRUE(same_row(slots[i], rows[i])) << ids << " " << i;
        ASSERT_TRUE(same_row(back[i], rows[i])) << ids << " " << i;
      }
      Slots other = Slots(rows);
      ASSERT_FALSE(other.shares(slots));
      ASSERT_TRUE(same_slots(other, slots));
      const std::size_t at = random() % count;
      other.set(at, {rows[at].second + 1, rows[at].first});
      ASSERT_FALSE(same_slots(other, slots));
      ASSERT_TRUE(same_row(other[at], lb_slot{rows[at].second + 1, rows[at].first}));
      other.set(at, rows[at]);
      ASSERT_TRUE(same_slots(other, slots)) << ids << " " << count;
    }
  }
}

TEST(SlotMemory, GivesTheSameAndForgets) {
  test::Random random(8);
  SlotMemory memory;
  const std::vector<SlotCandidate> one = candidates(6, random);
  std::vector<SlotCandidate> two = one;
  two[3].id = 99;
  EXPECT_TRUE(same_slots(memory.fill(one, 512), rows_of(fill_slots(one))));
  EXPECT_TRUE(same_slots(memory.fill(two, 512), rows_of(fill_slots(two))));
  EXPECT_TRUE(same_slots(memory.fill(one, 512), rows_of(fill_slots(one))));
  EXPECT_EQ(memory.size(), 2u);
  EXPECT_TRUE(same_slots(memory.fill(one, 8192), rows_of(fill_slots(one, 8192))));
  EXPECT_TRUE(same_slots(memory.fill(one, 512), rows_of(fill_slots(one))));
  memory.forget_unused();
  EXPECT_TRUE(same_slots(memory.fill(two, 512), rows_of(fill_slots(two))));
  memory.forget_unused();
  EXPECT_EQ(memory.size(), 1u);
}

}  // namespace
}  // namespace xlb
