// SPDX-License-Identifier: Apache-2.0
// The verdict list of the contract for user space: names as the command line and metrics spell them.
#pragma once

#include <cstdint>
#include <span>

namespace xlb {

struct VerdictText {
  const char* name;     // "arp_reply"
  const char* outcome;  // "answer", "forward", "refuse", "drop", "pass", "note"
  const char* text;     // one sentence
};

// Indexed by enum xlb_verdict.
std::span<const VerdictText> verdicts();

}  // namespace xlb
