// SPDX-License-Identifier: Apache-2.0
// The duplicate-address probes that run on the loop, several links and addresses at once, and what they found. Asking never
// waits: what is not known yet is left open and asked for, and `settled` is called when an answer has come.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "userspace/daemon/edges.hpp"
#include "userspace/daemon/loop.hpp"

namespace xlb {

class LinkProbes {
 public:
  using Clock = Loop::Clock;
  LinkProbes(Loop& loop, std::function<void()> settled) : loop_(loop), settled_(std::move(settled)) {}
  LinkProbes(const LinkProbes&) = delete;
  LinkProbes& operator=(const LinkProbes&) = delete;
  ~LinkProbes();

  // As AskWire says. A probe that was running already counts as one since then.
  Result<WireAnswers> ask(const Link& link, const std::vector<Address>& addresses, const std::set<Mac>& own,
                          Clock::time_point since);

  static constexpr std::size_t kRuns = 64;  // at once, each with at most two sockets; more questions wait for their turn
  static constexpr auto kKept = std::chrono::minutes(2);

 private:
  using Key = std::pair<std::uint32_t, Address>;  // L3 interface
  struct Run {
    LinkProbe probe;
    std::uint32_t ifindex;
    std::vector<Address> addresses;
    Loop::Timer timer = 0;
  };
  struct Finding {
    std::optional<Mac> holder;
    std::optional<Error> failure;  // the link could not be asked
    Clock::time_point at;
  };

  Result<void> start(const Link& link, const std::vector<Address>& addresses, const std::set<Mac>& own);
  void go_on(std::uint64_t id);
  void end(std::uint64_t id, const Error* failure);

  Loop& loop_;
  std::function<void()> settled_;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, Run> runs_;
  std::set<Key> asking_;
  std::map<Key, Finding> findings_;
};

}  // namespace xlb
