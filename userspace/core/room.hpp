// SPDX-License-Identifier: Apache-2.0
// What is still free in a table: ids, and stretches of slots. What is installed is given out last.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <vector>

namespace xlb {

// Ids 1..limit-1.
class Ids {
 public:
  explicit Ids(std::uint32_t limit) : states_(limit, State::free) {}

  // In use by what is installed; whoever keeps it takes it by name.
  void reserve(std::uint32_t id);
  // Takes this very id; false when there is no such id or it is taken.
  bool take(std::uint32_t id);
  // The first free one from `start` on, round the end; after those, one that is installed and not kept. 0: none.
  std::uint32_t take_next(std::uint32_t start);

 private:
  enum class State : std::uint8_t { free, installed, taken };
  std::uint32_t find(State state, std::uint32_t start) const;

  std::vector<State> states_;
  bool no_free_left_ = false;
};

// Stretches of one array, first fit.
class Stretches {
 public:
  explicit Stretches(std::uint32_t limit);

  // Takes [base, base + count); false, and nothing done, unless all of it is free.
  bool take(std::uint32_t base, std::uint32_t count);
  std::optional<std::uint32_t> take_first(std::uint32_t count);
  // Takes whatever of [base, base + count) is still free.
  void take_rest(std::uint32_t base, std::uint32_t count);

 private:
  std::map<std::uint32_t, std::uint32_t> gaps_;  // base -> size
};

}  // namespace xlb
