// SPDX-License-Identifier: Apache-2.0
#include "tests/lab/probe/outages.hpp"

#include <gtest/gtest.h>

namespace xlb::probe {
namespace {

constexpr std::int64_t kMs = 1'000'000;

// One flow every millisecond; those begun in [from, to) fail, the others succeed at once.
void run(Outages& outages, std::int64_t length, std::int64_t from, std::int64_t to, std::int64_t every = 1) {
  for (std::int64_t ms = 0; ms < length; ++ms) {
    const bool fails = ms >= from && ms < to && (ms - from) % every == 0;
    outages.begun(ms * kMs);
    if (!fails) outages.completed(ms * kMs);
    outages.judged(ms * kMs, !fails);
  }
}

TEST(Outages, NothingFails) {
  Outages outages(100 * kMs, 10 * kMs);
  run(outages, 1000, 0, 0);
  outages.end(1000 * kMs);
  EXPECT_TRUE(outages.windows().empty());
  EXPECT_TRUE(outages.gaps().empty());
  EXPECT_EQ(outages.flows(), 1000U);
}

TEST(Outages, OneOutage) {
  Outages outages(100 * kMs, 10 * kMs);
  run(outages, 1000, 300, 420);
  outages.end(1000 * kMs);
  ASSERT_EQ(outages.windows().size(), 1U);
  EXPECT_EQ(outages.windows()[0].from, 300 * kMs);
  EXPECT_EQ(outages.windows()[0].length(), 120 * kMs);
  EXPECT_EQ(outages.windows()[0].failed, 120U);
  ASSERT_EQ(outages.gaps().size(), 1U);
  EXPECT_EQ(outages.gaps()[0].length(), 120 * kMs);
}

TEST(Outages, EveryThirdFlowFails) {
  Outages outages(100 * kMs, 10 * kMs);
  run(outages, 1000, 300, 600, 3);
  outages.end(1000 * kMs);
  ASSERT_EQ(outages.windows().size(), 1U);
  EXPECT_EQ(outages.windows()[0].length(), 298 * kMs) << "until the first success after the last failure";
  EXPECT_EQ(outages.windows()[0].failed, 100U);
  EXPECT_EQ(outages.windows()[0].flows, 298U);
  EXPECT_TRUE(outages.gaps().empty()) << "something always succeeded";
}

TEST(Outages, TwoApart) {
  Outages outages(100 * kMs, 10 * kMs);
  run(outages, 1000, 100, 130);
  for (std::int64_t ms = 1000; ms < 1050; ++ms) outages.judged(ms * kMs, false);
  outages.completed(1050 * kMs);
  outages.judged(1050 * kMs, true);
  outages.end(2000 * kMs);
  ASSERT_EQ(outages.windows().size(), 2U);
  EXPECT_EQ(outages.windows()[0].length(), 30 * kMs);
  EXPECT_EQ(outages.windows()[1].length(), 50 * kMs);
}

TEST(Outages, NotOverAtTheEnd) {
  Outages outages(100 * kMs, 10 * kMs);
  run(outages, 500, 300, 500);
  outages.end(900 * kMs);
  ASSERT_EQ(outages.windows().size(), 1U);
  EXPECT_EQ(outages.windows()[0].length(), 600 * kMs);
  ASSERT_EQ(outages.gaps().size(), 1U);
  EXPECT_EQ(outages.gaps()[0].length(), 600 * kMs);
}

// A packet that waited for its neighbour to be known: begun in the outage, succeeded after it.
TEST(Outages, LateIsAGapAndNoFailure) {
  Outages outages(100 * kMs, 10 * kMs);
  for (std::int64_t ms = 0; ms < 100; ++ms) {
    outages.begun(ms * kMs);
    outages.completed(ms * kMs);
    outages.judged(ms * kMs, true);
  }
  outages.begun(100 * kMs);
  outages.completed(180 * kMs);
  outages.judged(100 * kMs, true);
  outages.end(181 * kMs);
  EXPECT_TRUE(outages.windows().empty());
  ASSERT_EQ(outages.gaps().size(), 1U);
  EXPECT_EQ(outages.gaps()[0].length(), 80 * kMs);
}

TEST(Outages, AStalledClientIsNoOutage) {
  Outages outages(100 * kMs, 10 * kMs);
  for (const std::int64_t ms : {1, 2, 3, 90, 91}) {
    outages.begun(ms * kMs);
    outages.completed(ms * kMs + kMs / 10);
    outages.judged(ms * kMs, true);
  }
  outages.end(92 * kMs);
  EXPECT_TRUE(outages.windows().empty());
  EXPECT_TRUE(outages.gaps().empty());
}

TEST(Outages, KeepsTheLongest) {
  Outages outages(5 * kMs, 10 * kMs);
  std::int64_t ms = 0;
  for (int turn = 0; turn < 500; ++turn) {
    for (int failing = 0; failing < 1 + turn % 250; ++failing) outages.judged(ms++ * kMs, false);
    for (int fine = 0; fine < 20; ++fine) outages.judged(ms++ * kMs, true);
  }
  outages.end(ms * kMs);
  EXPECT_EQ(outages.windows().size(), 200U);
  for (const Span& window : outages.windows()) EXPECT_GT(window.length(), 140 * kMs);
}

}  // namespace
}  // namespace xlb::probe
