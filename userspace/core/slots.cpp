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
#include <array>
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

Slots::Slots(std::span<const lb_slot> slots) {
  if (slots.empty()) return;
  constexpr std::size_t most = 256;
  constexpr std::uint16_t nothing = most;
  std::array<std::uint16_t, 4 * most> places;  // an open table of indexes into ids
  places.fill(nothing);
  auto kept = std::make_shared<Kept>();
  const auto index_of = [&](std::uint32_t id) {
    std::size_t place = mix(id) % places.size();
    while (places[place] != nothing && kept->ids[places[place]] != id) place = (place + 1) % places.size();
    if (places[place] != nothing || kept->ids.size() == most) return places[place];
    places[place] = static_cast<std::uint16_t>(kept->ids.size());
    kept->ids.push_back(id);
    return places[place];
  };
  kept->pairs.reserve(slots.size());
  for (const lb_slot& slot : slots) {
    const std::uint16_t first = index_of(slot.first), second = index_of(slot.second);
    if (first == nothing || second == nothing) {
      *kept = {{}, {}, {slots.begin(), slots.end()}};
      break;
    }
    kept->pairs.push_back(static_cast<std::uint16_t>(first | second << 8));
  }
  kept->ids.shrink_to_fit();
  kept_ = std::move(kept);
}

std::vector<lb_slot> Slots::rows() const {
  std::vector<lb_slot> rows;
  rows.reserve(size());
  (void)all([&](std::size_t, const lb_slot& slot) {
    rows.push_back(slot);
    return true;
  });
  return rows;
}

void Slots::set(std::size_t index, const lb_slot& slot) {
  std::vector<lb_slot> changed = rows();
  changed.at(index) = slot;
  *this = changed;
}

// Ids stand in the order in which they appear: equal slots are kept alike.
bool same_slots(const Slots& left, const Slots& right) {
  if (left.shares(right)) return true;
  if (left.size() != right.size() || left.size() == 0) return left.size() == right.size();
  const auto equal = [](const lb_slot& a, const lb_slot& b) { return a.first == b.first && a.second == b.second; };
  const Slots::Kept &a = *left.kept_, &b = *right.kept_;
  return a.ids == b.ids && a.pairs == b.pairs && std::equal(a.whole.begin(), a.whole.end(), b.whole.begin(), b.whole.end(), equal);
}

Slots SlotMemory::fill(std::span<const SlotCandidate> candidates, std::uint32_t count) {
  std::uint64_t hash = root5 ^ count;
  for (const SlotCandidate& candidate : candidates) hash = mix(hash ^ candidate.id);
  Entry& entry = entries_[hash];
  if (entry.slots.size() != count ||
      !std::equal(entry.candidates.begin(), entry.candidates.end(), candidates.begin(), candidates.end())) {
    entry.candidates.assign(candidates.begin(), candidates.end());
    std::vector<lb_slot> rows;
    rows.reserve(count);
    for (const SlotPair& pair : fill_slots(candidates, count)) rows.push_back({pair.first, pair.second});
    entry.slots = rows;
  }
  entry.used = true;
  return entry.slots;
}

void SlotMemory::forget_unused() {
  std::erase_if(entries_, [](const auto& item) { return !item.second.used; });
  for (auto& item : entries_) item.second.used = false;
}

}  // namespace xlb
