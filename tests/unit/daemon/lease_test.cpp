// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/lease.hpp"

#include <gtest/gtest.h>

#include "tests/unit/daemon/fake_live_rows.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;

constexpr std::uint64_t kLength = 5'000'000'000;

class LeaseTest : public ::testing::Test {
 protected:
  LeaseTest() { rows_.node_.epoch = 3; }
  test::FakeLiveRows rows_;
  Lease lease_{rows_, 5s};
};

TEST_F(LeaseTest, AFreshOneIsTakenOverWithWhatIsOwned) {
  rows_.node_.lease_boot_ns = 1000;
  EXPECT_TRUE(lease_.take_over(999));
  EXPECT_EQ(rows_.node_.epoch, 3u);
  EXPECT_EQ(rows_.node_.lease_boot_ns, 999 + kLength);
}

TEST_F(LeaseTest, SoIsOneForEver) {
  rows_.node_.lease_boot_ns = XLB_FOREVER;
  EXPECT_TRUE(lease_.take_over(999));
  EXPECT_EQ(rows_.node_.epoch, 3u);
  EXPECT_EQ(rows_.node_.lease_boot_ns, 999 + kLength);
}

TEST_F(LeaseTest, OneThatIsOverIsNotRevived) {
  rows_.node_.lease_boot_ns = 1000;
  EXPECT_FALSE(lease_.take_over(1000));
  EXPECT_EQ(rows_.node_.epoch, 4u);
}

TEST_F(LeaseTest, IsRenewedInTime) {
  rows_.node_.lease_boot_ns = 1000;
  EXPECT_TRUE(lease_.renew([] { return std::uint64_t{999}; }));
  EXPECT_EQ(rows_.node_.epoch, 3u);
  EXPECT_EQ(rows_.node_.lease_boot_ns, 999 + kLength);
}

TEST_F(LeaseTest, TooLateRaisesTheEpoch) {
  rows_.node_.lease_boot_ns = 1000;
  EXPECT_FALSE(lease_.renew([] { return std::uint64_t{1000}; }));
  EXPECT_EQ(rows_.node_.epoch, 4u);
  EXPECT_EQ(rows_.node_.lease_boot_ns, 1000 + kLength);
}

// SIGSTOP may hit between looking at the clock and writing the new deadline.
TEST_F(LeaseTest, StoppedInTheMiddleRaisesTheEpoch) {
  rows_.node_.lease_boot_ns = 1000;
  std::uint64_t now = 500;
  EXPECT_FALSE(lease_.renew([&] { return std::exchange(now, std::uint64_t{20'000}); }));
  EXPECT_EQ(rows_.node_.epoch, 4u);
  EXPECT_EQ(rows_.node_.lease_boot_ns, 20'000 + kLength);
}

// The old epoch must never be seen beside a new lease: a program in between would answer for what is lost.
TEST_F(LeaseTest, TheEpochIsRaisedBeforeTheLease) {
  struct Watched final : public LiveRows {
    lb_node row{};
    bool wrong = false;
    [[nodiscard]] lb_node node() const override { return row; }
    void set_lease(std::uint64_t boot_ns) override {
      wrong |= row.epoch == 3;
      row.lease_boot_ns = boot_ns;
    }
    void set_epoch(std::uint64_t epoch) override { row.epoch = epoch; }
    void expect_echo(std::uint32_t, std::uint64_t) override {}
    std::vector<EchoReturn> take_returns(std::uint32_t) override { return {}; }
    void set_presence(std::uint32_t, std::uint32_t) override {}
    Result<void> own(const Address&, std::uint64_t, std::uint64_t) override { return {}; }
    [[nodiscard]] bool in_force() const override { return true; }
  } rows;
  rows.row.epoch = 3;
  rows.row.lease_boot_ns = 1000;
  EXPECT_FALSE(Lease(rows, 5s).renew([] { return std::uint64_t{2000}; }));
  EXPECT_FALSE(rows.wrong);
}

}  // namespace
}  // namespace xlb
