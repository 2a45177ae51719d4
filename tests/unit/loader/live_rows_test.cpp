// SPDX-License-Identifier: Apache-2.0
#include "loader/live_rows.hpp"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>

#include "loader/kernel_tables.hpp"
#include "loader/pins.hpp"
#include "tests/unit/loader/pinned_tables.hpp"
#include "userspace/core/rows.hpp"

namespace xlb {
namespace {

class LiveRowsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: it makes BPF maps";
    auto made = PinnedTables::make();
    ASSERT_TRUE(made) << made.error().text;
    pins_.emplace(std::move(*made));
    const auto pinned = pins_->pin();
    ASSERT_TRUE(pinned) << pinned.error().text;
    auto rows = open_live_rows(pins_->pin_dir());
    ASSERT_TRUE(rows) << rows.error().text;
    rows_ = std::move(*rows);
  }

  [[nodiscard]] File raw(const std::string& name) const {
    File file(bpf_obj_get((pins_->folder() + "/" + name).c_str()));
    EXPECT_TRUE(file) << name;
    return file;
  }
  template <typename Row>
  Row row(const std::string& name, std::uint32_t index) const {
    Row row{};
    EXPECT_EQ(bpf_map_lookup_elem(raw(name).get(), &index, &row), 0);
    return row;
  }
  // As a program does when an echo comes home.
  void bring_home(std::uint32_t node_id, std::uint64_t nonce, std::uint64_t when, std::uint32_t flags = 0) const {
    const std::uint32_t index = node_id * XLB_ECHOES + static_cast<std::uint32_t>(nonce % XLB_ECHOES);
    lb_echo echo = row<lb_echo>("xlb_echoes", index);
    EXPECT_EQ(echo.nonce, nonce);
    echo = {0, when, flags, 0};
    EXPECT_EQ(bpf_map_update_elem(raw("xlb_echoes").get(), &index, &echo, BPF_ANY), 0);
  }

  std::optional<PinnedTables> pins_;
  std::unique_ptr<LiveRows> rows_;
};

TEST_F(LiveRowsTest, NothingAttachedSaysWhatToDo) {
  const auto none = open_live_rows(pins_->pin_dir() + "/elsewhere");
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().text.find("nothing is attached (xdp-lb attach INTERFACE)"), std::string::npos)
      << none.error().text;
}

TEST_F(LiveRowsTest, LeaseAndEpochLeaveTheOtherFieldsAlone) {
  auto tables = KernelTables::open(pins_->pin_dir());
  ASSERT_TRUE(tables);
  auto other = tables->node_row();
  ASSERT_TRUE(other);
  other->set_try(5);
  rows_->set_lease(1000);
  other->set_trace(77, 3);
  rows_->set_epoch(9);
  other->set_try(6);
  lb_node wanted{};
  wanted.lease_boot_ns = 1000;
  wanted.epoch = 9;
  wanted.try_mono_ns = 6;
  wanted.trace_until_mono_ns = 77;
  wanted.trace_every = 3;
  EXPECT_TRUE(same_row(row<lb_node>("xlb_node", 0), wanted));
  EXPECT_TRUE(same_row(rows_->node(), wanted));
}

TEST_F(LiveRowsTest, AnEchoComesHomeOnce) {
  rows_->expect_echo(3, 0x1000000000000021);
  EXPECT_TRUE(rows_->take_returns(3).empty());
  bring_home(3, 0x1000000000000021, 555);
  EXPECT_TRUE(rows_->take_returns(2).empty());
  const auto home = rows_->take_returns(3);
  ASSERT_EQ(home.size(), 1u);
  EXPECT_EQ(home[0].nonce, 0x1000000000000021u);
  EXPECT_EQ(home[0].returned_mono_ns, 555u);
  EXPECT_FALSE(home[0].stale);
  EXPECT_TRUE(rows_->take_returns(3).empty());
}

TEST_F(LiveRowsTest, AStaleReturnSaysSo) {
  rows_->expect_echo(1, 64);
  bring_home(1, 64, 9, XLB_WIRE_STALE);
  const auto home = rows_->take_returns(1);
  ASSERT_EQ(home.size(), 1u);
  EXPECT_TRUE(home[0].stale);
}

TEST_F(LiveRowsTest, AReturnIsNotReadHalf) {
  rows_->expect_echo(1, 64);
  bring_home(1, 64, 9, ~0u);  // the time is visible before the flags are
  EXPECT_TRUE(rows_->take_returns(1).empty());
}

TEST_F(LiveRowsTest, AnEchoTakesThePlaceOfTheOneBefore) {
  rows_->expect_echo(63, 7);
  bring_home(63, 7, 5);
  rows_->expect_echo(63, 7 + XLB_ECHOES);  // nobody had looked
  EXPECT_TRUE(rows_->take_returns(63).empty());
  bring_home(63, 7 + XLB_ECHOES, 6);
  EXPECT_EQ(rows_->take_returns(63).size(), 1u);
  for (std::uint64_t nonce = 1; nonce <= XLB_ECHOES; ++nonce) rows_->expect_echo(0, nonce);
  for (std::uint64_t nonce = 1; nonce <= XLB_ECHOES; ++nonce) bring_home(0, nonce, nonce);
  EXPECT_EQ(rows_->take_returns(0).size(), XLB_ECHOES);
  EXPECT_TRUE(rows_->take_returns(1).empty());
}

TEST_F(LiveRowsTest, WhatADaemonBeforeThisOneSentIsNotItsOwn) {
  rows_->expect_echo(2, 11);
  bring_home(2, 11, 99);
  auto next = open_live_rows(pins_->pin_dir());
  ASSERT_TRUE(next);
  EXPECT_TRUE((*next)->take_returns(2).empty());
}

TEST_F(LiveRowsTest, APeerLivesAndDiesWithTheRestOfItsRow) {
  auto tables = KernelTables::open(pins_->pin_dir());
  ASSERT_TRUE(tables);
  lb_peer peer{};
  peer.attach_ifindex = 4;
  peer.mac[0] = 2;
  peer.flags = 0x80;  // of another build of the same ABI
  ASSERT_TRUE(tables->apply(EditPeer{5, peer}));
  rows_->set_presence(5, XLB_PEER_ALIVE);
  peer.flags = 0x80 | XLB_PEER_ALIVE;
  EXPECT_TRUE(same_row(row<lb_peer>("xlb_peers", 5), peer));
  rows_->set_presence(5, XLB_PEER_AWAITED);
  peer.flags = 0x80 | XLB_PEER_AWAITED;
  EXPECT_TRUE(same_row(row<lb_peer>("xlb_peers", 5), peer));
  rows_->set_presence(5, 0);
  peer.flags = 0x80;
  EXPECT_TRUE(same_row(row<lb_peer>("xlb_peers", 5), peer));
}

TEST_F(LiveRowsTest, OwningAVipTouchesNothingElseOfIt) {
  auto tables = KernelTables::open(pins_->pin_dir());
  ASSERT_TRUE(tables);
  const Address vip = *parse_address("192.168.0.200");
  const auto missing = rows_->own(vip, 1, 2);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().text, "VIP 192.168.0.200: no row in xlb_vips");
  lb_vip before{};
  before.vip_id = 4;
  before.healthy = 2;
  before.link_mask = 1;
  ASSERT_TRUE(tables->apply(EditVip{vip, before}));
  ASSERT_TRUE(rows_->own(vip, 3, 17));
  before.owned_epoch = 3;
  before.claim_epoch = 17;
  const auto read = tables->read();
  ASSERT_TRUE(read);
  EXPECT_TRUE(same_row(read->vips.at(vip), before));
}

TEST_F(LiveRowsTest, KnowsThatItsTablesWereTakenAway) {
  EXPECT_TRUE(rows_->in_force());
  const std::string vips = pins_->folder() + "/xlb_vips";
  ASSERT_EQ(unlink(vips.c_str()), 0);
  EXPECT_FALSE(rows_->in_force());
  const File other(bpf_map_create(BPF_MAP_TYPE_HASH, "xlb_vips", 16, sizeof(lb_vip), 4, nullptr));
  ASSERT_EQ(bpf_obj_pin(other.get(), vips.c_str()), 0);
  EXPECT_FALSE(rows_->in_force());
}

}  // namespace
}  // namespace xlb
