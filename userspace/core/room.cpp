// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/room.hpp"

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace xlb {

void Ids::reserve(std::uint32_t id) {
  if (id < states_.size() && states_[id] == State::free) states_[id] = State::installed;
}

bool Ids::take(std::uint32_t id) {
  if (id == 0 || id >= states_.size() || states_[id] == State::taken) return false;
  states_[id] = State::taken;
  return true;
}

std::uint32_t Ids::find(State state, std::uint32_t start) const {
  if (states_.size() < 2) return 0;
  const auto first = states_.begin() + 1;
  const auto middle = first + static_cast<std::ptrdiff_t>((start - 1) % (states_.size() - 1));
  auto found = std::find(middle, states_.end(), state);
  if (found == states_.end()) {
    found = std::find(first, middle, state);
    if (found == middle) return 0;
  }
  return static_cast<std::uint32_t>(found - states_.begin());
}

std::uint32_t Ids::take_next(std::uint32_t start) {
  std::uint32_t id = no_free_left_ ? 0 : find(State::free, start);
  if (id == 0) {
    no_free_left_ = true;
    id = find(State::installed, start);
  }
  if (id != 0) states_[id] = State::taken;
  return id;
}

Stretches::Stretches(std::uint32_t limit) {
  if (limit > 0) gaps_[0] = limit;
}

bool Stretches::take(std::uint32_t base, std::uint32_t count) {
  auto gap = gaps_.upper_bound(base);
  if (gap == gaps_.begin() || count == 0) return false;
  --gap;
  const std::uint64_t gap_end = std::uint64_t{gap->first} + gap->second;
  const std::uint64_t end = std::uint64_t{base} + count;
  if (end > gap_end) return false;
  if (gap->first < base) {
    gap->second = base - gap->first;
  } else {
    gaps_.erase(gap);
  }
  if (end < gap_end) gaps_[static_cast<std::uint32_t>(end)] = static_cast<std::uint32_t>(gap_end - end);
  return true;
}

std::optional<std::uint32_t> Stretches::take_first(std::uint32_t count) {
  const auto fits = std::find_if(gaps_.begin(), gaps_.end(), [&](const auto& gap) { return gap.second >= count; });
  if (fits == gaps_.end()) return std::nullopt;
  const std::uint32_t base = fits->first;
  take(base, count);
  return base;
}

void Stretches::take_rest(std::uint32_t base, std::uint32_t count) {
  const std::uint64_t end = std::uint64_t{base} + count;
  auto gap = gaps_.upper_bound(base);
  if (gap != gaps_.begin()) --gap;
  while (gap != gaps_.end() && gap->first < end) {
    const std::uint64_t from = std::max(gap->first, base);
    const std::uint64_t to = std::min(std::uint64_t{gap->first} + gap->second, end);
    ++gap;
    if (from < to) take(static_cast<std::uint32_t>(from), static_cast<std::uint32_t>(to - from));
  }
}

}  // namespace xlb
