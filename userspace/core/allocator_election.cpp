// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/allocator_election.hpp"

#include <algorithm>

namespace xlb {
namespace {

// What another version, or another person, wrote there is believed within reason.
constexpr std::uint32_t kShortest = 1, kLongest = 60;

}  // namespace

std::optional<AllocatorElection::Order> AllocatorElection::step(const std::optional<ApiLease>& lease, Time now) {
  const ApiLease known = lease.value_or(ApiLease{});
  if (!seen_at_ || known != seen_) {
    seen_ = known;
    seen_at_ = now;
  }
  const auto others_until = *seen_at_ + std::chrono::seconds(std::clamp(known.duration_s, kShortest, kLongest));
  const bool own = lease && known.holder == own_;
  const bool free = !lease || known.holder.empty() || own || now >= others_until;
  if (!own && lease && !known.holder.empty()) leads_until_.reset();  // somebody else was faster
  if (ordered_) {
    next_ = now + times_.renewal;
    return std::nullopt;
  }
  if (!free) {
    next_ = others_until;
    return std::nullopt;
  }
  if (own && leads(now) && now < *leads_until_ - times_.duration + times_.renewal) {
    next_ = *leads_until_ - times_.duration + times_.renewal;
    return std::nullopt;
  }
  Order order;
  order.create = !lease;
  order.lease = known;
  order.lease.transitions = own || !lease ? known.transitions : known.transitions + 1;
  order.lease.holder = own_;
  order.lease.duration_s = static_cast<std::uint32_t>(std::chrono::duration_cast<std::chrono::seconds>(times_.duration).count());
  ordered_ = now;
  next_ = now + times_.renewal;
  return order;
}

void AllocatorElection::answered(bool accepted, Time ordered) {
  ordered_.reset();
  if (accepted) {
    leads_until_ = ordered + times_.duration;
    next_ = ordered + times_.renewal;
  }
}

AllocatorElection::Time AllocatorElection::next_step() const {
  return next_;
}

}  // namespace xlb
