// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/verdict.hpp"

#include <array>
#include <cstddef>

#include "maps/abi.h"

namespace xlb {
namespace {

template <std::size_t size>
consteval std::array<char, size> lower_case(const char (&name)[size]) {
  std::array<char, size> result{};
  for (std::size_t i = 0; i < size; ++i) {
    result[i] = name[i] >= 'A' && name[i] <= 'Z' ? static_cast<char>(name[i] - 'A' + 'a') : name[i];
  }
  return result;
}

#define VERDICT(name, outcome, text) constexpr auto name_##name = lower_case(#name);
#include "maps/verdicts.def"
#undef VERDICT

#define VERDICT(name, outcome, text) VerdictText{name_##name.data(), #outcome, text},
constexpr std::array verdict_texts{
#include "maps/verdicts.def"
};
#undef VERDICT
static_assert(verdict_texts.size() == XLB_VERDICT_COUNT);

}  // namespace

std::span<const VerdictText> verdicts() {
  return verdict_texts;
}

}  // namespace xlb
