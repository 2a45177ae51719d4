// SPDX-License-Identifier: Apache-2.0
// What must survive a reboot and is not declared: which service holds which address. <config-dir>/state.json,
// versioned, with a checksum, replaced atomically, owner-only.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "userspace/core/model.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

struct State {
  Assignments held;
  std::map<Address, std::string> conflicts;  // addresses found taken by somebody else, and by whom
  std::set<Address> probed;                  // addresses already probed once (RFC 5227): never again
};

// What was read the last time: a file that says the same again is not read into its parts again.
struct StateMemory {
  std::string text;
  State state;
};

// A missing file is an empty state. A damaged one is an error that says what to do; `set_aside` renames it to
// state.json.damaged so that the next start begins from what the kernel holds.
Result<State> read_state(const std::filesystem::path& file, StateMemory* memory = nullptr);
Result<void> write_state(const std::filesystem::path& file, const State& state);
Result<void> set_aside(const std::filesystem::path& file);

// The file's text.
std::string encode_state(const State& state);
Result<State> decode_state(std::string_view text);

}  // namespace xlb
