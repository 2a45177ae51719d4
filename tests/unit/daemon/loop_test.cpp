// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/loop.hpp"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <array>

#include "userspace/daemon/log.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;

TEST(LoopTest, TimersRunInTheirTurnAndCanBeTakenBack) {
  auto loop = Loop::open();
  ASSERT_TRUE(loop);
  std::string order;
  const auto now = Loop::Clock::now();
  loop->at(now + 20ms, [&] {
    order += "b";
    loop->stop();
  });
  loop->at(now + 5ms, [&] { order += "a"; });
  const auto never = loop->at(now + 10ms, [&] { order += "x"; });
  loop->cancel(never);
  ASSERT_TRUE(loop->run());
  EXPECT_EQ(order, "ab");
}

TEST(LoopTest, ADescriptorIsServedUntilItIsForgotten) {
  auto loop = Loop::open();
  ASSERT_TRUE(loop);
  std::array<int, 2> ends{};
  ASSERT_EQ(pipe(ends.data()), 0);
  int served = 0;
  ASSERT_TRUE(loop->watch(ends[0], EPOLLIN, [&](std::uint32_t) { ++served; }));
  ASSERT_EQ(write(ends[1], "x", 1), 1);
  ASSERT_TRUE(loop->turn(Loop::Clock::now() + 1s));
  EXPECT_EQ(served, 1);
  loop->forget(ends[0]);
  ASSERT_TRUE(loop->turn(Loop::Clock::now() + 5ms));
  EXPECT_EQ(served, 1);
  close(ends[0]);
  close(ends[1]);
}

TEST(LogTest, ALineIsAFactWithKeys) {
  EXPECT_EQ(log_line(LogFormat::text, "vip taken", {{"vip", "192.168.0.200"}, {"links", "eth0,eth1"}}),
            "vip taken vip=192.168.0.200 links=eth0,eth1");
  EXPECT_EQ(log_line(LogFormat::text, "warned", {{"about", "a \"b\"\nc"}, {"none", ""}}), R"(warned about="a \"b\"\nc" none="")");
  EXPECT_EQ(log_line(LogFormat::json, "vip taken", {{"vip", "fd00::1"}}), R"("fact":"vip taken","vip":"fd00::1"})");
}

}  // namespace
}  // namespace xlb
