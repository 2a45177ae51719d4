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

  // These fail when `base` + the number of slots goes past the end; nothing is held there.
  Result<void> write(std::uint32_t base, std::span<const lb_slot> slots);
  [[nodiscard]] bool holds(std::uint32_t base, const Slots& slots) const;
  [[nodiscard]] Result<std::vector<lb_slot>> read(std::uint32_t base, std::uint32_t count) const;

 private:
  explicit SlotArray(MappedArray<std::uint64_t> words) : words_(std::move(words)) {}
  [[nodiscard]] Result<void> within(std::uint32_t base, std::size_t count) const;

  MappedArray<std::uint64_t> words_;
};

}  // namespace xlb
