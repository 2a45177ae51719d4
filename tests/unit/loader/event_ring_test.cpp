// SPDX-License-Identifier: Apache-2.0
#include "loader/event_ring.hpp"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <optional>
#include <vector>

#include "loader/file.hpp"
#include "tests/unit/loader/pinned_tables.hpp"

namespace xlb {
namespace {

bpf_insn instruction(unsigned code, unsigned to, unsigned from, int offset, int value) {
  bpf_insn made{};
  made.code = static_cast<__u8>(code);
  made.dst_reg = static_cast<__u8>(to & 0xf);
  made.src_reg = static_cast<__u8>(from & 0xf);
  made.off = static_cast<__s16>(offset);
  made.imm = value;
  return made;
}

// A program that writes one event, whose `length` is that of the packet it was run on.
File event_writer(int ring, int event_bytes) {
  constexpr int event_at = -static_cast<int>(sizeof(lb_event));  // on the stack
  std::vector<bpf_insn> program;
  program.push_back(instruction(BPF_LDX | BPF_MEM | BPF_W, 6, 1, offsetof(__sk_buff, len), 0));
  for (int at = event_at; at < 0; at += 8) program.push_back(instruction(BPF_ST | BPF_MEM | BPF_DW, 10, 0, at, 0));
  program.push_back(
      instruction(BPF_STX | BPF_MEM | BPF_W, 10, 6, event_at + static_cast<int>(offsetof(lb_event, length)), 0));
  program.push_back(instruction(BPF_LD | BPF_IMM | BPF_DW, 1, BPF_PSEUDO_MAP_FD, 0, ring));
  program.push_back(instruction(0, 0, 0, 0, 0));
  program.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0));
  program.push_back(instruction(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, event_at));
  program.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, event_bytes));
  program.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_K, 4, 0, 0, 0));
  program.push_back(instruction(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_output));
  program.push_back(instruction(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0));
  program.push_back(instruction(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
  return File(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "event_writer", "GPL", program.data(), program.size(), nullptr));
}

class EventRingTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: it makes BPF maps";
    auto made = PinnedTables::make();
    ASSERT_TRUE(made) << made.error().text;
    pins_.emplace(std::move(*made));
  }

  void open(std::size_t event_bytes = sizeof(lb_event)) {
    const auto pinned = pins_->pin();
    ASSERT_TRUE(pinned) << pinned.error().text;
    const File map(bpf_obj_get((pins_->folder() + "/xlb_events").c_str()));
    ASSERT_TRUE(map);
    writer_ = event_writer(map.get(), static_cast<int>(event_bytes));
    ASSERT_TRUE(writer_) << std::strerror(errno);
    auto opened = EventRing::open(pins_->pin_dir());
    ASSERT_TRUE(opened) << opened.error().text;
    ring_ = std::move(*opened);
  }

  void write(std::uint32_t length) {
    std::array<char, 1500> packet{};
    bpf_test_run_opts options{};
    options.sz = sizeof(options);
    options.data_in = packet.data();
    options.data_size_in = length;
    ASSERT_EQ(bpf_prog_test_run_opts(writer_.get(), &options), 0) << std::strerror(errno);
  }

  [[nodiscard]] bool readable() const {
    pollfd waiting{ring_->fd(), POLLIN, 0};
    return poll(&waiting, 1, 0) == 1;
  }

  std::optional<PinnedTables> pins_;
  File writer_;
  std::unique_ptr<EventRing> ring_;
};

TEST_F(EventRingTest, NothingAttachedNoRing) {
  const auto opened = EventRing::open(pins_->pin_dir());
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().text.find("nothing is attached"), std::string::npos) << opened.error().text;
}

TEST_F(EventRingTest, EventsComeInOrderAndOnce) {
  ASSERT_NO_FATAL_FAILURE(open());
  EXPECT_FALSE(readable());
  for (const std::uint32_t length : {60U, 61U, 1400U}) write(length);
  EXPECT_TRUE(readable());
  std::vector<std::uint32_t> lengths;
  const auto take = [&](const lb_event& event) { lengths.push_back(event.length); };
  auto count = ring_->read(take);
  ASSERT_TRUE(count) << count.error().text;
  EXPECT_EQ(*count, 3);
  EXPECT_EQ(lengths, (std::vector<std::uint32_t>{60, 61, 1400}));
  EXPECT_FALSE(readable());
  count = ring_->read(take);
  ASSERT_TRUE(count);
  EXPECT_EQ(*count, 0);
}

TEST_F(EventRingTest, WritersFasterThanTheReaderDoNotHoldItForever) {
  ASSERT_NO_FATAL_FAILURE(open());
  write(60);
  const auto count = ring_->read([&](const lb_event&) { write(60); });
  ASSERT_TRUE(count);
  EXPECT_EQ(*count, 4096);
  EXPECT_TRUE(readable());
}

TEST_F(EventRingTest, AnOverflowLosesEventsAndNothingElse) {
  ASSERT_NO_FATAL_FAILURE(open());
  constexpr int fits = XLB_EVENT_RING_BYTES / (sizeof(lb_event) + 8);  // 8: the kernel's header of a record
  for (int i = 0; i < fits + 100; ++i) write(60);
  auto count = ring_->read([](const lb_event&) {});
  ASSERT_TRUE(count);
  EXPECT_GT(*count, fits - 2);
  EXPECT_LE(*count, fits);
  write(61);
  count = ring_->read([](const lb_event& event) { EXPECT_EQ(event.length, 61U); });
  ASSERT_TRUE(count);
  EXPECT_EQ(*count, 1);
}

TEST_F(EventRingTest, EventsOfAnotherSizeAreRefused) {
  ASSERT_NO_FATAL_FAILURE(open(sizeof(lb_event) - 8));
  write(60);
  const auto count = ring_->read([](const lb_event&) { FAIL() << "handed over"; });
  ASSERT_FALSE(count);
  EXPECT_EQ(count.error().text, "xlb_events: an event of 80 bytes, this build expects 88");
}

}  // namespace
}  // namespace xlb
