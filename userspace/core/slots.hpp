// SPDX-License-Identifier: Apache-2.0
// Rendezvous hashing: slot i lists the two backends with the highest hash of (i, address, port). The same endpoints give
// the same slots on every node and architecture; removing a backend changes only the slots that listed it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "userspace/core/address.hpp"

namespace xlb {

struct SlotCandidate {
  Address address;
  std::uint16_t port = 0;  // host order
  std::uint32_t id = 0;    // what is written into the slot; takes no part in the hash
};

struct SlotPair {
  std::uint32_t first = 0;
  std::uint32_t second = 0;
  auto operator<=>(const SlotPair&) const = default;
};

// 0 for none, 1 for one backend, otherwise a power of two that keeps shares even.
std::uint32_t slot_count(std::size_t backends);

std::vector<SlotPair> fill_slots(std::span<const SlotCandidate> candidates);

}  // namespace xlb
