// SPDX-License-Identifier: Apache-2.0
#include "loader/programs.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>

#include <cstdint>
#include <functional>

#include "loader/bpf_object.hpp"
#include "loader/fresh_tables.hpp"
#include "loader/kernel_features.hpp"
#include "maps/abi.h"

namespace xlb {
namespace {

// Verifying this one takes as long as verifying all others.
constexpr std::string_view largest = "xlb_lan_tc";

bool is_socket_program(const bpf_program* program) {
  return std::string_view(bpf_program__section_name(program)).starts_with("cgroup/");
}

Result<bpf_map_info> map_shape(int map) {
  bpf_map_info info{};
  __u32 size = sizeof info;
  if (bpf_obj_get_info_by_fd(map, &info, &size) != 0) return system_error("ask about a table");
  return info;
}

Result<void> reuse(bpf_map* map, const Pins& pins) {
  const std::string name = bpf_map__name(map);
  const std::string path = pins.tables() + "/" + name;
  auto pinned = open_pin(path);
  if (!pinned) {
    return Error{pinned.error().text +
                 ": pins have been removed there; take the rest away with xdp-lb detach --all, then "
                 "attach again"};
  }
  auto shape = map_shape(pinned->get());
  if (!shape) return shape.error().in(path);
  if (shape->type != bpf_map__type(map) || shape->key_size != bpf_map__key_size(map) ||
      shape->value_size != bpf_map__value_size(map) || shape->map_flags != bpf_map__map_flags(map)) {
    return Error{
        "the pinned table " + path +
        " has another layout than this xdp-lb's, though the same ABI version: take it away with xdp-lb detach "
        "--all, then attach again (connections are lost)"};
  }
  // Sizes are the machine's or the operator's choice when the table was made, and stay.
  if (bpf_map__set_max_entries(map, shape->max_entries) != 0) return system_error("take the size of " + path);
  if (bpf_map__reuse_fd(map, pinned->get()) != 0) return system_error("use the pinned table " + path);
  return {};
}

using Files = std::map<std::string, File, std::less<>>;

// Those of the programs that `suits`, against the tables that are pinned.
template <typename Suits>
Result<Files> load_some(const Pins& pins, const Suits& suits) {
  auto object = BpfObject::open();
  if (!object) return object.error();
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object->get()) {
    if (bpf_map__is_internal(map)) continue;
    if (auto used = reuse(map, pins); !used) return used.error();
  }
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object->get()) bpf_program__set_autoload(program, suits(program));
  if (auto loaded = object->load(); !loaded) return loaded.error().in("load the programs");
  Files files;
  bpf_object__for_each_program(program, object->get()) {
    if (!bpf_program__autoload(program)) continue;
    const int copy = fcntl(bpf_program__fd(program), F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return system_error("keep a program");
    files.emplace(bpf_program__name(program), File(copy));
  }
  return files;
}

}  // namespace

Result<Programs> Programs::open(const Pins& pins) {
  auto names = list_folder(pins.programs());
  if (!names) return names.error();
  Programs programs;
  for (const std::string& name : *names) {
    if (!name.starts_with("xlb_") || name.ends_with("-new")) continue;
    auto file = open_pin(pins.programs() + "/" + name);
    if (!file) return file.error();
    programs.files_.emplace(name, std::move(*file));
  }
  if (programs.files_.empty()) {
    return Error{"no programs are pinned under " + pins.programs() + ": run xdp-lb attach again"};
  }
  if (programs.get("xlb_connect4") < 0) programs.without_sockets_ = missing_for_sockets();
  return programs;
}

bool Programs::pinned_are_current(const Pins& pins) {
  return exists(pins.programs() + "/" + BpfObject::stamp());
}

Result<Programs> Programs::load(const Pins& pins, const TableSizes& sizes) {
  const bool had_tables = exists(pins.tables());
  if (!had_tables) {
    if (auto made = make_tables(pins, sizes); !made) return made.error().in("make the tables");
  }
  Programs programs;
  programs.without_sockets_ = missing_for_sockets();
  const bool sockets = programs.without_sockets_.empty();
  const auto is_largest = [](const bpf_program* program) { return bpf_program__name(program) == largest; };
  const auto is_other = [&](const bpf_program* program) {
    return !is_largest(program) && (sockets || !is_socket_program(program));
  };
  Result<Files> first = Files(), others = Files();
  side_by_side([&] { first = load_some(pins, is_largest); }, [&] { others = load_some(pins, is_other); });
  for (Result<Files>* some : {&others, &first}) {
    if (!*some) {
      if (!had_tables) (void)remove_pin(pins.tables());
      return some->error();
    }
    programs.files_.merge(**some);
  }
  return programs;
}

Result<void> Programs::pin(const Pins& pins) const {
  if (auto made = make_folder(pins.programs()); !made) return made;
  auto names = list_folder(pins.programs());
  if (!names) return names.error();
  // Without a stamp for a moment: a crash in between makes the next attach load again.
  for (const std::string& name : *names) {
    if (name.starts_with("build-") || !files_.contains(name)) {
      if (auto gone = remove_pin(pins.programs() + "/" + name); !gone) return gone;
    }
  }
  for (const auto& [name, file] : files_) {
    if (auto pinned = pin_object(file.get(), pins.programs() + "/" + name); !pinned) return pinned;
  }
  return make_folder(pins.programs() + "/" + BpfObject::stamp());
}

int Programs::get(std::string_view name) const {
  const auto found = files_.find(name);
  return found == files_.end() ? -1 : found->second.get();
}

}  // namespace xlb
