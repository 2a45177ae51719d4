// SPDX-License-Identifier: Apache-2.0
// Rows of the contract compared byte for byte: their padding is explicit and zero.
#pragma once

#include <cstring>
#include <type_traits>
#include <vector>

#include "maps/abi.h"

namespace xlb {

template <typename Row>
bool same_row(const Row& left, const Row& right) {
  static_assert(std::is_trivially_copyable_v<Row>);
  return std::memcmp(&left, &right, sizeof(Row)) == 0;
}

inline bool same_slots(const std::vector<lb_slot>& left, const std::vector<lb_slot>& right) {
  return left.size() == right.size() &&
         (left.empty() || std::memcmp(left.data(), right.data(), left.size() * sizeof(lb_slot)) == 0);
}

// In use: by services, or by flows that it still drains.
inline bool live(const lb_backend& backend) {
  return backend.flags != 0;
}

}  // namespace xlb
