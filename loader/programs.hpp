// SPDX-License-Identifier: Apache-2.0
// The programs: loaded from the object inside this binary, against the tables that are pinned or onto new ones.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "loader/file.hpp"
#include "loader/pins.hpp"
#include "userspace/core/result.hpp"
#include "userspace/core/table_sizes.hpp"

namespace xlb {

class Programs {
 public:
  // Those that are pinned. Fails when there are none.
  static Result<Programs> open(const Pins& pins);
  // Loads this binary's own. Tables that are not pinned yet are made of these sizes and pinned, all or none; the programs are not
  // pinned before pin() says so.
  static Result<Programs> load(const Pins& pins, const TableSizes& sizes = {});
  // Are the pinned programs of the very build that this binary holds?
  static bool pinned_are_current(const Pins& pins);

  // Makes them the programs in force for whoever attaches later.
  [[nodiscard]] Result<void> pin(const Pins& pins) const;

  // The descriptor; -1 when this kernel could not load it (socket programs only).
  [[nodiscard]] int get(std::string_view name) const;
  // Why there are no socket programs; empty: there are.
  [[nodiscard]] const std::string& without_sockets() const { return without_sockets_; }

 private:
  std::map<std::string, File, std::less<>> files_;
  std::string without_sockets_;
};

}  // namespace xlb
