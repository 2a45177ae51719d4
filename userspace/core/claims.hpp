// SPDX-License-Identifier: Apache-2.0
// Who owns a VIP: a pure function of what each node says of it, with the reason of everything that it decides.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "userspace/core/statement.hpp"

namespace xlb {

// What decide() found for a VIP on this node.
struct OwnVip {
  Address address;
  bool eligible = false;
  std::string obstacle;  // why it is not
  Rank rank;
  auto operator<=>(const OwnVip&) const = default;
};

struct CandidateView {
  std::string node;
  bool eligible = false;
  std::string reason;  // why it is not; or what it has on offer
  std::size_t rank = 0;  // 1: the best of all that speak of this VIP
  auto operator<=>(const CandidateView&) const = default;
};

// The answer for a VIP, as `status` and `why` print it.
struct VipView {
  Address address;
  bool owned = false;       // this node answers for it
  std::uint64_t epoch = 0;  // of this node's claim; 0: none. Into lb_vip.claim_epoch
  std::string owner;        // the node whose claim counts here; empty: nobody
  std::string handing_to;   // by this node, to that one
  std::string reason;       // why owned or not, in one sentence
  std::vector<CandidateView> candidates;  // by rank
  auto operator<=>(const VipView&) const = default;
};

}  // namespace xlb
