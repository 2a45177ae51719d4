// SPDX-License-Identifier: Apache-2.0
// A statement as bytes, before it is cut into pieces. Each piece carries incarnation and sequence besides.
//
//   node, version            text: a length byte and so many bytes, printable
//   flags                    1 draining, 2 listening, 4 deaf
//   mac                      6 bytes
//   addresses                count (1), each: 4 or 6, then 4 or 16 bytes
//   hears                    count (1), each a text
//   configuration            8 bytes
//   texts                    count (2), each a text: obstacles and names of `vips`, in the order of their first use
//   vips                     count (2), by address, each:
//     address, flags (1 eligible), obstacle (2: 0 none, else the n-th text), preference (4), digest (32), epoch (8),
//     handing_to (2, like obstacle)
//
// There is one spelling of each statement: decoding refuses every other, so nothing can be hidden in one.
#pragma once

#include <variant>

#include "userspace/core/result.hpp"
#include "userspace/core/statement.hpp"
#include "userspace/peers/octets.hpp"
#include "userspace/peers/refusal.hpp"

namespace xlb {

inline constexpr std::size_t kStatedVersion = 64;
inline constexpr std::size_t kBodyBytes = 1u << 20;  // the longest that the bounds of statement.hpp allow, rounded up

// Refused, with a sentence: what exceeds those bounds, and names that no node can have. Obstacles are cut to length,
// and what does not print in them becomes a blank.
Result<Octets> encode_body(const Statement& statement);
std::variant<Statement, Refusal> decode_body(std::span<const std::uint8_t> octets);

}  // namespace xlb
