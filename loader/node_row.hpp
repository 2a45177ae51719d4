// SPDX-License-Identifier: Apache-2.0
// The one row of xlb_node. The daemon renews its lease while commands start a trial or a trace: each writes its own field, so
// that nobody carries another's field back to what it was.
#pragma once

#include <cstdint>
#include <utility>

#include "loader/mapped_array.hpp"
#include "maps/abi.h"
#include "userspace/core/result.hpp"

namespace xlb {

class NodeRow {
 public:
  static Result<NodeRow> open(int map_fd);

  // Each field whole; one field and the next may be of different instants.
  [[nodiscard]] lb_node read() const;
  void set_lease(std::uint64_t boot_ns);
  void set_epoch(std::uint64_t epoch);
  void set_try(std::uint64_t mono_ns);
  void set_trace(std::uint64_t until_mono_ns, std::uint32_t every);

 private:
  explicit NodeRow(MappedArray<lb_node> rows) : rows_(std::move(rows)) {}
  [[nodiscard]] lb_node& row() const { return rows_[0]; }

  MappedArray<lb_node> rows_;
};

}  // namespace xlb
