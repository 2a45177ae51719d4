// SPDX-License-Identifier: Apache-2.0
// CPU time of work that a pinned thread sets off on its CPU.
//
// A frame sent into a veth is carried on by softirqs: at once, inside the sender's own system call, and when there is
// much of it by the CPU's ksoftirqd. The sum of both clocks is the work, whatever else the machine is doing; unlike
// /proc/stat it counts nanoseconds, and none that somebody else has used. It needs a kernel without
// CONFIG_IRQ_TIME_ACCOUNTING, which takes softirqs off the sender's clock.
#pragma once

#include <cstdint>
#include <ctime>
#include <optional>

namespace xlb::bench {

std::uint64_t wall_ns();

class CpuTime {
 public:
  // Pins the calling thread to the CPU.
  explicit CpuTime(int cpu);
  [[nodiscard]] std::uint64_t ns() const;

 private:
  std::optional<clockid_t> ksoftirqd_;
};

}  // namespace xlb::bench
