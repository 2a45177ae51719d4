// SPDX-License-Identifier: Apache-2.0
// xlb_slots in memory of this process: a service has up to 65,536 slots, too many for a system call each. A slot is
// written as one word of 64 bits, so that a program sees it whole or not yet.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "loader/mapped_array.hpp"
#include "maps/abi.h"
#include "userspace/core/result.hpp"
#include "userspace/core/slots.hpp"

namespace xlb {

class SlotArray {
 public:
  // `entries`: what the map was made with.
  static Result<SlotArray> open(int map_fd, std::uint32_t entries);
  // Only the pages with these slots: to map all of them takes longer than to write a few.
  static Result<SlotArray> open(int map_fd, std::uint32_t entries, std::uint32_t base, std::size_t count);

  // These fail when `base` + the number of slots goes past the end, or beyond what was opened; nothing is held there.
  Result<void> write(std::uint32_t base, std::span<const lb_slot> slots);
  [[nodiscard]] bool holds(std::uint32_t base, const Slots& slots) const;
  [[nodiscard]] Result<std::vector<lb_slot>> read(std::uint32_t base, std::uint32_t count) const;

 private:
  explicit SlotArray(MappedArray<std::uint64_t> words, std::uint32_t first = 0) : words_(std::move(words)), first_(first) {}
  [[nodiscard]] Result<void> within(std::uint32_t base, std::size_t count) const;
  [[nodiscard]] std::uint64_t& word(std::size_t slot) const { return words_[static_cast<std::uint32_t>(slot - first_)]; }

  MappedArray<std::uint64_t> words_;
  std::uint32_t first_ = 0;  // of the slots that are mapped
};

}  // namespace xlb
