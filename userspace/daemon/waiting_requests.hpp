// SPDX-License-Identifier: Apache-2.0
// Commands that came by the control socket and wait for an answer of the wire, a neighbour, the lock or the disk. The
// connection waits, the loop does not: a change is tried again from its beginning when an answer has come, as if it had come
// then; an attach, and a change that is on the disk, stand, and the answer is what a later pass has made of them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>

#include "userspace/daemon/control.hpp"
#include "userspace/daemon/loop.hpp"
#include "userspace/daemon/request.hpp"

namespace xlb {

class WaitingRequests {
 public:
  using Connection = ControlServer::Connection;
  using Clock = Loop::Clock;
  struct Handlers {
    std::function<void(const Outcome&)> took_in;                     // something was done
    std::function<void(Connection, const std::string& line)> answer;  // the last word to it
  };
  WaitingRequests(Loop& loop, Reconciler& reconciler, Handlers handlers)
      : loop_(loop), reconciler_(reconciler), handlers_(std::move(handlers)) {}
  WaitingRequests(const WaitingRequests&) = delete;
  WaitingRequests& operator=(const WaitingRequests&) = delete;
  ~WaitingRequests() { loop_.cancel(timer_); }

  void take(Connection connection, Request request);
  void wire_answered();
  void neighbours_changed();
  // What the reconciler wrote, by write_by(). False: none of these had asked for it.
  bool wrote(const Result<void>& result);
  // Its user has gone; a change that was not made yet is not made.
  void forget(Connection connection);
  [[nodiscard]] bool empty() const { return waiting_.empty(); }

 private:
  struct Waiting {
    Connection connection;
    Request request;
    Clock::time_point since;
    std::optional<Outcome> done{};  // a link is attached or detached, or a change is written; the rest is still asked for
    bool for_neighbours = false;
    bool for_disk = false;
    bool stands = false;  // what was asked for is on the disk
    std::optional<Clock::time_point> again_at{};  // unless something is told before
  };

  void attempt(std::uint64_t id);
  Result<Outcome> carry_on(const Waiting& waiting);
  // What is still missing, and when to look again.
  static bool unfinished(const Outcome& outcome, Waiting& waiting);
  void end(std::uint64_t id, const std::string& line);
  void arm();

  Loop& loop_;
  Reconciler& reconciler_;
  Handlers handlers_;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, Waiting> waiting_;  // in the order they came
  Loop::Timer timer_ = 0;
};

}  // namespace xlb
