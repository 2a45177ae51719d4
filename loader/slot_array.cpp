// SPDX-License-Identifier: Apache-2.0
#include "loader/slot_array.hpp"

#include <sys/mman.h>

#include <atomic>
#include <bit>
#include <string>

#include "loader/file.hpp"

namespace xlb {

static_assert(sizeof(lb_slot) == sizeof(std::uint64_t));

void SlotArray::Unmap::operator()(std::uint64_t* words) const {
  munmap(words, bytes);
}

SlotArray::SlotArray(std::uint64_t* words, std::uint32_t entries)
    : words_(words, Unmap{entries * sizeof(std::uint64_t)}), entries_(entries) {}

Result<SlotArray> SlotArray::open(int map_fd, std::uint32_t entries) {
  void* memory = mmap(nullptr, entries * sizeof(std::uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, map_fd, 0);
  if (memory == MAP_FAILED) return system_error("map table xlb_slots into memory");
  return SlotArray(static_cast<std::uint64_t*>(memory), entries);
}

Result<void> SlotArray::within(std::uint32_t base, std::size_t count) const {
  if (base <= entries_ && count <= entries_ - base) return {};
  return Error{"xlb_slots: slots " + std::to_string(base) + ".." + std::to_string(base + count - 1) +
               " are past the end: it was made for " + std::to_string(entries_) + " entries"};
}

Result<void> SlotArray::write(std::uint32_t base, std::span<const lb_slot> slots) {
  if (auto fits = within(base, slots.size()); !fits) return fits;
  std::uint64_t* word = words_.get() + base;
  for (const lb_slot& slot : slots) {
    std::atomic_ref(*word++).store(std::bit_cast<std::uint64_t>(slot), std::memory_order_release);
  }
  return {};
}

Result<std::vector<lb_slot>> SlotArray::read(std::uint32_t base, std::uint32_t count) const {
  if (auto fits = within(base, count); !fits) return fits.error();
  std::vector<lb_slot> slots;
  slots.reserve(count);
  std::uint64_t* word = words_.get() + base;
  for (std::uint32_t i = 0; i < count; ++i) {
    slots.push_back(std::bit_cast<lb_slot>(std::atomic_ref(*word++).load(std::memory_order_relaxed)));
  }
  return slots;
}

}  // namespace xlb
