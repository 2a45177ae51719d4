// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/claims.hpp"

#include <algorithm>
#include <limits>
#include <tuple>

namespace xlb {
namespace {

// Two nodes with the same rank would have the same name; still there is an order.
bool better(const Voice& a, const Voice& b) {
  if (a.said.rank != b.said.rank) return a.said.rank.better_than(b.said.rank);
  return a.node < b.node;
}

const Voice* first_in_line(const std::vector<const Voice*>& voices) {
  const Voice* best = nullptr;
  for (const Voice* voice : voices) {
    if ((voice->candidate() || voice->joining) && (best == nullptr || better(*voice, *best))) best = voice;
  }
  return best;
}

const Voice* best_claim(const std::vector<const Voice*>& voices, bool live) {
  const Voice* best = nullptr;
  for (const Voice* voice : voices) {
    if (voice->said.epoch == 0 || voice->live != live) continue;
    if (best == nullptr || voice->said.epoch > best->said.epoch ||
        (voice->said.epoch == best->said.epoch && better(*voice, *best))) {
      best = voice;
    }
  }
  return best;
}

class Settlement {
 public:
  explicit Settlement(const ClaimFacts& facts) : facts_(facts), self_(facts.self) {
    voices_.push_back(&self_);
    for (const Voice& peer : facts.peers) voices_.push_back(&peer);
    std::sort(voices_.begin(), voices_.end(), [](const Voice* a, const Voice* b) { return better(*a, *b); });
    claims_.view.address = self_.said.vip;
    claims_.view.epoch = self_.said.epoch;
    claims_.origin = facts.origin;
  }

  Claims run() {
    if (facts_.standing == Standing::deaf || facts_.standing == Standing::doubled) {
      drop();
      owner_ = best_claim(voices_without_self(), true);
      claims_.view.reason = self_.obstacle;
    } else {
      owner_ = best_claim(voices_, true);
      if (owner_ == &self_) {
        keep();
      } else if (owner_ != nullptr) {
        yield();
      } else {
        vacant();
      }
    }
    finish();
    return std::move(claims_);
  }

 private:
  [[nodiscard]] std::vector<const Voice*> voices_without_self() const {
    std::vector<const Voice*> others;
    std::copy_if(voices_.begin(), voices_.end(), std::back_inserter(others),
                 [&](const Voice* v) { return v != &self_; });
    return others;
  }

  void drop() {
    claims_.view.epoch = 0;
    claims_.origin.clear();
  }

  void claim(const std::string& origin) {
    constexpr std::uint64_t last = std::numeric_limits<std::uint64_t>::max();
    claims_.view.epoch = facts_.highest_epoch == last ? last : facts_.highest_epoch + 1;
    claims_.origin = origin;
    owner_ = &self_;
  }

  void keep() {
    std::string& reason = claims_.view.reason;
    reason = claims_.origin;
    if (facts_.standing == Standing::listening) return;  // what it sees now is not all there is
    const bool eligible = self_.said.eligible;
    const Voice* heir = nullptr;  // the best that it reaches: if that one has to wait, so do the others
    for (const Voice* voice : voices_without_self()) {
      if (heir == nullptr && voice->candidate() && voice->reached) heir = voice;
    }
    const bool must = facts_.draining || !eligible;
    if (heir != nullptr && !must && !(heir->patient && better(*heir, self_))) heir = nullptr;
    if (heir != nullptr) {
      claims_.view.handing_to = heir->node;
      reason += "; hands it over to " + heir->node + ", because ";
      reason += facts_.draining ? "it drains" : !eligible ? self_.said.obstacle : heir->node + " is the better place";
    } else if (!eligible) {
      drop();
      owner_ = nullptr;
      reason = "gave it up, because " + self_.said.obstacle + ", and no node that it reaches could take it";
    } else if (facts_.draining) {
      claims_.stranded = true;
      reason += "; drains, but no node that it reaches could take it";
    }
  }

  void yield() {
    drop();
    if (owner_->said.handing_to == self_.node && self_.candidate()) {
      claim("took it over from " + owner_->node + ", which handed it over");
      claims_.view.reason = claims_.origin;
    } else {
      claims_.view.reason = owner_->node + " answers";
    }
  }

  void vacant() {
    const Voice* next = first_in_line(voices_);
    if (facts_.standing == Standing::listening) {
      claims_.view.reason = self_.obstacle;
    } else if (next == &self_) {
      const Voice* dead = best_claim(voices_without_self(), false);
      claim(dead == nullptr ? "claimed it, because nobody did"
                            : "took it over from " + dead->node + ", which " + dead->obstacle);
      claims_.view.reason = claims_.origin;
    } else if (next != nullptr) {
      claims_.view.reason = "nobody answers yet; " + next->node + " comes first";
    } else {
      claims_.view.reason = "nobody can answer; this node: " + self_.obstacle;
    }
  }

  void finish() {
    claims_.view.owned = claims_.view.epoch != 0;
    claims_.view.owner = owner_ == nullptr ? "" : owner_->node;
    for (const Voice* voice : voices_) {
      CandidateView candidate;
      candidate.node = voice->node;
      candidate.eligible = voice->candidate();
      candidate.reason = !candidate.eligible ? voice->obstacle : voice == owner_ ? "owner" : "candidate";
      candidate.rank = claims_.view.candidates.size() + 1;
      claims_.view.candidates.push_back(std::move(candidate));
    }
  }

  const ClaimFacts& facts_;
  const Voice& self_;
  std::vector<const Voice*> voices_;  // by rank
  const Voice* owner_ = nullptr;
  Claims claims_;
};

}  // namespace

Claims settle(const ClaimFacts& facts) {
  return Settlement(facts).run();
}

}  // namespace xlb
