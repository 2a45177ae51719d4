// SPDX-License-Identifier: Apache-2.0
// Why something that came as a statement was not taken in. Each is counted; none is worth more than that by itself.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace xlb {

enum class Refusal : std::uint8_t {
  // Expected on a healthy network: statements go out three times, by broadcast too, and are passed on.
  duplicate,
  late,
  came_back,
  // The frame.
  wrong_length,
  other_version,
  unknown_form,
  passed_on_twice,
  impossible_piece,
  // Who sent it.
  no_key_here,
  no_key_there,
  other_key,
  wrong_seal,
  stranger,
  not_its_name,
  own_name,
  // When.
  replayed,
  second_sender,
  piece_differs,
  abandoned,
  crowded_out,
  // What it says.
  oversized,
  malformed,
};
inline constexpr std::size_t kRefusals = static_cast<std::size_t>(Refusal::malformed) + 1;

struct RefusalText {
  const char* name;  // for counters: "wrong_seal"
  const char* text;  // for people
};
RefusalText refusal_text(Refusal refusal);
// Nothing is wrong, it was only not needed.
inline bool harmless(Refusal refusal) {
  return refusal <= Refusal::came_back;
}

}  // namespace xlb
