// SPDX-License-Identifier: Apache-2.0
// Rendezvous hashing: slot i lists the two backends with the highest hash of (i, address, port). The same endpoints
// give the same slots on every node and architecture; removing a backend changes only the slots that listed it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "maps/abi.h"
#include "userspace/core/address.hpp"

namespace xlb {

struct SlotCandidate {
  Address address;
  std::uint16_t port = 0;  // host order
  std::uint32_t id = 0;    // what is written into the slot; takes no part in the hash
  auto operator<=>(const SlotCandidate&) const = default;
};

struct SlotPair {
  std::uint32_t first = 0;
  std::uint32_t second = 0;
  auto operator<=>(const SlotPair&) const = default;
};

// 64 well-mixed bits of explicit bytes: the same on every architecture.
std::uint64_t hash_endpoint(const Address& address, std::uint16_t port);

// 0 for none, 1 for one backend, 512 up to 16, 8192 up to 256, 65536 above: 8 bytes each, and at least 32 a backend
// up to 2048 backends, so that a backend's share strays from the mean by 18 % or less (one standard deviation).
std::uint32_t slot_count(std::size_t backends);

// `count` slots, or slot_count() of the candidates. A winner among all is the winner among some in the same slot of as
// many slots: a node's own backends are hashed over the slots of all.
std::vector<SlotPair> fill_slots(std::span<const SlotCandidate> candidates, std::uint32_t count);
std::vector<SlotPair> fill_slots(std::span<const SlotCandidate> candidates);

// The slots of one service, shared by all Tables that hold them: a copy is a pointer, and what is shared is equal
// without a look. A service lists few backends many times, so a slot is kept as two bytes where it can be: with a
// thousand services that is 6 MiB less.
class Slots {
 public:
  Slots() = default;
  Slots(std::span<const lb_slot> slots);                                            // NOLINT: implicit by intent
  Slots(const std::vector<lb_slot>& slots) : Slots(std::span<const lb_slot>(slots)) {}  // NOLINT: implicit by intent

  [[nodiscard]] std::size_t size() const { return !kept_ ? 0 : kept_->whole.empty() ? kept_->pairs.size() : kept_->whole.size(); }
  lb_slot operator[](std::size_t index) const { return kept_->whole.empty() ? kept_->slot(kept_->pairs[index]) : kept_->whole[index]; }
  [[nodiscard]] std::vector<lb_slot> rows() const;
  // Is test(index, slot) true of each?
  template <typename Test>
  [[nodiscard]] bool all(const Test& test) const {
    if (!kept_) return true;
    for (std::size_t i = 0; i < kept_->whole.size(); ++i)
      if (!test(i, kept_->whole[i])) return false;
    for (std::size_t i = 0; i < kept_->pairs.size(); ++i)
      if (!test(i, kept_->slot(kept_->pairs[i]))) return false;
    return true;
  }
  // This one's own from then on.
  void set(std::size_t index, const lb_slot& slot);

  [[nodiscard]] bool shares(const Slots& other) const { return kept_ == other.kept_; }
  friend bool same_slots(const Slots& left, const Slots& right);

 private:
  struct Kept {
    std::vector<std::uint32_t> ids;    // in the order in which they appear
    std::vector<std::uint16_t> pairs;  // of indexes into `ids`: the first in the low byte
    std::vector<lb_slot> whole;        // instead, where there are more ids than a byte tells apart
    [[nodiscard]] lb_slot slot(std::uint16_t pair) const { return {ids[pair & 0xff], ids[pair >> 8]}; }
  };

  std::shared_ptr<const Kept> kept_;  // null: none
};

// Remembers what fill_slots() gave for which candidates, so that a change costs as much as the services that it
// touches. With it and without it the slots are the same.
class SlotMemory {
 public:
  // As fill_slots(), as rows of the table.
  Slots fill(std::span<const SlotCandidate> candidates, std::uint32_t count);
  // Forgets what was not asked for since the last call of this.
  void forget_unused();
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::vector<SlotCandidate> candidates;
    Slots slots;
    bool used = true;
  };
  std::unordered_map<std::uint64_t, Entry> entries_;  // by a hash of the number of slots and the candidates' ids
};

}  // namespace xlb
