// SPDX-License-Identifier: Apache-2.0
// Who owns a VIP: a pure function of what each node says of it, with the reason of everything that it decides.
//
// A *claim* is (epoch, node). It lives while its node is heard and minded. The rules, in their order:
//   1. The owner is the node of the live claim with the highest epoch; equal epochs: of the better rank.
//   2. A claim that loses is dropped at once.
//   3. Without a live claim the best-ranked candidate claims, with 1 + the highest epoch ever seen. Who has only just
//      stopped listening waits a moment for a better-ranked one that still listens: they were cut off together.
//   4. The incumbent hands over, nobody grabs: to the best candidate that it reaches, when it drains or is not
//      eligible itself, or when that one is better-ranked and has been a candidate for the fail-back delay. The other
//      one claims, the incumbent sees that and drops.
#pragma once

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

// What one node says of a VIP, and what that is worth.
struct Voice {
  std::string node;
  VipStatement said;
  bool live = false;     // its claim counts: it is heard and minded
  std::string obstacle;  // why it is no candidate; empty: it is one
  bool reached = false;  // by this node
  bool patient = false;  // a candidate for the fail-back delay
  bool joining = false;  // no candidate yet, but about to be one that others wait for
  [[nodiscard]] bool candidate() const { return obstacle.empty(); }
};

enum class Standing : std::uint8_t {
  listening,  // has joined: says that it is here, claims nothing yet
  standing,
  deaf,     // hears no frame at all: it is the one that is cut off
  doubled,  // another node has its name
};

struct CandidateView {
  std::string node;
  bool eligible = false;
  std::string reason;    // why it is not; "owner", "candidate"
  std::size_t rank = 0;  // 1: the best of all that speak of this VIP
  auto operator<=>(const CandidateView&) const = default;
};

// The answer for a VIP, as `status` and `why` print it.
struct VipView {
  Address address;
  bool owned = false;                     // this node answers for it
  std::uint64_t epoch = 0;                // of this node's claim; 0: none. Into lb_vip.claim_epoch
  std::string owner;                      // the node whose claim counts here; empty: nobody
  std::string handing_to;                 // by this node, to that one
  std::string reason;                     // why owned or not, in one sentence
  std::vector<CandidateView> candidates;  // by rank
  auto operator<=>(const VipView&) const = default;
};

struct Claims {
  VipView view;        // what holds from now on
  std::string origin;  // of this node's claim: how it came about
  // This node gives up nothing more and nobody could take it: of a draining node.
  bool stranded = false;
};

// `self`: this node's own voice, `said.epoch` its claim so far and `origin` where that came from. `draining` makes no
// obstacle for keeping a claim, so it is told apart from `self.obstacle`.
struct ClaimFacts {
  Standing standing = Standing::listening;
  bool draining = false;
  Voice self;
  std::string origin;
  std::vector<Voice> peers;
  std::uint64_t highest_epoch = 0;  // ever seen for this VIP
};

Claims settle(const ClaimFacts& facts);

}  // namespace xlb
