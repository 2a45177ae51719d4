// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/waiting_requests.hpp"

#include <algorithm>
#include <utility>
#include <vector>

namespace xlb {

namespace {

using namespace std::chrono_literals;

constexpr const char* kNotInForce = "done, but not all of it is in force yet";
constexpr auto kAskLockAgain = 50ms;
constexpr auto kNeighboursSettle = 10ms;              // they come several at a time
const auto kPatience = PassOptions{}.lock_patience;  // as a command has without a daemon
const auto kPlacePatience = PassOptions{}.place_patience;

// One story of two passes.
void add(Outcome& story, Outcome&& later) {
  for (ServiceOutcome& service : later.services) {
    std::erase_if(story.services, [&](const ServiceOutcome& old) { return old.name == service.name; });
    story.services.push_back(std::move(service));
  }
  const auto append = [](auto& to, auto& from) { to.insert(to.end(), from.begin(), from.end()); };
  append(story.taken, later.taken);
  append(story.dropped, later.dropped);
  append(story.edits, later.edits);
  story.warnings = std::move(later.warnings);
  story.attached = std::move(later.attached);
}

}  // namespace

void WaitingRequests::take(Connection connection, Request request) {
  const std::uint64_t id = next_id_++;
  waiting_.emplace(id, Waiting{.connection = connection, .request = std::move(request), .since = Clock::now()});
  attempt(id);
}

void WaitingRequests::wire_answered() {
  std::vector<std::uint64_t> ids;  // an attempt may end its own and, by an answer that nobody reads, others
  for (const auto& [id, waiting] : waiting_) ids.push_back(id);
  for (const std::uint64_t id : ids) attempt(id);
}

void WaitingRequests::neighbours_changed() {
  const auto soon = Clock::now() + kNeighboursSettle;
  for (auto& [id, waiting] : waiting_)
    if (waiting.for_neighbours) waiting.again_at = waiting.again_at ? std::min(*waiting.again_at, soon) : soon;
  arm();
}

void WaitingRequests::forget(Connection connection) {
  std::erase_if(waiting_, [&](const auto& entry) { return entry.second.connection == connection; });
}

bool WaitingRequests::unfinished(const Outcome& outcome, Waiting& waiting) {
  const auto now = Clock::now();
  const auto places_until = waiting.since + kPlacePatience;
  waiting.for_neighbours = outcome.deferred == Outcome::Deferred::neighbours || (outcome.places_missing && now < places_until);
  waiting.again_at.reset();
  if (waiting.for_neighbours) waiting.again_at = places_until;
  if (outcome.deferred == Outcome::Deferred::lock) waiting.again_at = now + kAskLockAgain;
  return waiting.for_neighbours || outcome.open || outcome.deferred != Outcome::Deferred::no;
}

Result<Outcome> WaitingRequests::carry_on(const Waiting& waiting) {
  const auto left = waiting.since + kPlacePatience - Clock::now();
  PassOptions options;
  options.place_patience = std::max(std::chrono::duration_cast<std::chrono::milliseconds>(left), 0ms);
  options.announcements = 1;
  options.waits = false;
  options.conflicts_since = waiting.since;
  return waiting.done ? reconciler_.reconcile(options) : execute(waiting.request, reconciler_, options);
}

void WaitingRequests::attempt(std::uint64_t id) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end() || found->second.for_disk) return;
  Waiting& waiting = found->second;
  auto outcome = carry_on(waiting);
  std::string line;
  if (!outcome) {
    line = encode(waiting.done ? outcome.error().in(kNotInForce) : outcome.error());
  } else {
    waiting.for_disk = outcome->deferred == Outcome::Deferred::disk;
    const bool again = waiting.for_disk || (unfinished(*outcome, waiting) && Clock::now() - waiting.since < kPatience);
    if (outcome->deferred == Outcome::Deferred::no) handlers_.took_in(*outcome);
    if (outcome->deferred == Outcome::Deferred::no || waiting.for_disk) {
      if (waiting.done)
        add(*waiting.done, std::move(*outcome));
      else
        waiting.done = std::move(*outcome);
    }
    if (again) return arm();
    line = waiting.done ? encode(*waiting.done) : encode(Error{"another xdp-lb keeps changing this node: try again"});
  }
  end(id, line);
}

bool WaitingRequests::wrote(const Result<void>& result) {
  const auto found =
      std::find_if(waiting_.begin(), waiting_.end(), [](const auto& entry) { return entry.second.for_disk; });
  if (found == waiting_.end()) return false;
  Waiting& waiting = found->second;
  waiting.for_disk = false;
  if (result) {
    waiting.stands = true;
    attempt(found->first);
    return true;
  }
  const bool nothing_done = !waiting.stands && (std::holds_alternative<ApplyRequest>(waiting.request.demand) ||
                                                std::holds_alternative<DeleteRequest>(waiting.request.demand));
  end(found->first, encode(nothing_done ? result.error() : result.error().in(kNotInForce)));
  return true;
}

void WaitingRequests::end(std::uint64_t id, const std::string& line) {
  const auto found = waiting_.find(id);
  const Connection connection = found->second.connection;
  waiting_.erase(found);
  handlers_.answer(connection, line);
}

void WaitingRequests::arm() {
  loop_.cancel(timer_);
  std::optional<Clock::time_point> earliest;
  for (const auto& [id, waiting] : waiting_)
    if (waiting.again_at && (!earliest || *waiting.again_at < *earliest)) earliest = waiting.again_at;
  if (!earliest) return;
  timer_ = loop_.at(*earliest, [this] {
    std::vector<std::uint64_t> due;
    for (const auto& [id, waiting] : waiting_)
      if (waiting.again_at && *waiting.again_at <= Clock::now()) due.push_back(id);
    for (const std::uint64_t id : due) attempt(id);
    arm();
  });
}

}  // namespace xlb
