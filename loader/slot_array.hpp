// SPDX-License-Identifier: Apache-2.0
// xlb_slots in memory of this process: a service has up to 65,536 slots, too many for a system call each. A slot is
// written as one word of 64 bits, so that a program sees it whole or not yet.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "maps/abi.h"
#include "userspace/core/result.hpp"

namespace xlb {

class SlotArray {
 public:
  // `entries`: what the map was made with.
  static Result<SlotArray> open(int map_fd, std::uint32_t entries);

  // Both fail when `base` + the number of slots goes past the end.
  Result<void> write(std::uint32_t base, std::span<const lb_slot> slots);
  [[nodiscard]] Result<std::vector<lb_slot>> read(std::uint32_t base, std::uint32_t count) const;

 private:
  struct Unmap {
    std::size_t bytes = 0;
    void operator()(std::uint64_t* words) const;
  };
  SlotArray(std::uint64_t* words, std::uint32_t entries);
  [[nodiscard]] Result<void> within(std::uint32_t base, std::size_t count) const;

  std::unique_ptr<std::uint64_t, Unmap> words_;
  std::uint32_t entries_ = 0;
};

}  // namespace xlb
