// SPDX-License-Identifier: Apache-2.0
#include "tests/packet/rig.hpp"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include <xdp_lb.skel.h>

#ifndef BPF_F_TEST_SKB_CHECKSUM_COMPLETE
#define BPF_F_TEST_SKB_CHECKSUM_COMPLETE (1U << 2)
#endif

namespace xlb {
namespace {

constexpr std::uint32_t kSmallTable = 16384;  // LRU tables below this evict early
constexpr std::uint32_t kVips = 3;  // ids 0 to 2; no VIP has 0
constexpr std::uint32_t kServices = 256, kSlots = 65536, kBackends = 1024;

// A table operation of a test that fails is a broken test rig, not a finding.
void must(bool held, const std::string& what) {
  if (held) return;
  std::fprintf(stderr, "packet test rig: %s: %s\n", what.c_str(), std::strerror(errno));
  std::abort();
}

bpf_insn move_imm(unsigned to, __s32 value) {
  bpf_insn code{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, value};
  code.dst_reg = to & 0xf;
  return code;
}
bpf_insn move_reg(unsigned to, unsigned from) {
  bpf_insn code{BPF_ALU64 | BPF_MOV | BPF_X, 0, 0, 0, 0};
  code.dst_reg = to & 0xf;
  code.src_reg = from & 0xf;
  return code;
}
bpf_insn call(__s32 helper) {
  return {BPF_JMP | BPF_CALL, 0, 0, 0, helper};
}

}  // namespace

const char* program_name(Program program) {
  switch (program) {
    case Program::lan_xdp:
      return "xlb_lan";
    case Program::lan_tc:
      return "xlb_lan_tc";
    case Program::return_tc:
      return "xlb_return";
    case Program::egress_tc:
      return "xlb_egress";
  }
  return "?";
}

Result<Rig*> Rig::get() {
  static Result<Rig*> made = []() -> Result<Rig*> {
    const auto sandbox = Sandbox::get();
    if (!sandbox) return sandbox.error();
    static Rig rig;
    rig.sandbox_ = *sandbox;
    if (auto loaded = rig.load(); !loaded) return loaded.error();
    rig.probe();
    return &rig;
  }();
  return made;
}

Result<void> Rig::load() {
  libbpf_set_print([](libbpf_print_level level, const char* text, va_list arguments) {
    return level <= LIBBPF_WARN && std::getenv("XLB_PACKET_VERBOSE") != nullptr
               ? std::vfprintf(stderr, text, arguments)
               : 0;
  });
  xdp_lb_bpf* skeleton = xdp_lb_bpf__open();
  if (skeleton == nullptr) return Error{std::string("open the BPF object: ") + std::strerror(errno)};
  object_ = skeleton->obj;
  const std::pair<const char*, std::uint32_t> sizes[] = {
      {"xlb_services", kServices}, {"xlb_svc_stats", kServices},  {"xlb_slots", kSlots},
      {"xlb_backends", kBackends}, {"xlb_flows", kSmallTable},    {"xlb_half_open", kSmallTable},
      {"xlb_frags", kSmallTable},  {"xlb_affinity", kSmallTable}, {"xlb_local", kSmallTable},
      {"xlb_sources", 1024},
  };
  for (const auto& [name, entries] : sizes) {
    bpf_map* map = bpf_object__find_map_by_name(object_, name);
    if (map == nullptr || bpf_map__set_max_entries(map, entries) != 0)
      return Error{std::string("size of map ") + name};
  }
  if (const int failed = xdp_lb_bpf__load(skeleton); failed != 0) {
    return Error{std::string("load the BPF programs: ") + std::strerror(-failed) +
                 " (XLB_PACKET_VERBOSE=1 shows the verifier's log)"};
  }
  cpus_ = libbpf_num_possible_cpus();
  ring_ = ring_buffer__new(
      map_file("xlb_events"),
      [](void* rig, void* data, std::size_t size) {
        lb_event event{};
        if (size == sizeof event) std::memcpy(&event, data, size);
        static_cast<Rig*>(rig)->collected_.push_back(event);
        return 0;
      },
      this, nullptr);
  if (ring_ == nullptr) return Error{std::string("open xlb_events: ") + std::strerror(errno)};
  jumps_ = bpf_map_create(BPF_MAP_TYPE_PROG_ARRAY, "jumps", 4, 4, 4, nullptr);
  if (jumps_ < 0) return Error{std::string("program array: ") + std::strerror(errno)};
  for (const Program program : {Program::lan_tc, Program::return_tc, Program::egress_tc}) {
    const __u32 index = static_cast<__u32>(program);
    const int file = program_file(program_name(program));
    if (file < 0 || bpf_map_update_elem(jumps_, &index, &file, BPF_ANY) != 0) {
      return Error{std::string("program array: ") + program_name(program) + ": " + std::strerror(errno)};
    }
  }
  return {};
}

// What this kernel's test runs can do is asked once, with a frame that nobody cares about.
void Rig::probe() {
  reset();
  Input input{.frame = packet::Ethernet{} / packet::Payload::of_size(600), .ifindex = sandbox_->lan0.ifindex};
  input.checksum_complete = true;
  has_checksum_complete_ = run(Program::lan_tc, input).error == 0;
}

int Rig::program_file(const char* name) const {
  const bpf_program* program = bpf_object__find_program_by_name(object_, name);
  return program == nullptr ? -1 : bpf_program__fd(program);
}

int Rig::map_file(const char* name) const {
  return bpf_object__find_map_fd_by_name(object_, name);
}

void Rig::update(const char* map, const void* key, const void* value) {
  must(bpf_map_update_elem(map_file(map), key, value, BPF_ANY) == 0, std::string("write ") + map);
}

template <typename Key>
void Rig::clear(const char* map) {
  const int file = map_file(map);
  Key key{};
  while (bpf_map_get_next_key(file, nullptr, &key) == 0) bpf_map_delete_elem(file, &key);
}

template <typename Key, typename Value>
Table<Key, Value> Rig::read_all(const char* map) const {
  const int file = map_file(map);
  Table<Key, Value> out;
  Key key{}, next{};
  Value value{};
  for (bool more = bpf_map_get_next_key(file, nullptr, &next) == 0; more;
       more = bpf_map_get_next_key(file, &key, &next) == 0) {
    key = next;
    if (bpf_map_lookup_elem(file, &key, &value) == 0) out[key] = value;
  }
  return out;
}

void Rig::reset() {
  set_node(lb_node{});
  clear<lb_link_key>("xlb_links");
  clear<lb_addr>("xlb_vips");
  clear<lb_service_key>("xlb_services");
  clear<lb_flow_key>("xlb_flows");
  clear<lb_flow_key>("xlb_half_open");
  clear<lb_frag_key>("xlb_frags");
  clear<lb_affinity_key>("xlb_affinity");
  clear<lb_local_key>("xlb_local");
  clear<lb_source_key>("xlb_sources");
  clear<lb_mac_key>("xlb_peer_macs");
  const std::size_t cpus = static_cast<std::size_t>(cpus_);
  for (const std::uint32_t id : used_backends_) {
    const lb_backend none{};
    update("xlb_backends", &id, &none);
  }
  for (const std::uint32_t index : used_slots_) {
    const lb_slot none{};
    update("xlb_slots", &index, &none);
  }
  for (const std::uint32_t index : used_echoes_) {
    const lb_echo none{};
    update("xlb_echoes", &index, &none);
  }
  used_services_.push_back(0);
  for (const std::uint32_t id : used_services_) {
    const std::vector<lb_svc_stats> none(cpus);
    update("xlb_svc_stats", &id, none.data());
  }
  used_backends_.clear();
  used_slots_.clear();
  used_services_.clear();
  used_echoes_.clear();
  for (std::uint32_t id = 0; id < XLB_MAX_PEERS; id++) {
    const lb_peer none{};
    update("xlb_peers", &id, &none);
  }
  for (std::uint32_t verdict = 0; verdict < XLB_VERDICT_COUNT; verdict++) {
    const std::vector<lb_counter> none(cpus);
    update("xlb_counters", &verdict, none.data());
  }
  for (std::uint32_t id = 0; id < kVips; id++) {
    const std::vector<lb_vip_stats> none(cpus);
    update("xlb_vip_stats", &id, none.data());
  }
  for (std::uint32_t budget = 0; budget < XLB_BUDGETS; budget++) {
    const std::vector<lb_budget> none(cpus);
    update("xlb_budget", &budget, none.data());
  }
  drain_events();
}

void Rig::set_node(const lb_node& node) {
  const __u32 zero = 0;
  update("xlb_node", &zero, &node);
}

void Rig::set_link(std::uint32_t ifindex, std::uint16_t vlan, const lb_link& link) {
  const lb_link_key key{.ifindex = ifindex, .vlan = vlan, .pad = 0};
  update("xlb_links", &key, &link);
}

void Rig::set_vip(const packet::IpAddress& address, const lb_vip& vip) {
  const lb_addr key = address.abi();
  update("xlb_vips", &key, &vip);
}

void Rig::remove_vip(const packet::IpAddress& address) {
  const lb_addr key = address.abi();
  must(bpf_map_delete_elem(map_file("xlb_vips"), &key) == 0, "delete from xlb_vips");
}

void Rig::set_service(std::uint32_t vip_id, std::uint16_t port, std::uint8_t protocol, const lb_service& service) {
  const lb_service_key key{.vip_id = vip_id, .port = htons(port), .protocol = protocol, .pad = 0};
  used_services_.push_back(service.service_id);
  update("xlb_services", &key, &service);
}

void Rig::set_slot(std::uint32_t index, lb_slot slot) {
  used_slots_.push_back(index);
  update("xlb_slots", &index, &slot);
}

void Rig::set_backend(std::uint32_t id, const lb_backend& backend) {
  used_backends_.push_back(id);
  update("xlb_backends", &id, &backend);
}

void Rig::set_peer(std::uint32_t id, const lb_peer& peer) {
  update("xlb_peers", &id, &peer);
}

void Rig::set_peer_mac(const packet::MacAddress& mac, std::uint32_t id) {
  lb_mac_key key{};
  std::memcpy(key.mac, mac.bytes.data(), sizeof key.mac);
  update("xlb_peer_macs", &key, &id);
}

void Rig::set_echo(std::uint32_t index, const lb_echo& echo) {
  used_echoes_.push_back(index);
  update("xlb_echoes", &index, &echo);
}

void Rig::allow_source(std::uint32_t service_id, const packet::IpAddress& prefix, std::uint32_t length) {
  const lb_source_key key{.prefix_len = 32 + length + (prefix.is_ipv4() ? 96u : 0u),
                          .service_id = htonl(service_id),
                          .prefix = prefix.abi()};
  const lb_source value{.family = prefix.is_ipv4() ? 4u : 6u};
  update("xlb_sources", &key, &value);
}

void Rig::put_flow(const lb_flow_key& key, const lb_flow& flow, bool half_open) {
  update(half_open ? "xlb_half_open" : "xlb_flows", &key, &flow);
}

void Rig::remove_flow(const lb_flow_key& key, bool half_open) {
  must(bpf_map_delete_elem(map_file(half_open ? "xlb_half_open" : "xlb_flows"), &key) == 0, "delete a flow");
}

void Rig::put_fragment(const lb_frag_key& key, const lb_frag& value) {
  update("xlb_frags", &key, &value);
}

void Rig::put_affinity(const lb_affinity_key& key, const lb_affinity& value) {
  update("xlb_affinity", &key, &value);
}

// What a test run cannot set (VLAN tag in the metadata, tc_index, a frame shorter than it accepts) is set by a few
// instructions in front, which then jump into the real program.
int Rig::wrapper(Program program, const Input& input) {
  const std::string name = std::to_string(static_cast<int>(program)) + "/" +
                           (input.vlan_metadata ? std::to_string(*input.vlan_metadata) : "-") + "/" +
                           std::to_string(input.tc_index) + "/" + (input.cut ? std::to_string(*input.cut) : "-");
  if (const auto known = wrappers_.find(name); known != wrappers_.end()) return known->second;

  std::vector<bpf_insn> code{move_reg(BPF_REG_6, BPF_REG_1)};
  if (input.cut) {
    code.push_back(move_reg(BPF_REG_1, BPF_REG_6));
    code.push_back(move_imm(BPF_REG_2, static_cast<__s32>(*input.cut)));
    code.push_back(move_imm(BPF_REG_3, 0));
    code.push_back(call(BPF_FUNC_skb_change_tail));
    code.push_back({BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_0, 0, 2, 0});
    code.push_back(move_imm(BPF_REG_0, 98));
    code.push_back({BPF_JMP | BPF_EXIT, 0, 0, 0, 0});
  }
  if (input.vlan_metadata) {
    code.push_back(move_reg(BPF_REG_1, BPF_REG_6));
    code.push_back(move_imm(BPF_REG_2, htons(packet::kTypeVlan)));
    code.push_back(move_imm(BPF_REG_3, *input.vlan_metadata));
    code.push_back(call(BPF_FUNC_skb_vlan_push));
  }
  if (input.tc_index != 0) {
    code.push_back(move_imm(BPF_REG_0, input.tc_index));
    code.push_back({BPF_STX | BPF_MEM | BPF_W, BPF_REG_6, BPF_REG_0, offsetof(struct __sk_buff, tc_index), 0});
  }
  code.push_back(move_reg(BPF_REG_1, BPF_REG_6));
  code.push_back({BPF_LD | BPF_IMM | BPF_DW, BPF_REG_2, BPF_PSEUDO_MAP_FD, 0, jumps_});
  code.push_back({0, 0, 0, 0, 0});
  code.push_back(move_imm(BPF_REG_3, static_cast<__s32>(program)));
  code.push_back(call(BPF_FUNC_tail_call));
  code.push_back(move_imm(BPF_REG_0, 99));
  code.push_back({BPF_JMP | BPF_EXIT, 0, 0, 0, 0});
  const int file = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "test_wrapper", "GPL", code.data(), code.size(), nullptr);
  must(file >= 0, "load the wrapper program");
  wrappers_[name] = file;
  return file;
}

Output Rig::run(Program program, const Input& input) {
  Output output;
  output.frame.resize(input.frame.size() + 1024);
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = input.frame.data();
  options.data_size_in = static_cast<__u32>(input.frame.size());
  options.data_out = output.frame.data();
  options.data_size_out = static_cast<__u32>(output.frame.size());
  options.repeat = 1;

  xdp_md xdp{};
  __sk_buff skb{};
  int file = program_file(program_name(program));
  if (program == Program::lan_xdp) {
    xdp.data_end = static_cast<__u32>(input.frame.size());
    xdp.ingress_ifindex = input.ifindex;
    options.ctx_in = &xdp;
    options.ctx_size_in = sizeof xdp;
  } else {
    skb.ifindex = input.ifindex;
    skb.ingress_ifindex = input.ifindex;
    skb.mark = input.mark;
    skb.gso_size = input.gso_size;
    if (input.gso_size != 0) skb.gso_segs = static_cast<__u32>(input.frame.size()) / input.gso_size + 1;
    options.ctx_in = &skb;
    options.ctx_size_in = sizeof skb;
    options.ctx_out = &skb;
    options.ctx_size_out = sizeof skb;
    if (input.checksum_complete) options.flags = BPF_F_TEST_SKB_CHECKSUM_COMPLETE;
    if (input.vlan_metadata || input.tc_index != 0 || input.cut) file = wrapper(program, input);
  }
  if (bpf_prog_test_run_opts(file, &options) != 0) {
    output.error = errno;
    output.frame.clear();
    return output;
  }
  output.action = static_cast<int>(options.retval);
  output.frame.resize(options.data_size_out);
  output.priority = skb.priority;
  return output;
}

void Rig::drain_events() {
  ring_buffer__consume(ring_);
  collected_.clear();
}

std::vector<lb_event> Rig::events() {
  ring_buffer__consume(ring_);
  return std::exchange(collected_, {});
}

Traces Rig::traces() {
  Traces out;
  const std::size_t cpus = static_cast<std::size_t>(cpus_);
  out.counters.resize(XLB_VERDICT_COUNT);
  std::vector<lb_counter> counters(cpus);
  for (std::uint32_t verdict = 0; verdict < XLB_VERDICT_COUNT; verdict++) {
    must(bpf_map_lookup_elem(map_file("xlb_counters"), &verdict, counters.data()) == 0, "read xlb_counters");
    for (const lb_counter& each : counters) {
      out.counters[verdict].packets += each.packets;
      out.counters[verdict].bytes += each.bytes;
    }
  }
  out.answers.resize(kVips);
  std::vector<lb_vip_stats> answers(cpus);
  for (std::uint32_t id = 0; id < kVips; id++) {
    must(bpf_map_lookup_elem(map_file("xlb_vip_stats"), &id, answers.data()) == 0, "read xlb_vip_stats");
    for (const lb_vip_stats& each : answers) out.answers[id] += each.answers;
  }
  std::vector<lb_svc_stats> stats(cpus);
  std::vector<std::uint32_t> services = used_services_;
  services.push_back(0);  // no service has this id: nothing may be counted there
  for (const std::uint32_t id : services) {
    must(bpf_map_lookup_elem(map_file("xlb_svc_stats"), &id, stats.data()) == 0, "read xlb_svc_stats");
    lb_svc_stats sum{};
    for (const lb_svc_stats& each : stats) {
      sum.packets_in += each.packets_in;
      sum.bytes_in += each.bytes_in;
      sum.packets_out += each.packets_out;
      sum.bytes_out += each.bytes_out;
      sum.flows += each.flows;
    }
    out.services[id] = sum;
  }
  out.flows = read_all<lb_flow_key, lb_flow>("xlb_flows");
  out.half_open = read_all<lb_flow_key, lb_flow>("xlb_half_open");
  // What promotion leaves behind is as good as absent.
  std::erase_if(out.half_open, [](const auto& entry) { return entry.second.state == XLB_FLOW_ENDED; });
  out.fragments = read_all<lb_frag_key, lb_frag>("xlb_frags");
  out.affinity = read_all<lb_affinity_key, lb_affinity>("xlb_affinity");
  for (const std::uint32_t index : used_echoes_) {
    constexpr lb_echo none{};
    lb_echo echo{};
    must(bpf_map_lookup_elem(map_file("xlb_echoes"), &index, &echo) == 0, "read xlb_echoes");
    if (std::memcmp(&echo, &none, sizeof echo) != 0) out.echoes[index] = echo;
  }
  out.events = events();
  return out;
}

}  // namespace xlb
