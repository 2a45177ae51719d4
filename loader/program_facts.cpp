// SPDX-License-Identifier: Apache-2.0
#include "loader/program_facts.hpp"

#include <bpf/bpf.h>

#include <algorithm>

#include "loader/file.hpp"

namespace xlb {

bool ProgramFacts::uses(std::uint32_t map_id) const {
  return map_id != 0 && std::find(maps.begin(), maps.end(), map_id) != maps.end();
}

std::string ProgramFacts::text() const {
  return (name.empty() ? std::string("a program") : name) + " (program id " + std::to_string(id) + ")";
}

ProgramFacts program_facts(std::uint32_t id) {
  ProgramFacts facts;
  facts.id = id;
  const File program(bpf_prog_get_fd_by_id(id));
  if (!program) return facts;
  bpf_prog_info info{};
  __u32 size = sizeof info;
  facts.maps.resize(64);
  info.nr_map_ids = static_cast<__u32>(facts.maps.size());
  info.map_ids = reinterpret_cast<__u64>(facts.maps.data());
  if (bpf_obj_get_info_by_fd(program.get(), &info, &size) != 0) {
    facts.maps.clear();
    return facts;
  }
  facts.name = info.name;
  facts.maps.resize(std::min<std::size_t>(info.nr_map_ids, facts.maps.size()));
  return facts;
}

std::uint32_t program_id(int program) {
  bpf_prog_info info{};
  __u32 size = sizeof info;
  return bpf_obj_get_info_by_fd(program, &info, &size) == 0 ? info.id : 0;
}

std::uint32_t map_id(int map) {
  bpf_map_info info{};
  __u32 size = sizeof info;
  return bpf_obj_get_info_by_fd(map, &info, &size) == 0 ? info.id : 0;
}

}  // namespace xlb
