// SPDX-License-Identifier: Apache-2.0
#include "loader/kernel_tables.hpp"

#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <map>
#include <vector>

#include "tests/unit/loader/pinned_tables.hpp"
#include "userspace/core/rows.hpp"

namespace xlb {
namespace {

Address address(const std::string& text) {
  const auto parsed = parse_address(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

Prefix prefix(const std::string& text) {
  const auto parsed = parse_prefix(text);
  EXPECT_TRUE(parsed) << text;
  return *parsed;
}

lb_backend backend(const std::string& text, std::uint16_t port, std::uint32_t generation) {
  lb_backend row{};
  row.address = address(text).to_abi();
  row.port = htons(port);
  row.protocol = IPPROTO_TCP;
  row.generation = generation;
  row.flags = XLB_BACKEND_LIVE | XLB_BACKEND_LOCAL;
  row.veth_ifindex = 7;
  return row;
}

lb_vip vip(std::uint32_t id) {
  lb_vip row{};
  row.vip_id = id;
  row.owned_epoch = 1;
  row.flags = XLB_VIP_PING;
  row.link_mask = 3;
  row.healthy = id;
  return row;
}

lb_service service(std::uint32_t id, std::uint32_t base, std::uint32_t count) {
  lb_service row{};
  row.service_id = id;
  row.flags = XLB_SERVICE_TWIN;
  row.slot_base = base;
  row.slot_count = count;
  row.hash_seed = id * 77;
  return row;
}

std::vector<lb_slot> slots(std::uint32_t count, std::uint32_t first, std::uint32_t second) {
  return std::vector<lb_slot>(count, lb_slot{first, second});
}

lb_link link_row(std::uint32_t l3_ifindex, std::uint32_t role) {
  lb_link row{};
  row.l3_ifindex = l3_ifindex;
  row.role = role;
  row.link_bit = role == XLB_LINK_LAN ? 1 : 0;
  row.mac[5] = 9;
  return row;
}

lb_peer peer_row(const std::string& text, std::uint8_t mac) {
  lb_peer row{};
  row.address4 = address(text).to_abi();
  row.flags = XLB_PEER_ALIVE;
  row.attach_ifindex = 2;
  row.mac[5] = mac;
  return row;
}

// Two services of one IPv4 VIP, one of an IPv6 VIP without backends; every kind of row and key.
Tables first_tables() {
  Tables tables;
  tables.links[{2, 0}] = link_row(2, XLB_LINK_LAN);
  tables.links[{2, 4094}] = link_row(5, XLB_LINK_LAN);
  tables.links[{7, 0}] = link_row(7, XLB_LINK_RETURN);
  tables.peers[1] = peer_row("192.168.0.12", 12);
  tables.peers[63] = peer_row("192.168.0.13", 13);
  tables.peer_macs = {{Mac{{0, 0, 0, 0, 0, 12}}, 1}, {Mac{{2, 0, 0, 0, 0, 12}}, 1}, {Mac{{0, 0, 0, 0, 0, 13}}, 63}};
  tables.vips[address("192.168.0.200")] = vip(1);
  tables.vips[address("fd00::200")] = vip(2);
  tables.services[{1, 80, Protocol::tcp}] = service(11, 0, 512);
  tables.services[{1, 80, Protocol::udp}] = service(12, 512, 1);
  tables.services[{2, 65535, Protocol::tcp}] = service(13, 0, 0);
  tables.services[{1, 80, Protocol::tcp}].local_slot_base = 20000;
  tables.services[{1, 80, Protocol::tcp}].local_slot_count = 512;
  tables.services[{1, 80, Protocol::udp}].local_slot_base = 512;  // the same slots
  tables.services[{1, 80, Protocol::udp}].local_slot_count = 1;
  tables.slots[20000] = slots(512, 1, 0);
  tables.slots[0] = slots(512, 1, 16383);
  tables.slots[512] = slots(1, 16383, 0);
  tables.backends[1] = backend("10.42.0.8", 8000, 1);
  tables.backends[16383] = backend("fd00:42::8", 65535, 4);
  tables.sources = {{11, prefix("0.0.0.0/0")}, {11, prefix("192.168.0.7/32")}, {12, prefix("10.0.0.0/9")},
                    {13, prefix("::/0")},      {13, prefix("fd00::/65")},      {13, prefix("fd00::7/128")}};
  return tables;
}

// The same machine later: things moved, went and came.
Tables second_tables() {
  Tables tables = first_tables();
  tables.links.erase({2, 4094});
  tables.links[{2, 0}].flags = XLB_LINK_MADE_CLSACT;
  tables.peers[1].flags = 0;
  tables.peers.erase(63);
  tables.peer_macs.erase(Mac{{0, 0, 0, 0, 0, 13}});
  tables.peers[2] = peer_row("192.168.0.14", 14);
  tables.peer_macs[Mac{{0, 0, 0, 0, 0, 14}}] = 2;
  tables.peer_macs[Mac{{2, 0, 0, 0, 0, 12}}] = 2;
  tables.vips.erase(address("fd00::200"));
  tables.vips[address("192.168.0.201")] = vip(3);
  tables.services.erase({2, 65535, Protocol::tcp});
  tables.services.erase({1, 80, Protocol::udp});
  tables.services[{3, 443, Protocol::tcp}] = service(14, 1024, 8192);
  tables.slots.erase(512);
  tables.slots[0].set(17, {2, 1});
  tables.slots[0].set(300, {2, 1});
  tables.slots[1024] = slots(8192, 2, 1);
  tables.backends[2] = backend("10.42.0.9", 8000, 1);
  lb_backend freed{};
  freed.generation = 4;
  tables.backends[16383] = freed;
  tables.sources = {{11, prefix("192.168.0.7/32")}, {14, prefix("172.16.0.0/12")}};
  return tables;
}

struct Apply {
  KernelTables& tables;
  Result<void> operator()(const EditReturn& edit) const { return Error{describe(edit)}; }
  Result<void> operator()(const EditGroup& edit) const { return Error{describe(edit)}; }
  template <typename Other>
  Result<void> operator()(const Other& edit) const {
    return tables.apply(edit);
  }
};

Result<void> apply_all(KernelTables& tables, const Edits& edits) {
  for (const Edit& edit : edits) {
    if (auto done = std::visit(Apply{tables}, edit); !done) return done;
  }
  return {};
}

std::string text_of(const Edits& edits) {
  std::string text;
  for (const Edit& edit : edits) text += describe(edit) + "\n";
  return text;
}

class KernelTablesTest : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root: it makes BPF maps";
    auto made = PinnedTables::make();
    ASSERT_TRUE(made) << made.error().text;
    pins_.emplace(std::move(*made));
  }

  KernelTables open(const PinnedSizes& sizes = {}) {
    const auto pinned = pins_->pin(sizes);
    EXPECT_TRUE(pinned) << pinned.error().text;
    auto opened = KernelTables::open(pins_->pin_dir());
    EXPECT_TRUE(opened) << opened.error().text;
    return std::move(*opened);
  }

  // A descriptor beside those of KernelTables.
  [[nodiscard]] File raw(const std::string& name) const {
    File file(bpf_obj_get((pins_->folder() + "/" + name).c_str()));
    EXPECT_TRUE(file) << name;
    return file;
  }

  static void expect_same(KernelTables& tables, const Tables& wanted) {
    const auto read = tables.read();
    ASSERT_TRUE(read) << read.error().text;
    EXPECT_TRUE(*read == wanted) << "still to do:\n" << text_of(plan(*read, wanted));
  }

  std::optional<PinnedTables> pins_;
};

TEST_F(KernelTablesTest, NothingPinnedSaysWhatToDo) {
  const auto opened = KernelTables::open(pins_->pin_dir());
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().text.find("nothing is attached (xdp-lb attach INTERFACE)"), std::string::npos)
      << opened.error().text;
}

TEST_F(KernelTablesTest, TablesOfAnotherAbiAreNamed) {
  ASSERT_EQ(mkdir(pins_->pin_dir().c_str(), 0700), 0);
  ASSERT_EQ(mkdir((pins_->pin_dir() + "/v9999").c_str(), 0700), 0);
  const auto opened = KernelTables::open(pins_->pin_dir());
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().text.find("/v9999 are of another build"), std::string::npos) << opened.error().text;
}

TEST_F(KernelTablesTest, EntriesOfAnotherSizeAreRefused) {
  ASSERT_TRUE(pins_->pin());
  const std::string path = pins_->folder() + "/xlb_vips";
  ASSERT_EQ(unlink(path.c_str()), 0);
  const File other(bpf_map_create(BPF_MAP_TYPE_HASH, "xlb_vips", 16, sizeof(lb_vip) + 8, 4, nullptr));
  ASSERT_EQ(bpf_obj_pin(other.get(), path.c_str()), 0);
  const auto opened = KernelTables::open(pins_->pin_dir());
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().text.find("xlb_vips: an entry has 16 + 40 bytes, this build expects 16 + 32 bytes"),
            std::string::npos)
      << opened.error().text;
}

TEST_F(KernelTablesTest, MissingTableIsNamed) {
  ASSERT_TRUE(pins_->pin());
  ASSERT_EQ(unlink((pins_->folder() + "/xlb_half_open").c_str()), 0);
  const auto opened = KernelTables::open(pins_->pin_dir());
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().text.find("/xlb_half_open: this table is missing"), std::string::npos) << opened.error().text;
}

TEST_F(KernelTablesTest, CapacityIsWhatTheMapsWereMadeWith) {
  const Capacity capacity = open({.services = 33, .backends = 100, .slots = 2048, .sources = 9}).capacity();
  EXPECT_EQ(capacity.services, 33U);
  EXPECT_EQ(capacity.backends, 100U);
  EXPECT_EQ(capacity.slots, 2048U);
  EXPECT_EQ(capacity.sources, 9U);
}

TEST_F(KernelTablesTest, NodeIsZeroAndThenWhatWasWritten) {
  const KernelTables tables = open();
  lb_node node{};
  auto read = tables.node();
  ASSERT_TRUE(read);
  EXPECT_TRUE(same_row(*read, node));
  auto row = tables.node_row();
  ASSERT_TRUE(row) << row.error().text;
  row->set_lease(XLB_FOREVER);
  row->set_epoch(3);
  row->set_try(17);
  row->set_trace(99, 4);
  node.lease_boot_ns = XLB_FOREVER;
  node.epoch = 3;
  node.try_mono_ns = 17;
  node.trace_until_mono_ns = 99;
  node.trace_every = 4;
  read = tables.node();
  ASSERT_TRUE(read);
  EXPECT_TRUE(same_row(*read, node));
  EXPECT_TRUE(same_row(row->read(), node));
}

TEST_F(KernelTablesTest, WhatIsAppliedIsRead) {
  KernelTables tables = open();
  expect_same(tables, {});
  const Tables first = first_tables();
  auto done = apply_all(tables, plan({}, first));
  ASSERT_TRUE(done) << done.error().text;
  expect_same(tables, first);
  const Tables second = second_tables();
  done = apply_all(tables, plan(first, second));
  ASSERT_TRUE(done) << done.error().text;
  expect_same(tables, second);
  done = apply_all(tables, plan(second, {}));
  ASSERT_TRUE(done) << done.error().text;
  expect_same(tables, {});
}

TEST_F(KernelTablesTest, AnotherReaderSeesTheSame) {
  KernelTables writer = open();
  ASSERT_TRUE(apply_all(writer, plan({}, first_tables())));
  auto reader = KernelTables::open(pins_->pin_dir());
  ASSERT_TRUE(reader);
  expect_same(*reader, first_tables());
}

TEST_F(KernelTablesTest, EditsMayRunAgain) {
  KernelTables tables = open();
  for (const Edits& edits : {plan({}, first_tables()), plan(first_tables(), second_tables())}) {
    ASSERT_TRUE(apply_all(tables, edits));
    const auto again = apply_all(tables, edits);
    ASSERT_TRUE(again) << again.error().text;
  }
  expect_same(tables, second_tables());
}

// Wherever a plan was cut short, a new plan from what can be read leads to the goal.
TEST_F(KernelTablesTest, EveryCutIsMended) {
  KernelTables tables = open();
  const Edits edits = plan(first_tables(), second_tables());
  for (std::size_t cut = 0; cut <= edits.size(); ++cut) {
    const auto before = tables.read();
    ASSERT_TRUE(before);
    ASSERT_TRUE(apply_all(tables, plan(*before, first_tables())));
    ASSERT_TRUE(apply_all(tables, Edits(edits.begin(), edits.begin() + static_cast<std::ptrdiff_t>(cut))));
    const auto left = tables.read();
    ASSERT_TRUE(left);
    ASSERT_TRUE(apply_all(tables, plan(*left, second_tables()))) << "cut after " << cut;
    expect_same(tables, second_tables());
  }
}

TEST_F(KernelTablesTest, LinkIsFoundByInterfaceAndVlan) {
  KernelTables tables = open();
  ASSERT_TRUE(apply_all(tables, plan({}, first_tables())));
  const auto found = tables.link({2, 4094});
  ASSERT_TRUE(found);
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->l3_ifindex, 5U);
  const auto missing = tables.link({2, 4093});
  ASSERT_TRUE(missing);
  EXPECT_FALSE(missing->has_value());
}

// As a program looks it up: the whole client address behind the service id.
TEST_F(KernelTablesTest, SourcesMatchAsTheProgramsAsk) {
  KernelTables tables = open();
  ASSERT_TRUE(apply_all(tables, plan({}, first_tables())));
  const File sources = raw("xlb_sources");
  const auto family = [&](std::uint32_t service_id, const std::string& client) {
    lb_source_key key{};
    key.prefix_len = 32 + 128;
    key.service_id = htonl(service_id);
    key.prefix = address(client).to_abi();
    lb_source value{};
    return bpf_map_lookup_elem(sources.get(), &key, &value) == 0 ? value.family : 0;
  };
  EXPECT_EQ(family(11, "203.0.113.9"), 4U);
  EXPECT_EQ(family(12, "10.127.255.255"), 4U);
  EXPECT_EQ(family(12, "10.128.0.0"), 0U);
  EXPECT_EQ(family(12, "fd00::7"), 0U);
  EXPECT_EQ(family(13, "2001:db8::1"), 6U);
  EXPECT_EQ(family(13, "192.168.0.7"), 6U);  // the reason why the family stands in the value
  EXPECT_EQ(family(14, "192.168.0.7"), 0U);
}

TEST_F(KernelTablesTest, SlotsReachTheMap) {
  KernelTables tables = open();
  ASSERT_TRUE(tables.apply(EditSlots{65534, {{1, 2}, {3, 4}}}));
  const File map = raw("xlb_slots");
  lb_slot slot{};
  for (const auto& [index, wanted] :
       std::map<std::uint32_t, lb_slot>{{65533, {0, 0}}, {65534, {1, 2}}, {65535, {3, 4}}}) {
    ASSERT_EQ(bpf_map_lookup_elem(map.get(), &index, &slot), 0);
    EXPECT_TRUE(same_row(slot, wanted)) << index;
  }
}

TEST_F(KernelTablesTest, KnownSlotsAreSharedAsLongAsTheyStandThere) {
  KernelTables tables = open();
  ASSERT_TRUE(apply_all(tables, plan({}, first_tables())));
  const auto before = tables.read();
  ASSERT_TRUE(before);
  ASSERT_FALSE(before->slots.empty());
  const auto& [base, slots] = *before->slots.begin();
  const auto same = tables.read(before->slots);
  ASSERT_TRUE(same);
  EXPECT_EQ(*same, *before);
  EXPECT_TRUE(same->slots.at(base).shares(slots)) << "the very same piece of memory";
  // Somebody else writes: what is known holds no more.
  ASSERT_TRUE(tables.apply(EditSlots{base, {{slots[0].first + 1, slots[0].second}}}));
  const auto changed = tables.read(before->slots);
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->slots.at(base)[0].first, slots[0].first + 1);
  expect_same(tables, *changed);
}

TEST_F(KernelTablesTest, SlotsPastTheEndAreRefused) {
  KernelTables tables = open();
  const auto past = tables.apply(EditSlots{65535, {{1, 2}, {3, 4}}});
  ASSERT_FALSE(past);
  EXPECT_EQ(
      past.error().text,
      "slots 65535..65536 written: xlb_slots: slots 65535..65536 are past the end: it was made for 65536 entries");
  // A service row that points there is not followed.
  ASSERT_TRUE(tables.apply(EditService{{1, 80, Protocol::tcp}, service(5, 65535, 2)}));
  const auto read = tables.read();
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().text.find("service 5: xlb_slots: "), 0U) << read.error().text;
}

TEST_F(KernelTablesTest, FullTablesSayHowManyEntriesTheyHave) {
  KernelTables tables = open({.services = 2, .backends = 4, .sources = 1});
  ASSERT_TRUE(tables.apply(EditService{{1, 80, Protocol::tcp}, service(1, 0, 0)}));
  ASSERT_TRUE(tables.apply(EditService{{1, 81, Protocol::tcp}, service(1, 0, 0)}));
  auto full = tables.apply(EditService{{1, 82, Protocol::tcp}, service(3, 0, 0)});
  ASSERT_FALSE(full);
  EXPECT_NE(full.error().text.find("port 82/TCP"), std::string::npos) << full.error().text;
  EXPECT_NE(full.error().text.find("xlb_services: full: it was made for 2 entries"), std::string::npos)
      << full.error().text;
  full = tables.apply(EditBackend{4, backend("10.42.0.8", 80, 1)});
  ASSERT_FALSE(full);
  EXPECT_NE(full.error().text.find("xlb_backends: full: it was made for 4 entries"), std::string::npos)
      << full.error().text;
  ASSERT_TRUE(tables.apply(EditSource{{1, prefix("10.0.0.0/8")}, true}));
  full = tables.apply(EditSource{{1, prefix("11.0.0.0/8")}, true});
  ASSERT_FALSE(full);
  EXPECT_NE(full.error().text.find("xlb_sources: full: it was made for 1 entries"), std::string::npos)
      << full.error().text;
}

TEST_F(KernelTablesTest, CountersAreSumsOverCpusOfInstalledServices) {
  KernelTables tables = open();
  ASSERT_TRUE(apply_all(tables, plan({}, first_tables())));
  const auto cpus = static_cast<std::size_t>(libbpf_num_possible_cpus());
  std::vector<lb_counter> by_cpu(cpus);
  std::vector<lb_svc_stats> stats(cpus);
  for (std::size_t i = 0; i < cpus; ++i) {
    by_cpu[i] = {i + 1, 100 * (i + 1)};
    stats[i] = {i + 1, i + 2, i + 3, i + 4, i + 5};
  }
  const std::uint32_t verdict = XLB_VERDICT_COUNT - 1;
  ASSERT_EQ(bpf_map_update_elem(raw("xlb_counters").get(), &verdict, by_cpu.data(), BPF_ANY), 0);
  for (const std::uint32_t id : {12U, 63U}) {
    ASSERT_EQ(bpf_map_update_elem(raw("xlb_svc_stats").get(), &id, stats.data(), BPF_ANY), 0);
  }
  const auto vips = first_tables().vips;
  std::vector<lb_vip_stats> answers(cpus, lb_vip_stats{2});
  for (const std::uint32_t id : {vips.begin()->second.vip_id, 4000U})
    ASSERT_EQ(bpf_map_update_elem(raw("xlb_vip_stats").get(), &id, answers.data(), BPF_ANY), 0);
  const auto counters = tables.counters();
  ASSERT_TRUE(counters) << counters.error().text;
  ASSERT_EQ(counters->vips.size(), 1U) << "4000 is nobody's, and of the others there is nothing to tell";
  EXPECT_EQ(counters->vips[0].vip, vips.begin()->first);
  EXPECT_EQ(counters->vips[0].stats.answers, 2 * cpus);
  ASSERT_EQ(counters->verdicts.size(), XLB_VERDICT_COUNT);
  const std::uint64_t triangle = cpus * (cpus + 1) / 2;
  for (std::uint32_t i = 0; i < XLB_VERDICT_COUNT; ++i) {
    EXPECT_EQ(counters->verdicts[i].packets, i == verdict ? triangle : 0) << i;
    EXPECT_EQ(counters->verdicts[i].bytes, i == verdict ? 100 * triangle : 0) << i;
  }
  // 63 is nobody's.
  ASSERT_EQ(counters->services.size(), 3U);
  const ServiceCounters& counted = counters->services[1];
  EXPECT_EQ(counted.service_id, 12U);
  EXPECT_EQ(counted.stats.packets_in, triangle);
  EXPECT_EQ(counted.stats.bytes_in, triangle + cpus);
  EXPECT_EQ(counted.stats.packets_out, triangle + 2 * cpus);
  EXPECT_EQ(counted.stats.bytes_out, triangle + 3 * cpus);
  EXPECT_EQ(counted.stats.flows, triangle + 4 * cpus);
  EXPECT_EQ(counters->services[0].stats.flows + counters->services[2].stats.flows, 0U);
}

lb_flow_key flow_key(std::uint32_t number) {
  lb_flow_key key{};
  key.source.word[3] = htonl(number);
  key.protocol = IPPROTO_TCP;
  return key;
}

TEST_F(KernelTablesTest, FlowsOfBothTables) {
  const KernelTables tables = open();
  const File flows = raw("xlb_flows");
  const File half_open = raw("xlb_half_open");
  constexpr std::uint32_t established = 10000;  // several batches
  for (std::uint32_t i = 0; i < established + 5; ++i) {
    const lb_flow_key key = flow_key(i);
    lb_flow value{};
    value.backend_id = i * 3;
    ASSERT_EQ(bpf_map_update_elem((i < established ? flows : half_open).get(), &key, &value, BPF_ANY), 0);
  }
  const auto rows = tables.flows();
  ASSERT_TRUE(rows) << rows.error().text;
  std::map<std::uint32_t, const FlowRow*> seen;
  for (const FlowRow& row : *rows) {
    const std::uint32_t number = ntohl(row.key.source.word[3]);
    EXPECT_TRUE(seen.emplace(number, &row).second) << number << " twice";
    EXPECT_EQ(row.value.backend_id, number * 3);
    EXPECT_EQ(row.half_open, number >= established);
  }
  EXPECT_EQ(seen.size(), established + 5);
}

// Kernels differ in which kinds of map they read in batches: both ways have to give the same.
TEST_F(KernelTablesTest, BatchesAndSingleStepsReadTheSame) {
  KernelTables tables = open();
  ASSERT_TRUE(apply_all(tables, plan({}, second_tables())));
  struct Kind {
    const char* name;
    std::size_t key_size, value_size, rows;
  };
  for (const Kind& kind :
       {Kind{"xlb_links", sizeof(lb_link_key), sizeof(lb_link), 2},
        Kind{"xlb_sources", sizeof(lb_source_key), sizeof(lb_source), 2},
        Kind{"xlb_backends", 4, sizeof(lb_backend), 16384}, Kind{"xlb_svc_stats", 4, sizeof(lb_svc_stats), 64},
        Kind{"xlb_flows", sizeof(lb_flow_key), sizeof(lb_flow), 0}}) {
    const auto map = PinnedMap::open(pins_->folder(), kind.name, kind.key_size, kind.value_size);
    ASSERT_TRUE(map) << map.error().text;
    std::map<std::string, std::string> batched, stepped;
    const auto into = [&](std::map<std::string, std::string>& rows) {
      return [&](const void* key, const void* value) {
        const bool fresh = rows.emplace(std::string(static_cast<const char*>(key), kind.key_size),
                                        std::string(static_cast<const char*>(value), kind.value_size * map->copies()))
                               .second;
        EXPECT_TRUE(fresh) << kind.name;
      };
    };
    ASSERT_TRUE(map->each(into(batched)));
    ASSERT_TRUE(map->each_by_key(into(stepped)));
    EXPECT_EQ(batched, stepped) << kind.name;
    EXPECT_EQ(batched.size(), kind.rows) << kind.name;
  }
}

}  // namespace
}  // namespace xlb
