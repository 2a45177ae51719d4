// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/cpu_time.hpp"

#include <sched.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace xlb::bench {
namespace {

std::uint64_t read_clock(clockid_t clock) {
  timespec time{};
  if (clock_gettime(clock, &time) != 0) throw std::runtime_error("clock_gettime failed");
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(time.tv_nsec);
}

pid_t find_thread(const std::string& wanted) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string pid = entry.path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "comm");
    std::string name;
    if (std::getline(file, name) && name == wanted) return static_cast<pid_t>(std::stoi(pid));
  }
  return 0;
}

}  // namespace

std::uint64_t wall_ns() { return read_clock(CLOCK_MONOTONIC_RAW); }

CpuTime::CpuTime(int cpu) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<unsigned>(cpu), &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) {
    throw std::runtime_error("cannot run on CPU " + std::to_string(cpu));
  }
  clockid_t clock{};
  if (const pid_t pid = find_thread("ksoftirqd/" + std::to_string(cpu));
      pid != 0 && clock_getcpuclockid(pid, &clock) == 0) {
    ksoftirqd_ = clock;
  }
}

std::uint64_t CpuTime::ns() const {
  return read_clock(CLOCK_THREAD_CPUTIME_ID) + (ksoftirqd_ ? read_clock(*ksoftirqd_) : 0);
}

}  // namespace xlb::bench
