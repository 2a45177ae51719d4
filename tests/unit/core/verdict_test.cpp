// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/verdict.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "maps/abi.h"

namespace xlb {
namespace {

TEST(Verdicts, AreTheContractsListInItsOrder) {
  ASSERT_EQ(verdicts().size(), static_cast<std::size_t>(XLB_VERDICT_COUNT));
  EXPECT_STREQ(verdicts()[XLB_VERDICT_PASS].name, "pass");
  EXPECT_STREQ(verdicts()[XLB_VERDICT_ARP_REPLY].name, "arp_reply");
  EXPECT_STREQ(verdicts()[XLB_VERDICT_ARP_REPLY].outcome, "answer");
  EXPECT_STREQ(verdicts()[XLB_VERDICT_REJECTED_TCP].name, "rejected_tcp");
}

TEST(Verdicts, CanBeTold) {
  const std::set<std::string> outcomes{"answer", "forward", "refuse", "drop", "pass", "note"};
  std::set<std::string> names;
  for (const VerdictText& verdict : verdicts()) {
    EXPECT_TRUE(outcomes.contains(verdict.outcome)) << verdict.name;
    EXPECT_TRUE(names.insert(verdict.name).second) << verdict.name;
    EXPECT_EQ(std::string(verdict.name).find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"),
              std::string::npos);
    EXPECT_GT(std::string(verdict.text).size(), 10u) << verdict.name;
  }
}

}  // namespace
}  // namespace xlb
