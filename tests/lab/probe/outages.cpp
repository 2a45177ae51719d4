// SPDX-License-Identifier: Apache-2.0
#include "tests/lab/probe/outages.hpp"

#include <algorithm>

namespace xlb::probe {

namespace {
constexpr std::size_t kKept = 200;
}

void Outages::keep(std::vector<Span>& among, const Span& span) const {
  if (among.size() < kKept) {
    among.push_back(span);
    return;
  }
  const auto shortest = std::ranges::min_element(among, {}, &Span::length);
  if (shortest->length() < span.length()) {
    among.erase(shortest);
    among.push_back(span);
  }
}

void Outages::begun(std::int64_t at) {
  if (!waiting_since_) waiting_since_ = at;
}

void Outages::completed(std::int64_t at) {
  if (waiting_since_ && at - *waiting_since_ >= shortest_) keep(gaps_, {.from = *waiting_since_, .to = at});
  waiting_since_.reset();
}

void Outages::judged(std::int64_t begun, bool succeeded) {
  ++flows_;
  if (open_ && begun - *last_failed_ >= quiet_) {
    keep(windows_, *open_);
    open_.reset();
  }
  if (succeeded) {
    if (open_ && !ended_by_success_) {
      open_->to = begun;
      ended_by_success_ = true;
    }
    if (open_) ++since_;
    return;
  }
  ++failed_;
  last_failed_ = begun;
  if (!open_) {
    open_ = Span{.from = begun, .to = begun};
    since_ = 0;
  }
  open_->flows += since_ + 1;
  since_ = 0;
  ++open_->failed;
  open_->to = begun;
  ended_by_success_ = false;
}

void Outages::end(std::int64_t at) {
  if (open_) {
    if (!ended_by_success_) open_->to = at;
    keep(windows_, *open_);
    open_.reset();
  }
  if (waiting_since_) completed(at);
}

}  // namespace xlb::probe
