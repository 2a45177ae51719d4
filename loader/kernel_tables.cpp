// SPDX-License-Identifier: Apache-2.0
#include "loader/kernel_tables.hpp"

#include <arpa/inet.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "loader/mapped_array.hpp"
#include "loader/pins.hpp"
#include "userspace/core/rows.hpp"

namespace xlb {
namespace {

constexpr std::uint32_t only_row = 0;       // of xlb_node
constexpr std::uint32_t service_bits = 32;  // of a source's prefix: the service id comes before the address
constexpr std::uint32_t mapped_bits = 96;   // of an IPv4 address: ::ffff: comes before it

lb_link_key to_abi(const LinkKey& key) {
  lb_link_key row{};
  row.ifindex = key.ifindex;
  row.vlan = key.vlan;
  return row;
}

lb_mac_key to_abi(const Mac& mac) {
  lb_mac_key row{};
  std::copy(mac.bytes.begin(), mac.bytes.end(), row.mac);
  return row;
}

Mac mac_of(const lb_mac_key& row) {
  Mac mac;
  std::copy(std::begin(row.mac), std::end(row.mac), mac.bytes.begin());
  return mac;
}

lb_service_key to_abi(const ServiceKey& key) {
  lb_service_key row{};
  row.vip_id = key.vip_id;
  row.port = htons(key.port);
  row.protocol = static_cast<__u8>(key.protocol);
  return row;
}

lb_source_key to_abi(const SourceKey& key) {
  lb_source_key row{};
  const bool ipv4 = key.prefix.address.family() == Family::ipv4;
  row.prefix_len = service_bits + (ipv4 ? mapped_bits : 0) + key.prefix.length;
  row.service_id = htonl(key.service_id);
  row.prefix = key.prefix.address.to_abi();
  return row;
}

lb_source source_row(const SourceKey& key) {
  lb_source row{};
  row.family = key.prefix.address.family() == Family::ipv4 ? 4 : 6;
  return row;
}

// Absent: no row that this build could have written.
std::optional<SourceKey> source_key(const lb_source_key& row, const lb_source& value) {
  const std::uint32_t before = service_bits + (value.family == 4 ? mapped_bits : 0);
  if (row.prefix_len < before || row.prefix_len > service_bits + 128) return std::nullopt;
  return SourceKey{ntohl(row.service_id),
                   {Address::from_abi(row.prefix), static_cast<std::uint8_t>(row.prefix_len - before)}};
}

void add(lb_counter& sum, const lb_counter& one) {
  sum.packets += one.packets;
  sum.bytes += one.bytes;
}

void add(lb_svc_stats& sum, const lb_svc_stats& one) {
  sum.packets_in += one.packets_in;
  sum.bytes_in += one.bytes_in;
  sum.packets_out += one.packets_out;
  sum.bytes_out += one.bytes_out;
  sum.flows += one.flows;
}

void add(lb_vip_stats& sum, const lb_vip_stats& one) { sum.answers += one.answers; }

template <typename Value>
Value sum(const std::vector<Value>& by_cpu) {
  Value total{};
  for (const Value& one : by_cpu) add(total, one);
  return total;
}

template <typename Map, typename Key, typename Value>
Result<void> write_or_erase(const Map& map, const Key& key, const std::optional<Value>& value) {
  return value ? map.write(key, *value) : map.erase(key);
}

// "backend 3 = 10.42.0.8:8000/TCP live: xlb_backends: full: …"
template <typename EditOfOneKind>
Result<void> named(Result<void> done, const EditOfOneKind& edit) {
  if (done) return done;
  return done.error().in(describe(Edit(edit)));
}

}  // namespace

Result<std::string> tables_folder(const std::string& pin_dir) {
  const Pins pins(pin_dir);
  if (exists(pins.tables())) return pins.tables();
  const auto others = pins.other_abis();
  if (!others) return others.error();
  if (others->empty()) {
    return Error{"no tables below " + pins.folder() + ": nothing is attached (xdp-lb attach INTERFACE)"};
  }
  return Error{"the tables in " + pins.folder() + "/" + others->front() +
               " are of another build, this one's would be in " + pins.tables() +
               ": take them away (xdp-lb detach --all) and attach again; flows are lost by that"};
}

Result<KernelTables> KernelTables::open(const std::string& pin_dir) {
  const auto folder = tables_folder(pin_dir);
  if (!folder) return folder.error();
  Maps maps;
  std::optional<Error> failed;
  const auto open = [&]<typename Map>(Map& map, const char* name) {
    auto opened = Map::open(*folder, name);
    if (opened) {
      map = std::move(*opened);
    } else {
      failed = opened.error();
    }
    return !failed;
  };
  open(maps.node, "xlb_node") && open(maps.links, "xlb_links") && open(maps.peers, "xlb_peers") &&
      open(maps.peer_macs, "xlb_peer_macs") && open(maps.vips, "xlb_vips") && open(maps.services, "xlb_services") && open(maps.slots, "xlb_slots") && open(maps.backends, "xlb_backends") &&
      open(maps.sources, "xlb_sources") && open(maps.flows, "xlb_flows") && open(maps.half_open, "xlb_half_open") &&
      open(maps.verdicts, "xlb_counters") && open(maps.service_stats, "xlb_svc_stats") &&
      open(maps.vip_stats, "xlb_vip_stats");
  if (failed) return *failed;
  return KernelTables(std::move(maps));
}

Result<lb_node> KernelTables::node() const {
  const auto row = maps_.node.find(only_row);
  if (!row) return row.error();
  return **row;  // an array's row is always there
}

Result<NodeRow> KernelTables::node_row() const {
  return NodeRow::open(maps_.node.fd());
}

Capacity KernelTables::capacity() const {
  return {maps_.services.entries(), maps_.backends.entries(), maps_.slots.entries(), maps_.sources.entries()};
}

TableSizes KernelTables::sizes() const {
  return {{"flows", maps_.flows.entries()},
          {"services", maps_.services.entries()},
          {"backends", maps_.backends.entries()},
          {"slots", maps_.slots.entries()},
          {"sources", maps_.sources.entries()}};
}

Result<std::map<LinkKey, lb_link>> KernelTables::links() const {
  std::map<LinkKey, lb_link> links;
  auto done = maps_.links.each([&](const lb_link_key& key, const lb_link& row) {
    links[{key.ifindex, key.vlan}] = row;
  });
  if (!done) return done.error();
  return links;
}

Result<Tables> KernelTables::read(const SlotStretches& known) const {
  Tables tables;
  if (auto done = read_links_and_peers(tables); !done) return done.error();
  auto done = maps_.peer_macs.each(
      [&](const lb_mac_key& key, std::uint32_t node_id) { tables.peer_macs[mac_of(key)] = node_id; });
  if (!done) return done.error();
  done = maps_.vips.each(
      [&](const lb_addr& address, const lb_vip& row) { tables.vips[Address::from_abi(address)] = row; });
  if (!done) return done.error();
  done = maps_.services.each([&](const lb_service_key& key, const lb_service& row) {
    tables.services[{key.vip_id, ntohs(key.port), static_cast<Protocol>(key.protocol)}] = row;
  });
  if (!done) return done.error();
  // All its rows, most of which nobody has used yet: a batch of system calls takes twenty times as long.
  const auto backends = MappedArray<lb_backend>::open(maps_.backends.fd(), maps_.backends.entries(), "xlb_backends");
  if (!backends) return backends.error();
  for (std::uint32_t id = 0; id < backends->entries(); ++id) {
    constexpr lb_backend never_used{};
    if (const lb_backend& row = (*backends)[id]; !same_row(row, never_used)) tables.backends.append(id, row);
  }
  done = maps_.sources.each([&](const lb_source_key& key, const lb_source& value) {
    if (const auto source = source_key(key, value)) tables.sources.insert(*source);
  });
  if (!done) return done.error();
  if (auto filled = read_slots(tables, known); !filled) return filled.error();
  return tables;
}

Result<void> KernelTables::read_links_and_peers(Tables& tables) const {
  auto links_read = links();
  if (!links_read) return links_read.error();
  tables.links = std::move(*links_read);
  tables.peers.clear();
  return maps_.peers.each([&](std::uint32_t id, const lb_peer& row) {
    constexpr lb_peer nothing{};
    if (!same_row(row, nothing)) tables.peers[id] = row;
  });
}

// The stretches that services point at. What else may stand in the array, left by an edit that was cut short, no
// program reads, and plan() writes a new stretch whole.
Result<void> KernelTables::read_slots(Tables& tables, const SlotStretches& known) const {
  const auto array = SlotArray::open(maps_.slots.fd(), maps_.slots.entries());
  if (!array) return array.error();
  for (const auto& [key, service] : tables.services) {
    for (const SlotRange& range : {slots_of(service), own_local_slots(service)}) {
      if (range.count == 0) continue;
      const auto as_known = known.find(range.base);
      if (as_known != known.end() && as_known->second.size() == range.count && array->holds(range.base, as_known->second)) {
        tables.slots[range.base] = as_known->second;
        continue;
      }
      auto stretch = array->read(range.base, range.count);
      if (!stretch) return stretch.error().in("service " + std::to_string(service.service_id));
      tables.slots[range.base] = std::move(*stretch);
    }
  }
  return {};
}

Result<std::optional<lb_link>> KernelTables::link(const LinkKey& key) const {
  return maps_.links.find(to_abi(key));
}

Result<void> KernelTables::apply(const EditLink& edit) const {
  return named(write_or_erase(maps_.links, to_abi(edit.key), edit.value), edit);
}

Result<void> KernelTables::apply(const EditPeer& edit) const {
  constexpr lb_peer nothing{};
  return named(maps_.peers.write(edit.id, edit.value.value_or(nothing)), edit);
}

Result<void> KernelTables::apply(const EditPeerMac& edit) const {
  return named(write_or_erase(maps_.peer_macs, to_abi(edit.mac), edit.value), edit);
}

Result<void> KernelTables::apply(const EditVip& edit) const {
  return named(write_or_erase(maps_.vips, edit.address.to_abi(), edit.value), edit);
}

Result<void> KernelTables::apply(const EditService& edit) const {
  return named(write_or_erase(maps_.services, to_abi(edit.key), edit.value), edit);
}

Result<void> KernelTables::apply(const EditSlots& edit) const {
  auto stretch = SlotArray::open(maps_.slots.fd(), maps_.slots.entries(), edit.base, edit.slots.size());
  if (!stretch) return named(stretch.error(), edit);
  return named(stretch->write(edit.base, edit.slots), edit);
}

Result<void> KernelTables::apply(const EditBackend& edit) const {
  return named(maps_.backends.write(edit.id, edit.value), edit);
}

Result<void> KernelTables::apply(const EditSource& edit) const {
  const lb_source_key key = to_abi(edit.key);
  return named(edit.present ? maps_.sources.write(key, source_row(edit.key)) : maps_.sources.erase(key), edit);
}

Result<Counters> KernelTables::counters() const {
  Counters counters;
  counters.verdicts.resize(XLB_VERDICT_COUNT);
  auto done = maps_.verdicts.each([&](std::uint32_t verdict, const std::vector<lb_counter>& by_cpu) {
    if (verdict < XLB_VERDICT_COUNT) counters.verdicts[verdict] = sum(by_cpu);
  });
  if (!done) return done.error();
  std::set<std::uint32_t> installed;
  done = maps_.services.each([&](const lb_service_key&, const lb_service& row) { installed.insert(row.service_id); });
  if (!done) return done.error();
  done = maps_.service_stats.each([&](std::uint32_t id, const std::vector<lb_svc_stats>& by_cpu) {
    if (installed.contains(id)) counters.services.push_back({id, sum(by_cpu)});
  });
  if (!done) return done.error();
  std::map<std::uint32_t, Address> vips;
  done = maps_.vips.each([&](const lb_addr& vip, const lb_vip& row) { vips.emplace(row.vip_id, Address::from_abi(vip)); });
  if (!done) return done.error();
  done = maps_.vip_stats.each([&](std::uint32_t id, const std::vector<lb_vip_stats>& by_cpu) {
    const lb_vip_stats stats = sum(by_cpu);
    if (const auto vip = vips.find(id); vip != vips.end() && stats.answers != 0) counters.vips.push_back({vip->second, stats});
  });
  if (!done) return done.error();
  return counters;
}

Result<std::vector<FlowRow>> KernelTables::flows() const {
  std::vector<FlowRow> rows;
  const auto take = [&rows](bool half_open) {
    return [&rows, half_open](const lb_flow_key& key, const lb_flow& value) {
      rows.push_back({key, value, half_open});
    };
  };
  if (auto done = maps_.flows.each(take(false)); !done) return done.error();
  if (auto done = maps_.half_open.each(take(true)); !done) return done.error();
  return rows;
}

}  // namespace xlb
