// SPDX-License-Identifier: Apache-2.0
// The kernel gives a chain of calls 512 bytes of stack. What each function of it takes is rounded up to 32 bytes by the
// kernels that we promise (to 16 by newer ones), so a program that loads on this kernel need not load on those.
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/packet/rig.hpp"

namespace xlb {
namespace {

constexpr int kStack = 512, kRounding = 32, kFrameRegister = BPF_REG_10;

struct Function {
  int depth = 0;
  std::set<std::size_t> calls;
};

// Instructions of a loaded program: its main function, then all that it calls, each called by a relative jump.
class CallGraph {
 public:
  explicit CallGraph(const bpf_program* program)
      : code_(bpf_program__insns(program)), size_(bpf_program__insn_cnt(program)) {
    std::set<std::size_t> starts{0};
    for (std::size_t at = 0; at < size_; ++at) {
      if (is_call(at)) starts.insert(target(at));
    }
    for (auto start = starts.begin(); start != starts.end(); ++start) {
      const std::size_t end = std::next(start) == starts.end() ? size_ : *std::next(start);
      functions_[*start] = read(*start, end);
    }
  }

  // Bytes of the deepest chain from there on.
  [[nodiscard]] int deepest(std::size_t start = 0) const {
    const Function& function = functions_.at(start);
    int below = 0;
    for (const std::size_t called : function.calls) below = std::max(below, deepest(called));
    const int rounded = (std::max(function.depth, 1) + kRounding - 1) / kRounding * kRounding;
    return rounded + below;
  }

  [[nodiscard]] std::size_t functions() const { return functions_.size(); }

 private:
  [[nodiscard]] bool is_call(std::size_t at) const {
    return code_[at].code == (BPF_JMP | BPF_CALL) && code_[at].src_reg == BPF_PSEUDO_CALL;
  }
  [[nodiscard]] std::size_t target(std::size_t at) const {
    return static_cast<std::size_t>(static_cast<std::int64_t>(at) + code_[at].imm + 1);
  }

  [[nodiscard]] Function read(std::size_t begin, std::size_t end) const {
    Function function;
    std::map<int, bool> points_to_frame;  // registers that were just copied from the frame register
    const auto reach = [&function](int offset) { function.depth = std::max(function.depth, -offset); };
    for (std::size_t at = begin; at < end; ++at) {
      const bpf_insn& one = code_[at];
      const int kind = BPF_CLASS(one.code);
      if (is_call(at)) function.calls.insert(target(at));
      if ((kind == BPF_STX || kind == BPF_ST) && one.dst_reg == kFrameRegister) reach(one.off);
      if (kind == BPF_LDX && one.src_reg == kFrameRegister) reach(one.off);
      const bool copies = one.code == (BPF_ALU64 | BPF_MOV | BPF_X) && one.src_reg == kFrameRegister;
      const bool adds = one.code == (BPF_ALU64 | BPF_ADD | BPF_K);
      if (adds && points_to_frame[one.dst_reg]) reach(one.imm);
      if (kind == BPF_ALU64 || kind == BPF_ALU || kind == BPF_LDX || kind == BPF_LD) {
        points_to_frame[one.dst_reg] = copies;
      }
    }
    return function;
  }

  const bpf_insn* code_;
  std::size_t size_;
  std::map<std::size_t, Function> functions_;
};

TEST(StackTest, EveryChainOfCallsFitsOnTheOldestKernel) {
  const auto rig = Rig::get();
  if (!rig && geteuid() != 0) GTEST_SKIP() << rig.error().text;
  ASSERT_TRUE(rig) << rig.error().text;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, (*rig)->object()) {
    const CallGraph graph(program);
    EXPECT_LE(graph.deepest(), kStack) << bpf_program__name(program);
    RecordProperty(bpf_program__name(program), graph.deepest());
  }
  const CallGraph lan(bpf_object__find_program_by_name((*rig)->object(), "xlb_lan_tc"));
  EXPECT_GT(lan.functions(), 10u) << "the calls are not seen any more";
  EXPECT_GT(lan.deepest(), 300);
}

}  // namespace
}  // namespace xlb
