// SPDX-License-Identifier: Apache-2.0
// What a client that opens one flow after the other saw of an outage. Pure: times are parameters, in ns of one clock.
//
// Two figures, because neither says everything. A *gap* is a time in which nothing succeeded, from the start of the first
// flow that had to wait: it tells how long a service was gone, and a stall of the client itself, in which it begins
// nothing, is none. A *window* reaches from the start of the first flow that failed to the start of the first one after
// which none fails for a while: it also holds the time in which only some flows failed (those to a dead node's
// backends), which a gap does not see. Both are bounded in number, the longest are kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace xlb::probe {

struct Span {
  std::int64_t from = 0;
  std::int64_t to = 0;
  std::uint64_t failed = 0;
  std::uint64_t flows = 0;  // begun in the window, the failed ones included
  [[nodiscard]] std::int64_t length() const { return to - from; }
};

class Outages {
 public:
  // Failures closer together than `quiet` are one window; gaps shorter than `shortest` are no gaps.
  Outages(std::int64_t quiet, std::int64_t shortest) : quiet_(quiet), shortest_(shortest) {}

  // A flow begins.
  void begun(std::int64_t at);
  // A flow succeeded, at this time; in order of that time.
  void completed(std::int64_t at);
  // What became of a flow, in the order in which they were begun.
  void judged(std::int64_t begun, bool succeeded);
  // The measurement ends: closes what is open.
  void end(std::int64_t at);

  [[nodiscard]] const std::vector<Span>& windows() const { return windows_; }
  [[nodiscard]] const std::vector<Span>& gaps() const { return gaps_; }
  [[nodiscard]] std::uint64_t flows() const { return flows_; }
  [[nodiscard]] std::uint64_t failed() const { return failed_; }

 private:
  void keep(std::vector<Span>& among, const Span& span) const;

  std::int64_t quiet_, shortest_;
  std::optional<std::int64_t> waiting_since_, last_failed_;
  std::optional<Span> open_;
  bool ended_by_success_ = false;  // `open_->to` is the start of a flow that succeeded
  std::uint64_t since_ = 0;        // flows begun after the window's last failure
  std::uint64_t flows_ = 0, failed_ = 0;
  std::vector<Span> windows_, gaps_;
};

}  // namespace xlb::probe
