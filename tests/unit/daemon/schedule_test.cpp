// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/schedule.hpp"

#include "tests/unit/daemon/fakes.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;
using fake::address;

TEST(ScheduleTest, AnnouncesOftenAtFirstAndThenOnceAMinute) {
  AnnouncementSchedule schedule;
  const AnnouncementSchedule::Time start{};
  const fake::World world;
  EXPECT_FALSE(schedule.next());
  schedule.set({{world.links[0], {address("192.168.0.200")}}}, start);
  std::vector<std::chrono::milliseconds> times;
  while (schedule.next() && *schedule.next() <= start + 190s) {
    const auto now = *schedule.next();
    times.push_back(std::chrono::duration_cast<std::chrono::milliseconds>(now - start));
    const auto due = schedule.due(now);
    ASSERT_EQ(due.size(), 1u);
    EXPECT_EQ(due[0].vips, std::vector<Address>{address("192.168.0.200")});
    ASSERT_TRUE(schedule.due(now).empty()) << "counted as done";
    schedule.set({{world.links[0], {address("192.168.0.200")}}}, now);  // a pass in between changes no pace
  }
  ASSERT_GE(times.size(), 8u);
  EXPECT_EQ(times[0], 50ms);
  EXPECT_EQ(times[1], 200ms);
  EXPECT_LE(times[2], 1400ms);
  EXPECT_GE(times.back(), 120s);
  EXPECT_LE(times.size(), 12u);
}

TEST(ScheduleTest, ForgetsWhatIsNotOwnedAnyMoreAndStartsAnewWhenItReturns) {
  AnnouncementSchedule schedule;
  const AnnouncementSchedule::Time start{};
  const fake::World world;
  const std::vector<LinkVips> owned{{world.links[0], {address("192.168.0.200"), address("192.168.0.201")}}};
  schedule.set(owned, start);
  schedule.set({}, start + 10ms);
  EXPECT_FALSE(schedule.next());
  schedule.set(owned, start + 100s);
  EXPECT_EQ(*schedule.next(), start + 100s + 50ms);
  const auto due = schedule.due(start + 101s);
  ASSERT_EQ(due.size(), 1u);
  EXPECT_EQ(due[0].vips.size(), 2u);
}

}  // namespace
}  // namespace xlb
