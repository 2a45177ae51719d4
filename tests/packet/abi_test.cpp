// SPDX-License-Identifier: Apache-2.0
// The contract seen by both compilers: sizes and field offsets of the BPF side (its BTF) against this side's structs.
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

#include "tests/packet/rig.hpp"

namespace xlb {
namespace {

class AbiTest : public testing::Test {
 protected:
  void SetUp() override {
    const auto rig = Rig::get();
    if (!rig && geteuid() != 0) GTEST_SKIP() << rig.error().text;
    if (!rig) FAIL() << rig.error().text;
    object_ = (*rig)->object();
  }

  const btf_type* type_of(const char* name) {
    const btf* types = bpf_object__btf(object_);
    const int id = btf__find_by_name_kind(types, name, BTF_KIND_STRUCT);
    return id < 0 ? nullptr : btf__type_by_id(types, static_cast<__u32>(id));
  }

  void expect_field(const char* structure, const char* field, std::size_t offset) {
    const btf_type* type = type_of(structure);
    ASSERT_NE(type, nullptr) << structure;
    const btf* types = bpf_object__btf(object_);
    const btf_member* members = btf_members(type);
    for (__u32 i = 0; i < btf_vlen(type); i++) {
      if (std::strcmp(btf__name_by_offset(types, members[i].name_off), field) != 0) continue;
      EXPECT_EQ(btf_member_bit_offset(type, i), offset * 8) << structure << "." << field;
      return;
    }
    FAIL() << structure << " has no field " << field;
  }

  bpf_object* object_ = nullptr;
};

struct MapRow {
  const char* name;
  std::size_t key, value;
};

constexpr MapRow kMaps[] = {
    {"xlb_node", 4, sizeof(lb_node)},
    {"xlb_links", sizeof(lb_link_key), sizeof(lb_link)},
    {"xlb_vips", sizeof(lb_addr), sizeof(lb_vip)},
    {"xlb_services", sizeof(lb_service_key), sizeof(lb_service)},
    {"xlb_slots", 4, sizeof(lb_slot)},
    {"xlb_backends", 4, sizeof(lb_backend)},
    {"xlb_peers", 4, sizeof(lb_peer)},
    {"xlb_peer_macs", sizeof(lb_mac_key), 4},
    {"xlb_echoes", 4, sizeof(lb_echo)},
    {"xlb_flows", sizeof(lb_flow_key), sizeof(lb_flow)},
    {"xlb_half_open", sizeof(lb_flow_key), sizeof(lb_flow)},
    {"xlb_frags", sizeof(lb_frag_key), sizeof(lb_frag)},
    {"xlb_affinity", sizeof(lb_affinity_key), sizeof(lb_affinity)},
    {"xlb_sources", sizeof(lb_source_key), sizeof(lb_source)},
    {"xlb_local", sizeof(lb_local_key), sizeof(lb_local)},
    {"xlb_counters", 4, sizeof(lb_counter)},
    {"xlb_svc_stats", 4, sizeof(lb_svc_stats)},
    {"xlb_vip_stats", 4, sizeof(lb_vip_stats)},
    {"xlb_budget", 4, sizeof(lb_budget)},
};

TEST_F(AbiTest, TablesHaveTheSizesOfTheContract) {
  for (const MapRow& row : kMaps) {
    const bpf_map* map = bpf_object__find_map_by_name(object_, row.name);
    ASSERT_NE(map, nullptr) << row.name;
    EXPECT_EQ(bpf_map__key_size(map), row.key) << row.name;
    EXPECT_EQ(bpf_map__value_size(map), row.value) << row.name;
  }
}

TEST_F(AbiTest, EveryTableNamesItsFieldsAndFitsTheKernelsNames) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_) {
    const std::string name = bpf_map__name(map);
    if (name.find('.') != std::string::npos) continue;  // .rodata and the like
    EXPECT_EQ(name.rfind("xlb_", 0), 0u) << name;
    EXPECT_LE(name.size(), 15u) << name;
    if (bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF) continue;
    EXPECT_NE(bpf_map__btf_key_type_id(map), 0u) << name;
    EXPECT_NE(bpf_map__btf_value_type_id(map), 0u) << name;
  }
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, object_) {
    const std::string name = bpf_program__name(program);
    EXPECT_EQ(name.rfind("xlb_", 0), 0u) << name;
    EXPECT_LE(name.size(), 15u) << name;
  }
}

TEST_F(AbiTest, EveryTableOfTheObjectIsOfTheContract) {
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object_) {
    const std::string name = bpf_map__name(map);
    if (name.find('.') != std::string::npos || name == "xlb_events") continue;
    bool known = false;
    for (const MapRow& row : kMaps) known = known || name == row.name;
    EXPECT_TRUE(known) << name << " is not in this test's list";
  }
}

#define FIELD(structure, field) expect_field(#structure, #field, offsetof(structure, field))

TEST_F(AbiTest, FieldsLieWhereThisCompilerPutsThem) {
  FIELD(lb_node, lease_boot_ns);
  FIELD(lb_node, try_mono_ns);
  FIELD(lb_node, epoch);
  FIELD(lb_node, tcp_idle_ns);
  FIELD(lb_node, trace_until_mono_ns);
  FIELD(lb_node, trace_every);
  FIELD(lb_node, reject_per_second);
  FIELD(lb_node, abi_version);
  FIELD(lb_link, l3_ifindex);
  FIELD(lb_link, link_bit);
  FIELD(lb_link, mac);
  FIELD(lb_vip, owned_epoch);
  FIELD(lb_vip, vip_id);
  FIELD(lb_vip, link_mask);
  FIELD(lb_vip, healthy);
  FIELD(lb_service, service_id);
  FIELD(lb_service, slot_base);
  FIELD(lb_service, hash_seed);
  FIELD(lb_service, local_slot_base);
  FIELD(lb_service, local_slot_count);
  FIELD(lb_backend, address);
  FIELD(lb_backend, generation);
  FIELD(lb_backend, veth_ifindex);
  FIELD(lb_backend, node_id);
  FIELD(lb_backend, port);
  FIELD(lb_peer, address4);
  FIELD(lb_peer, address6);
  FIELD(lb_peer, flags);
  FIELD(lb_peer, attach_ifindex);
  FIELD(lb_peer, vlan);
  FIELD(lb_peer, mac);
  FIELD(lb_mac_key, mac);
  FIELD(lb_echo, nonce);
  FIELD(lb_echo, returned_mono_ns);
  FIELD(lb_echo, flags);
  FIELD(lb_flow_key, source_port);
  FIELD(lb_flow_key, direction);
  FIELD(lb_flow, seen_mono_ns);
  FIELD(lb_flow, backend_id);
  FIELD(lb_flow, l3_ifindex);
  FIELD(lb_flow, vip_port);
  FIELD(lb_flow, state);
  FIELD(lb_flow, flags);
  FIELD(lb_frag_key, id);
  FIELD(lb_frag, backend_id);
  FIELD(lb_affinity_key, service_id);
  FIELD(lb_local_key, backend_port);
  FIELD(lb_local, vip_port);
}

}  // namespace
}  // namespace xlb
