// SPDX-License-Identifier: Apache-2.0
// Whose program is it? Names and tables of programs that sit on an interface, ours and others'.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace xlb {

struct ProgramFacts {
  std::uint32_t id = 0;
  std::string name;                 // empty: the kernel would not tell (needs CAP_SYS_ADMIN)
  std::vector<std::uint32_t> maps;  // ids

  [[nodiscard]] bool named_as_ours() const { return name.starts_with("xlb_"); }
  [[nodiscard]] bool uses(std::uint32_t map_id) const;
  [[nodiscard]] std::string text() const;  // "their_xdp (program id 17)"
};

// A program that goes while it is asked for is one without a name.
ProgramFacts program_facts(std::uint32_t id);
std::uint32_t program_id(int program);
// 0: not a map, or not open.
std::uint32_t map_id(int map);

}  // namespace xlb
