// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/model.hpp"

#include <gtest/gtest.h>

namespace xlb {
namespace {

using Op = LabelRequirement::Operator;

bool matches(Op op, std::vector<std::string> values, const Labels& labels) {
  return LabelSelector{{{"tier", op, std::move(values)}}}.matches(labels);
}

TEST(LabelSelector, EmptyMatchesEverything) {
  EXPECT_TRUE(LabelSelector{}.matches({}));
  EXPECT_TRUE(LabelSelector{}.matches({{"a", "b"}}));
}

TEST(LabelSelector, Operators) {
  const Labels web{{"tier", "web"}};
  EXPECT_TRUE(matches(Op::in, {"db", "web"}, web));
  EXPECT_FALSE(matches(Op::in, {"db"}, web));
  EXPECT_FALSE(matches(Op::in, {"web"}, {}));
  EXPECT_FALSE(matches(Op::not_in, {"web"}, web));
  EXPECT_TRUE(matches(Op::not_in, {"db"}, web));
  EXPECT_TRUE(matches(Op::not_in, {"web"}, {}));  // as in Kubernetes
  EXPECT_TRUE(matches(Op::exists, {}, web));
  EXPECT_FALSE(matches(Op::exists, {}, {}));
  EXPECT_TRUE(matches(Op::does_not_exist, {}, {}));
  EXPECT_FALSE(matches(Op::does_not_exist, {}, web));
}

TEST(LabelSelector, AllRequirementsMustHold) {
  const LabelSelector both{{{"tier", Op::in, {"web"}}, {"zone", Op::exists, {}}}};
  EXPECT_FALSE(both.matches({{"tier", "web"}}));
  EXPECT_TRUE(both.matches({{"tier", "web"}, {"zone", "a"}}));
}

TEST(Protocol, Text) {
  EXPECT_STREQ(protocol_text(Protocol::tcp), "TCP");
  EXPECT_STREQ(protocol_text(Protocol::udp), "UDP");
}

}  // namespace
}  // namespace xlb
