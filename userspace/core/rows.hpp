// SPDX-License-Identifier: Apache-2.0
// Rows of the contract compared byte for byte: their padding is explicit and zero.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "maps/abi.h"

namespace xlb {

template <typename Row>
bool same_row(const Row& left, const Row& right) {
  static_assert(std::is_trivially_copyable_v<Row>);
  return std::memcmp(&left, &right, sizeof(Row)) == 0;
}

// Where in xlb_slots; a count of 0: nowhere.
struct SlotRange {
  std::uint32_t base = 0;
  std::uint32_t count = 0;
  bool operator==(const SlotRange&) const = default;
};

inline SlotRange slots_of(const lb_service& service) {
  return {service.slot_base, service.slot_count};
}

// The range over local backends where it is another one than that over all.
inline SlotRange own_local_slots(const lb_service& service) {
  const SlotRange local{service.local_slot_base, service.local_slot_count};
  return local == slots_of(service) ? SlotRange{} : local;
}

// In use: by services, or by flows that it still drains.
inline bool live(const lb_backend& backend) {
  return backend.flags != 0;
}

}  // namespace xlb
