// SPDX-License-Identifier: Apache-2.0
#include "loader/slot_array.hpp"

#include <unistd.h>

#include <atomic>
#include <bit>
#include <string>
#include <utility>

namespace xlb {

static_assert(sizeof(lb_slot) == sizeof(std::uint64_t));

namespace {

Result<void> inside(std::uint32_t base, std::size_t count, std::uint32_t first, std::uint32_t entries) {
  if (base >= first && base - first <= entries && count <= entries - (base - first)) return {};
  return Error{"xlb_slots: slots " + std::to_string(base) + ".." + std::to_string(base + count - 1) +
               " are past the end: it was made for " + std::to_string(entries) + " entries"};
}

}  // namespace

Result<SlotArray> SlotArray::open(int map_fd, std::uint32_t entries) {
  auto words = MappedArray<std::uint64_t>::open(map_fd, entries, "xlb_slots");
  if (!words) return words.error();
  return SlotArray(std::move(*words));
}

Result<SlotArray> SlotArray::open(int map_fd, std::uint32_t entries, std::uint32_t base, std::size_t count) {
  if (auto fits = inside(base, count, 0, entries); !fits) return fits.error();
  const auto page = static_cast<std::uint32_t>(sysconf(_SC_PAGESIZE) / static_cast<long>(sizeof(std::uint64_t)));
  const std::uint32_t first = base - base % page;
  auto words = MappedArray<std::uint64_t>::open(map_fd, base - first + static_cast<std::uint32_t>(count), "xlb_slots", first);
  if (!words) return words.error();
  return SlotArray(std::move(*words), first);
}

Result<void> SlotArray::within(std::uint32_t base, std::size_t count) const {
  return inside(base, count, first_, words_.entries());
}

Result<void> SlotArray::write(std::uint32_t base, std::span<const lb_slot> slots) {
  if (auto fits = within(base, slots.size()); !fits) return fits;
  for (const lb_slot& slot : slots) {
    std::atomic_ref(word(base++)).store(std::bit_cast<std::uint64_t>(slot), std::memory_order_release);
  }
  return {};
}

bool SlotArray::holds(std::uint32_t base, const Slots& slots) const {
  if (!within(base, slots.size())) return false;
  return slots.all([&](std::size_t index, const lb_slot& slot) {
    return std::atomic_ref(word(base + index)).load(std::memory_order_relaxed) == std::bit_cast<std::uint64_t>(slot);
  });
}

Result<std::vector<lb_slot>> SlotArray::read(std::uint32_t base, std::uint32_t count) const {
  if (auto fits = within(base, count); !fits) return fits.error();
  std::vector<lb_slot> slots;
  slots.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    slots.push_back(std::bit_cast<lb_slot>(std::atomic_ref(word(base + i)).load(std::memory_order_relaxed)));
  }
  return slots;
}

}  // namespace xlb
