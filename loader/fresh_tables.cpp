// SPDX-License-Identifier: Apache-2.0
#include "loader/fresh_tables.hpp"

#include <bpf/bpf.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "loader/bpf_object.hpp"
#include "loader/kernel_data_plane.hpp"
#include "maps/abi.h"

namespace xlb {
namespace {

// By far the largest table: clearing its memory takes as long as that of all others.
constexpr std::string_view flow_table = "xlb_flows";

std::uint64_t memory_bytes() {
  struct sysinfo info {};
  return sysinfo(&info) == 0 ? static_cast<std::uint64_t>(info.totalram) * info.mem_unit : 0;
}

Result<void> write_first_node(int map) {
  lb_node node{};
  node.lease_boot_ns = XLB_FOREVER;
  node.epoch = 1;
  node.tcp_idle_ns = XLB_TCP_IDLE_DEFAULT_NS;
  node.trace_every = 1;
  node.reject_per_second = XLB_REJECT_PER_SECOND_DEFAULT;
  node.abi_version = XLB_ABI_VERSION;
  const std::uint32_t key = 0;
  if (bpf_map_update_elem(map, &key, &node, BPF_ANY) != 0) return system_error("write xlb_node");
  return {};
}

// An object that makes the tables that `suits`, and no program.
template <typename Suits>
Result<BpfObject> maker(const Suits& suits) {
  auto object = BpfObject::open();
  if (!object) return object;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object->get()) bpf_program__set_autoload(program, false);
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object->get()) bpf_map__set_autocreate(map, suits(std::string_view(bpf_map__name(map))));
  return object;
}

Result<void> pin_made(const BpfObject& object, const std::string& folder) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object.get()) {
    if (bpf_map__is_internal(map) || !bpf_map__autocreate(map)) continue;
    const std::string path = folder + "/" + bpf_map__name(map);
    if (bpf_obj_pin(bpf_map__fd(map), path.c_str()) != 0) return system_error("pin " + path);
    if (std::string_view(bpf_map__name(map)) != "xlb_node") continue;
    if (auto written = write_first_node(bpf_map__fd(map)); !written) return written;
  }
  return {};
}

}  // namespace

std::uint32_t flow_table_entries(std::uint64_t memory_bytes) {
  // A preallocated LRU element: 48 bytes of header, key and value, and up to two pointers of 16 bytes in the buckets.
  constexpr std::uint64_t bytes_an_entry = 48 + sizeof(lb_flow_key) + sizeof(lb_flow) + 32;
  constexpr std::uint64_t least = 65536, most = 1u << 20, share = 64;
  return static_cast<std::uint32_t>(std::clamp(memory_bytes / share / bytes_an_entry, least, most));
}

Result<void> make_tables(const Pins& pins, const TableSizes& sizes) {
  auto flows = maker([](std::string_view name) { return name == flow_table; });
  if (!flows) return flows.error();
  auto others = maker([](std::string_view name) { return name != flow_table; });
  if (!others) return others.error();
  TableSizes wanted = sizes;
  wanted.emplace("flows", flow_table_entries(memory_bytes()));
  // A row of counters for each service.
  if (const auto services = wanted.find("services"); services != wanted.end()) wanted["svc_stats"] = services->second;
  for (const auto& [name, entries] : wanted) {
    const BpfObject& object = "xlb_" + name == flow_table ? *flows : *others;
    bpf_map* table = bpf_object__find_map_by_name(object.get(), ("xlb_" + name).c_str());
    if (bpf_map__set_max_entries(table, entries) != 0) return system_error("size xlb_" + name);
  }
  Result<void> made_flows, made_others;
  side_by_side([&] { made_flows = flows->load(); }, [&] { made_others = others->load(); });
  if (!made_flows) return made_flows;
  if (!made_others) return made_others;

  const std::string beside = pins.tables() + "-new";
  if (auto gone = remove_pin(beside); !gone) return gone;
  if (auto made = make_folder(beside); !made) return made;
  auto done = pin_made(*flows, beside);
  if (done) done = pin_made(*others, beside);
  if (done) done = rename_pin(beside, pins.tables());
  if (!done) (void)remove_pin(beside);
  return done;
}

}  // namespace xlb
