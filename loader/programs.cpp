// SPDX-License-Identifier: Apache-2.0
#include "loader/programs.hpp"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <vector>

#include <xdp_lb.skel.h>
#include "loader/kernel_features.hpp"
#include "maps/abi.h"

namespace xlb {
namespace {

struct Destroy {
  void operator()(xdp_lb_bpf* skeleton) const { xdp_lb_bpf__destroy(skeleton); }
};
using Skeleton = std::unique_ptr<xdp_lb_bpf, Destroy>;

// What libbpf has to say goes into the error, never to the terminal. Loads of one process take turns.
std::mutex load_turn;
std::string load_words;

int collect(libbpf_print_level level, const char* format, va_list arguments) {
  if (level != LIBBPF_WARN) return 0;
  char line[2048];
  const int length = std::vsnprintf(line, sizeof line, format, arguments);
  if (length > 0 && load_words.size() < 65536) load_words += line;
  return 0;
}

std::string last_words() {
  // The verifier's verdict stands before its statistics ("processed 123 insns"), at the end of a long log.
  std::string verdict, line;
  std::vector<std::string> lines;
  for (const char c : load_words + "\n") {
    if (c != '\n') {
      line += c;
      continue;
    }
    if (!line.empty()) lines.push_back(line);
    line.clear();
  }
  for (std::size_t at = 0; at < lines.size(); ++at) {
    if (lines[at].starts_with("processed ") && at > 0) return lines[at - 1];
    if (verdict.empty() && lines[at].find("failed") != std::string::npos) verdict = lines[at];
  }
  return verdict;
}

// FNV-1a of the object: which build is it?
std::string build_stamp() {
  std::size_t size = 0;
  const auto* bytes = static_cast<const unsigned char*>(xdp_lb_bpf__elf_bytes(&size));
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (std::size_t at = 0; at < size; ++at) hash = (hash ^ bytes[at]) * 0x100000001b3u;
  char text[32];
  std::snprintf(text, sizeof text, "build-%016llx", static_cast<unsigned long long>(hash));
  return text;
}

bool is_socket_program(const bpf_program* program) {
  return std::string_view(bpf_program__section_name(program)).starts_with("cgroup/");
}

std::uint64_t memory_bytes() {
  struct sysinfo info {};
  return sysinfo(&info) == 0 ? static_cast<std::uint64_t>(info.totalram) * info.mem_unit : 0;
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

// All tables or none: they appear under their final name at once.
Result<void> pin_tables(bpf_object* object, const Pins& pins) {
  const std::string beside = pins.tables() + "-new";
  if (auto gone = remove_pin(beside); !gone) return gone;
  if (auto made = make_folder(beside); !made) return made;
  const auto pin_all = [&]() -> Result<void> {
    bpf_map* map = nullptr;
    bpf_object__for_each_map(map, object) {
      if (bpf_map__is_internal(map)) continue;
      const std::string path = beside + "/" + bpf_map__name(map);
      if (bpf_obj_pin(bpf_map__fd(map), path.c_str()) != 0) return system_error("pin " + path);
      if (std::string_view(bpf_map__name(map)) == "xlb_node") {
        if (auto written = write_first_node(bpf_map__fd(map)); !written) return written;
      }
    }
    return rename_pin(beside, pins.tables());
  };
  auto done = pin_all();
  if (!done) (void)remove_pin(beside);
  return done;
}

Error explain_load(int number) {
  const std::string missing = missing_for_links();
  if (!missing.empty()) return Error{missing};
  if (number == EPERM) {
    return Error{
        "the kernel refused to load programs (not permitted): is kernel.unprivileged_bpf_disabled, lockdown or "
        "RLIMIT_MEMLOCK in the way? See ulimit -l"};
  }
  if (number == ENOMEM) return Error{"not enough memory for the tables"};
  const std::string words = last_words();
  return Error{std::string(std::strerror(number)) + (words.empty() ? "" : ": " + words)};
}

}  // namespace

std::uint32_t flow_table_entries(std::uint64_t memory_bytes) {
  // A preallocated LRU element: 48 bytes of header, key and value, and up to two pointers of 16 bytes in the buckets.
  constexpr std::uint64_t bytes_an_entry = 48 + sizeof(lb_flow_key) + sizeof(lb_flow) + 32;
  constexpr std::uint64_t least = 65536, most = 1u << 20, share = 64;
  return static_cast<std::uint32_t>(std::clamp(memory_bytes / share / bytes_an_entry, least, most));
}

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
  return exists(pins.programs() + "/" + build_stamp());
}

Result<Programs> Programs::load(const Pins& pins, const DataPlaneOptions& options) {
  const std::lock_guard turn(load_turn);
  load_words.clear();
  const libbpf_print_fn_t before = libbpf_set_print(collect);
  const auto restore = [](libbpf_print_fn_t* print) { libbpf_set_print(*print); };
  libbpf_print_fn_t kept = before;
  const std::unique_ptr<libbpf_print_fn_t, decltype(restore)> putting_back(&kept, restore);

  Programs programs;
  const Skeleton skeleton(xdp_lb_bpf__open());
  if (!skeleton) return system_error("open the BPF object in this binary").in("load the programs");
  const bool have_tables = exists(pins.tables());
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, skeleton->obj) {
    if (bpf_map__is_internal(map)) continue;
    const std::string name = bpf_map__name(map);
    if (have_tables) {
      if (auto used = reuse(map, pins); !used) return used.error();
    } else if (name == "xlb_flows") {
      const std::uint32_t entries =
          options.flow_entries != 0 ? options.flow_entries : flow_table_entries(memory_bytes());
      if (bpf_map__set_max_entries(map, entries) != 0) return system_error("size " + name);
    }
  }
  programs.without_sockets_ = missing_for_sockets();
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton->obj) {
    if (is_socket_program(program)) bpf_program__set_autoload(program, programs.without_sockets_.empty());
  }
  if (const int failed = xdp_lb_bpf__load(skeleton.get()); failed != 0) {
    return explain_load(-failed).in("load the programs");
  }
  if (!have_tables) {
    if (auto pinned = pin_tables(skeleton->obj, pins); !pinned) return pinned.error();
  }
  bpf_object__for_each_program(program, skeleton->obj) {
    if (!bpf_program__autoload(program)) continue;
    const int copy = fcntl(bpf_program__fd(program), F_DUPFD_CLOEXEC, 0);
    if (copy < 0) return system_error("keep a program");
    programs.files_.emplace(bpf_program__name(program), File(copy));
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
  return make_folder(pins.programs() + "/" + build_stamp());
}

int Programs::get(std::string_view name) const {
  const auto found = files_.find(name);
  return found == files_.end() ? -1 : found->second.get();
}

}  // namespace xlb
