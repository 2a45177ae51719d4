// SPDX-License-Identifier: Apache-2.0
// Asks backends whether they are well, on the loop: plain sockets, so many at once and no more, each target in its own
// rhythm. The probes go to a backend's own address, never to a VIP, so no program of ours touches them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>

#include "userspace/core/health.hpp"
#include "userspace/daemon/loop.hpp"

namespace xlb {

class HealthProbes {
 public:
  using Clock = Loop::Clock;
  // A target has become ill or well.
  using Changed = std::function<void(const HealthTarget&, const HealthState&)>;
  HealthProbes(Loop& loop, HealthPace pace, Changed changed)
      : loop_(loop), pace_(pace), changed_(std::move(changed)), random_(std::random_device()()) {}
  HealthProbes(const HealthProbes&) = delete;
  HealthProbes& operator=(const HealthProbes&) = delete;
  ~HealthProbes();

  // What is asked from now on. Newcomers start as `known` says: ill as they were for the process before, else unknown.
  void follow(const std::set<HealthTarget>& targets, const std::map<HealthTarget, std::string>& known);
  // Those that are ill, with the sentence that says how.
  [[nodiscard]] std::map<HealthTarget, std::string> ill() const;

  static constexpr std::size_t kSockets = 64;
  static constexpr std::size_t kAnswerBytes = 1024;  // a status line is not longer

 private:
  struct Target {
    HealthState state;
    Clock::time_point next;  // question; while one is under way, when it is given up
    int fd = -1;             // of the question under way
    Clock::time_point asked_at;
    bool connected = false;
    std::string to_send, answer;
  };

  void turn();  // asks what is due, gives up what is late
  void ask(const HealthTarget& target, Target& entry);
  void serve(const HealthTarget& target);
  // True: the answer is complete, `problem` says how it is.
  bool connected(Target& entry, std::optional<std::string>& problem);
  bool heard(const HealthTarget& target, Target& entry, std::optional<std::string>& problem);
  void settle(const HealthTarget& target, Target& entry, const std::optional<std::string>& problem);
  void hang_up(Target& entry);
  void arm();

  Loop& loop_;
  HealthPace pace_;
  Changed changed_;
  std::minstd_rand random_;
  std::map<HealthTarget, Target> targets_;
  std::size_t sockets_ = 0;
  Loop::Timer timer_ = 0;
};

}  // namespace xlb
