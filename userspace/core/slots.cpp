// SPDX-License-Identifier: Apache-2.0
// Slots are filled by rendezvous hashing: for each slot every candidate gets a score from (slot, address, port), and
// the two highest stand in it. A candidate's score depends on nothing but itself, so taking one away can only change
// the slots that it stood in, and every node computes the same from the same endpoints, in whatever order they came.
//
// How even the shares are depends on the number of slots alone: with s slots for each of n candidates a share strays
// by 1/sqrt(s) of itself (one standard deviation). slot_count() keeps s at 32 or more, that is 18 % and less; a
// service of up to 8 backends strays by 12 % and less. Few steps are taken, far apart, because crossing one moves
// most slots.
//
// Speed: one candidate and slot costs two multiplications, 1.6 ns on a small virtual machine. The score keeps the
// candidate's rank (by address and port) in its low bits, so that the two best are found by minimum and maximum,
// without a branch to mispredict; equal hashes are then decided by rank, which is the same on every node too.
#include "userspace/core/slots.hpp"

#include <algorithm>
#include <cstring>

namespace xlb {
namespace {

constexpr unsigned rank_bits = 24;  // more candidates than any table holds; 40 bits of hash remain
constexpr std::uint64_t rank_mask = (std::uint64_t{1} << rank_bits) - 1;

// Odd numbers without pattern: the fractions of the square roots of 2, 3, 5 and 7.
constexpr std::uint64_t root2 = 0x6a09e667f3bcc909;
constexpr std::uint64_t root3 = 0xbb67ae8584caa73b;
constexpr std::uint64_t root5 = 0x3c6ef372fe94f82b;
constexpr std::uint64_t root7 = 0xa54ff53a5f1d36f1;

// Spreads every bit over all 64: two rounds of multiply and fold.
constexpr std::uint64_t mix(std::uint64_t value) {
  value ^= value >> 32;
  value *= root3;
  value ^= value >> 29;
  value *= root2;
  return value ^ value >> 32;
}

bool before(const SlotCandidate& left, const SlotCandidate& right) {
  return left.address != right.address ? left.address < right.address : left.port < right.port;
}

}  // namespace

std::uint64_t hash_endpoint(const Address& address, std::uint16_t port) {
  std::uint64_t hash = mix(root5 ^ address.half(0));
  hash = mix(hash ^ address.half(8));
  return mix(hash ^ port);
}

std::uint32_t slot_count(std::size_t backends) {
  if (backends <= 1) return static_cast<std::uint32_t>(backends);
  if (backends <= 16) return 512;
  if (backends <= 256) return 8192;
  return 65536;
}

std::vector<SlotPair> fill_slots(std::span<const SlotCandidate> candidates) {
  return fill_slots(candidates, slot_count(candidates.size()));
}

std::vector<SlotPair> fill_slots(std::span<const SlotCandidate> candidates, std::uint32_t count) {
  std::vector<SlotCandidate> ranked(candidates.begin(), candidates.end());
  if (!std::is_sorted(ranked.begin(), ranked.end(), before)) std::sort(ranked.begin(), ranked.end(), before);
  std::vector<std::uint64_t> hashes;
  hashes.reserve(ranked.size());
  for (const SlotCandidate& candidate : ranked) hashes.push_back(hash_endpoint(candidate.address, candidate.port));

  std::vector<SlotPair> slots(count);
  if (ranked.size() == 1) std::fill(slots.begin(), slots.end(), SlotPair{ranked.front().id, 0});
  if (ranked.size() <= 1) return slots;
  std::uint64_t step = 0;
  for (SlotPair& slot : slots) {
    step += root7;
    std::uint64_t best = 0;
    std::uint64_t second = 0;
    for (std::size_t rank = 0; rank < hashes.size(); ++rank) {
      const std::uint64_t score = (mix(hashes[rank] ^ step) & ~rank_mask) | rank;
      second = std::max(second, std::min(best, score));
      best = std::max(best, score);
    }
    slot = {ranked[best & rank_mask].id, ranked[second & rank_mask].id};
  }
  return slots;
}

std::vector<lb_slot>& Slots::own() {
  if (!slots_) {
    slots_ = std::make_shared<std::vector<lb_slot>>();
  } else if (slots_.use_count() > 1) {
    slots_ = std::make_shared<std::vector<lb_slot>>(*slots_);
  }
  return *slots_;
}

const std::vector<lb_slot>& Slots::all() const {
  static const std::vector<lb_slot> none;
  return slots_ ? *slots_ : none;
}

bool same_slots(const Slots& left, const Slots& right) {
  if (left.slots_ == right.slots_) return true;
  const std::vector<lb_slot>& a = left.all();
  const std::vector<lb_slot>& b = right.all();
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(lb_slot)) == 0);
}

Slots SlotMemory::fill(std::span<const SlotCandidate> candidates, std::uint32_t count) {
  std::uint64_t hash = root5 ^ count;
  for (const SlotCandidate& candidate : candidates) hash = mix(hash ^ candidate.id);
  Entry& entry = entries_[hash];
  if (entry.slots.size() != count ||
      !std::equal(entry.candidates.begin(), entry.candidates.end(), candidates.begin(), candidates.end())) {
    entry.candidates.assign(candidates.begin(), candidates.end());
    std::vector<lb_slot>& rows = (entry.slots = Slots()).own();
    rows.reserve(count);
    for (const SlotPair& pair : fill_slots(candidates, count)) rows.push_back({pair.first, pair.second});
  }
  entry.used = true;
  return entry.slots;
}

void SlotMemory::forget_unused() {
  std::erase_if(entries_, [](const auto& item) { return !item.second.used; });
  for (auto& item : entries_) item.second.used = false;
}

}  // namespace xlb
