// SPDX-License-Identifier: Apache-2.0
// Ids are what lets a running flow survive a new set of tables, so compile() starts from the installed ones:
//   - a VIP keeps its id by address, a service by (VIP, port, protocol), a backend by (address, port, protocol), and
//   a
//     service's slots keep their place as long as their number stays;
//   - what is given out anew avoids whatever is installed, even what goes away with this very change: plan() writes
//   the
//     new before it removes the old, so both stand in the tables for a moment. Only when nothing else is left is it
//     taken;
//   - a backend that nobody lists any more keeps its row, and its connections, while its pod runs and its VIP is there;
//   - a backend id that is taken again gets the next generation, so flows of its former holder do not match;
//   - a new service's id starts at a hash of (VIP, port, protocol) rather than at the lowest free one: statistics and
//     affinity entries are indexed by it and should not be found by the next service that comes along.
// Installed rows that contradict each other (a crash between two writes, a foreign hand) are not kept but made anew.
#include "userspace/core/tables.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <optional>
#include <string>
#include <utility>

#include "userspace/core/node_ids.hpp"
#include "userspace/core/room.hpp"
#include "userspace/core/rows.hpp"
#include "userspace/core/table_sizes.hpp"

namespace xlb {
namespace {

__be16 network_order(std::uint16_t port) {
  const std::uint8_t bytes[2] = {static_cast<std::uint8_t>(port >> 8), static_cast<std::uint8_t>(port & 0xff)};
  __be16 result = 0;
  std::memcpy(&result, bytes, sizeof(result));
  return result;
}

Error full(const std::string& table, std::size_t needed, std::size_t room, const std::string& what) {
  return Error{table + " is full: " + std::to_string(needed) + " " + what + " needed, room for " +
               std::to_string(room)};
}

// Of a table that may be made larger, with room to spare.
Error too_small(const std::string& name, std::size_t needed, std::size_t room, const std::string& what) {
  const TableSizes larger{{name, static_cast<std::uint32_t>(std::bit_ceil(needed + needed / 4 + 1))}};
  return Error{full("xlb_" + name, needed, room, what).text + "; for more: xdp-lb detach --all, then attach IFACE --table-sizes " +
               table_sizes_text(larger)};
}

std::uint32_t seed_of(const Address& vip, std::uint16_t port, Protocol protocol) {
  Address salted = vip;
  salted.bytes[0] ^= static_cast<std::uint8_t>(protocol);
  const std::uint64_t hash = hash_endpoint(salted, port);
  return static_cast<std::uint32_t>(hash ^ hash >> 32);
}

// ---- links: each LAN link has a bit of its own -------------------------------------------------------------------

class LinkRows {
 public:
  LinkRows(const Tables& installed, std::map<LinkKey, lb_link>& rows) : installed_(installed), rows_(rows) {}

  Result<void> add_lan(const std::vector<Link>& links) {
    for (const auto& [key, row] : installed_.links) installed_bits_ |= row.link_bit;
    for (const Link& link : links) {
      const LinkKey key{link.attach_ifindex, link.vlan};
      lb_link row = start(key, XLB_LINK_LAN);
      row.l3_ifindex = link.l3_ifindex;
      row.link_bit = take_bit(key);
      if (row.link_bit == 0) return full("xlb_links", links.size(), 32, "LAN links, VLANs included,").in(link.name);
      std::copy(link.mac.bytes.begin(), link.mac.bytes.end(), row.mac);
      rows_[key] = row;
      bits_by_name_[link.l3_name] |= row.link_bit;
    }
    return {};
  }

  void add_return(std::uint32_t veth) {
    const LinkKey key{veth, 0};
    if (!rows_.contains(key)) rows_[key] = start(key, XLB_LINK_RETURN);
  }

  [[nodiscard]] bool is_lan(const LinkKey& key) const {
    const auto row = rows_.find(key);
    return row != rows_.end() && row->second.role == XLB_LINK_LAN;
  }

  [[nodiscard]] std::uint32_t mask(const std::vector<std::string>& names) const {
    std::uint32_t mask = 0;
    for (const std::string& name : names) {
      if (const auto bits = bits_by_name_.find(name); bits != bits_by_name_.end()) mask |= bits->second;
    }
    return mask;
  }

 private:
  // Flags of an installed row are kept: they say what attaching has made and detaching must take away.
  lb_link start(const LinkKey& key, std::uint32_t role) const {
    lb_link row{};
    row.role = role;
    if (const auto old = installed_.links.find(key); old != installed_.links.end()) row.flags = old->second.flags;
    return row;
  }

  std::uint32_t take_bit(const LinkKey& key) {
    const auto old = installed_.links.find(key);
    std::uint32_t bit = old == installed_.links.end() ? 0 : old->second.link_bit;
    if (!std::has_single_bit(bit) || (bit & given_bits_) != 0) {
      const std::uint32_t avoid =
          (installed_bits_ | given_bits_) != ~0u ? installed_bits_ | given_bits_ : given_bits_;
      bit = avoid == ~0u ? 0 : 1u << std::countr_one(avoid);
    }
    given_bits_ |= bit;
    return bit;
  }

  const Tables& installed_;
  std::map<LinkKey, lb_link>& rows_;
  std::uint32_t installed_bits_ = 0;
  std::uint32_t given_bits_ = 0;
  std::map<std::string, std::uint32_t> bits_by_name_;
};

// ---- backends: one row for an endpoint, however many services list it ---------------------------------------------

class BackendRows {
 public:
  BackendRows(const Tables& installed, std::uint32_t limit) : installed_(installed), limit_(limit), ids_(limit) {
    entries_.reserve(installed.backends.size());
    for (const auto& [id, row] : installed.backends) {
      if (!live(row)) continue;
      ids_.reserve(id);
      Entry& entry = entries_[index_of(row)];
      if (entry.id == 0) entry.id = id;  // a second row of the same endpoint is freed
    }
  }

  // Index of the endpoint's entry; ids are known after settle(). `node_id`: 0 for this node.
  std::size_t want(const DesiredBackend& backend, std::uint32_t node_id, std::uint32_t vip_id) {
    lb_backend identity{};
    identity.address = backend.address.to_abi();
    identity.port = network_order(backend.port);
    identity.protocol = static_cast<std::uint8_t>(backend.protocol);
    // Services come in the same order every time, and so do their backends.
    const std::size_t index = next_ < entries_.size() && same_identity(entries_[next_].row, identity) ? next_ : index_of(identity);
    next_ = index + 1;
    merge(entries_[index], backend, node_id);
    if (entries_[index].row.vip_id == 0) entries_[index].row.vip_id = vip_id;
    return index;
  }

  // A connection to an endpoint that nobody lists any more goes on while its pod runs (`pods`: on this node, with their veths), as
  // with kube-proxy. Whether a peer's pod runs is that peer's to know: it refuses what comes for one that does not. UDP has no
  // connections, and without its VIP no packet of one comes. What is listed comes first: those that are not have a quarter of the
  // room that it leaves.
  void linger(const SortedRows<Address, std::uint32_t>& pods, const std::map<std::uint32_t, lb_peer>& peers,
              const std::set<std::uint32_t>& vips) {
    std::size_t room = wanted_ + 1 < limit_ ? (limit_ - 1 - wanted_) / 4 : 0;
    for (Entry& entry : entries_) {
      if (entry.wanted || entry.id == 0 || room == 0 || entry.row.protocol != static_cast<std::uint8_t>(Protocol::tcp)) continue;
      const lb_backend& row = installed_.backends.find(entry.id)->second;
      const auto pod = pods.find(Address::from_abi(row.address));
      const bool here = row.node_id == 0 && row.veth_ifindex != 0 && pod != pods.end() && pod->second == row.veth_ifindex;
      if (!vips.contains(row.vip_id) || (!here && (row.node_id == 0 || !peers.contains(row.node_id)))) continue;
      entry.row = row;
      entry.row.flags |= XLB_BACKEND_DRAINING;
      entry.wanted = true;
      ++wanted_;
      --room;
    }
  }

  // Fills in the rows, and the veths that they need.
  Result<void> settle(SortedRows<std::uint32_t, lb_backend>& rows, std::set<std::uint32_t>& veths) {
    if (wanted_ + 1 > limit_) return too_small("backends", wanted_, limit_ == 0 ? 0 : limit_ - 1, "backends");
    for (Entry& entry : entries_) {
      if (entry.wanted && !ids_.take(entry.id)) entry.id = 0;
    }
    std::uint32_t next = 1;
    for (Entry& entry : entries_) {
      if (!entry.wanted) continue;
      const bool kept = entry.id != 0;
      if (!kept) next = entry.id = ids_.take_next(next);
      entry.row.generation = generation(entry.id, kept);
      if (entry.row.veth_ifindex != 0) veths.insert(entry.row.veth_ifindex);
    }
    list(rows);
    return {};
  }

  [[nodiscard]] std::uint32_t id(std::size_t index) const { return entries_[index].id; }
  [[nodiscard]] std::uint32_t node_id(std::size_t index) const { return entries_[index].row.node_id; }
  [[nodiscard]] std::size_t size() const { return entries_.size(); }

 private:
  struct Entry {
    std::uint32_t id = 0;
    bool wanted = false;
    lb_backend row{};
  };

  static bool same_identity(const lb_backend& left, const lb_backend& right) {
    return same_row(left.address, right.address) && left.port == right.port && left.protocol == right.protocol;
  }

  // An open table of indexes into entries_, at most half full: one look-up a backend is what compile() spends most
  // on.
  std::size_t index_of(const lb_backend& identity) {
    if (2 * (entries_.size() + 1) > places_.size()) grow();
    std::uint32_t& place = places_[place_of(identity)];
    if (place == nothing) {
      place = static_cast<std::uint32_t>(entries_.size());
      entries_.emplace_back();
      entries_.back().row.address = identity.address;
      entries_.back().row.port = identity.port;
      entries_.back().row.protocol = identity.protocol;
    }
    return place;
  }

  // Where the identity stands, or the free place where it may.
  [[nodiscard]] std::size_t place_of(const lb_backend& identity) const {
    const auto port = static_cast<std::uint16_t>(identity.port ^ identity.protocol << 8);
    auto place = static_cast<std::size_t>(hash_endpoint(Address::from_abi(identity.address), port));
    for (place &= places_.size() - 1; places_[place] != nothing; place = (place + 1) & (places_.size() - 1)) {
      if (same_identity(entries_[places_[place]].row, identity)) break;
    }
    return place;
  }

  void grow() {
    places_.assign(std::bit_ceil(std::max<std::size_t>(16, 4 * std::max(entries_.capacity(), entries_.size() + 1))),
                   nothing);
    for (std::size_t i = 0; i < entries_.size(); ++i) places_[place_of(entries_[i].row)] = static_cast<std::uint32_t>(i);
  }

  // Services that disagree about an endpoint: the kernel path wins (it works for all), and it drains when all drain
  // it.
  void merge(Entry& entry, const DesiredBackend& backend, std::uint32_t node_id) {
    std::uint32_t flags = XLB_BACKEND_LIVE | (node_id == 0 ? XLB_BACKEND_LOCAL : 0);
    const bool pod = node_id == 0 && backend.place.kind == Place::Kind::pod && backend.place.veth_ifindex != 0;
    if (node_id != 0) {
      // How it is reached there is that node's business.
    } else if (backend.place.kind == Place::Kind::host) {
      flags |= XLB_BACKEND_HOST;
    } else if (backend.kernel_path || !pod) {
      flags |= XLB_BACKEND_KERNEL;
    }
    if (backend.draining) flags |= XLB_BACKEND_DRAINING;
    if (!entry.wanted) {
      entry.wanted = true;
      entry.row.flags = flags;
      entry.row.veth_ifindex = pod ? backend.place.veth_ifindex : 0;
      entry.row.node_id = node_id;
      ++wanted_;
    } else {
      const std::uint32_t draining = entry.row.flags & flags & XLB_BACKEND_DRAINING;
      entry.row.flags = ((entry.row.flags | flags) & ~XLB_BACKEND_DRAINING) | draining;
    }
    if ((entry.row.flags & XLB_BACKEND_KERNEL) != 0) entry.row.veth_ifindex = 0;
  }

  [[nodiscard]] std::uint32_t generation(std::uint32_t id, bool kept) const {
    const auto old = installed_.backends.find(id);
    if (old == installed_.backends.end()) return 1;
    const std::uint32_t generation = old->second.generation + (kept ? 0 : 1);
    return generation == 0 ? 1 : generation;
  }

  // All rows by id: the wanted ones, and what was used before and is free now, of which only the generation stays.
  void list(SortedRows<std::uint32_t, lb_backend>& rows) const {
    std::vector<const Entry*> by_id(limit_, nullptr);
    for (const Entry& entry : entries_) {
      if (entry.wanted) by_id[entry.id] = &entry;
    }
    rows.reserve(std::max(installed_.backends.size(), wanted_) + 1);
    auto old = installed_.backends.begin();
    const auto free_until = [&](std::uint32_t id) {
      for (; old != installed_.backends.end() && old->first <= id; ++old) {
        if (old->first == id) continue;
        lb_backend freed{};
        freed.generation = old->second.generation;
        rows.append(old->first, freed);
      }
    };
    for (const Entry* entry : by_id) {
      if (entry == nullptr) continue;
      free_until(entry->id);
      rows.append(entry->id, entry->row);
    }
    free_until(~0u);
  }

  static constexpr std::uint32_t nothing = ~0u;

  const Tables& installed_;
  std::uint32_t limit_;
  Ids ids_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> places_;
  std::size_t wanted_ = 0;
  std::size_t next_ = 0;  // after the last one that was wanted
};

// ---- the whole ----------------------------------------------------------------------------------------------------

class Compiler {
 public:
  Compiler(const Desired& desired, const Tables& installed, const Capacity& capacity, std::uint64_t epoch,
           SlotMemory& memory)
      : desired_(desired),
        installed_(installed),
        capacity_(capacity),
        epoch_(epoch),
        memory_(memory),
        links_(installed, tables_.links),
        backends_(installed, capacity.backends) {}

  Result<Tables> run() {
    using Step = Result<void> (Compiler::*)();
    for (const Step step : {&Compiler::add_links, &Compiler::add_peers, &Compiler::add_vips, &Compiler::add_backends,
                            &Compiler::add_services, &Compiler::add_slots, &Compiler::add_sources}) {
      if (const auto done = (this->*step)(); !done) return done.error();
    }
    return std::move(tables_);
  }

 private:
  struct PlannedService {
    ServiceKey key;
    const DesiredService* service = nullptr;
    const DesiredPort* port = nullptr;
    lb_vip* vip = nullptr;
    std::size_t first_backend = 0;  // in backend_indexes_
    std::size_t takers = 0;         // backends that take new flows
    std::size_t local_takers = 0;   // on this node
    bool remote = false;            // some backend is on a peer
    lb_service row{};
  };

  Result<void> add_links() { return links_.add_lan(desired_.links); }

  Result<void> add_peers() {
    const std::map<std::string, std::uint32_t> ids = node_ids(desired_.peers, installed_);
    const auto with_mac = std::count_if(desired_.peers.begin(), desired_.peers.end(),
                                        [](const DesiredPeer& peer) { return !peer.macs.empty(); });
    if (ids.size() < static_cast<std::size_t>(with_mac)) {
      return full("xlb_peers", static_cast<std::size_t>(with_mac), XLB_MAX_PEERS - 1, "peers");
    }
    for (const DesiredPeer& peer : desired_.peers) {
      node_ids_[peer.name] = left_out;
      const auto id = ids.find(peer.name);
      if (id == ids.end() || !links_.is_lan({peer.attach_ifindex, peer.vlan})) continue;
      node_ids_[peer.name] = id->second;
      tables_.peers[id->second] = peer_row(peer);
      for (const Mac& mac : peer.macs) tables_.peer_macs[mac] = id->second;
    }
    if (tables_.peer_macs.size() > XLB_MAX_PEER_MACS) {
      return full("xlb_peer_macs", tables_.peer_macs.size(), XLB_MAX_PEER_MACS, "MAC addresses of peers");
    }
    return {};
  }

  static lb_peer peer_row(const DesiredPeer& peer) {
    lb_peer row{};
    for (auto address = peer.addresses.rbegin(); address != peer.addresses.rend(); ++address) {
      (address->family() == Family::ipv4 ? row.address4 : row.address6) = address->to_abi();
    }
    row.flags = peer.alive ? XLB_PEER_ALIVE : peer.awaited ? XLB_PEER_AWAITED : 0;
    row.attach_ifindex = peer.attach_ifindex;
    row.vlan = peer.vlan;
    std::copy(peer.macs.front().bytes.begin(), peer.macs.front().bytes.end(), row.mac);
    return row;
  }

  Result<void> add_vips() {
    std::vector<Address> served;
    served.reserve(desired_.services.size());
    for (const DesiredService& service : desired_.services) served.push_back(service.vip);
    std::sort(served.begin(), served.end());
    std::map<Address, const DesiredVip*> vips;
    for (const DesiredVip& vip : desired_.vips) {
      if (std::binary_search(served.begin(), served.end(), vip.address)) vips.insert_or_assign(vips.end(), vip.address, &vip);
    }
    if (vips.size() > XLB_MAX_VIPS) return full("xlb_vips", vips.size(), XLB_MAX_VIPS, "VIPs");

    std::set<std::uint32_t> used;
    for (const auto& [address, row] : installed_.vips) used.insert(row.vip_id);
    std::set<std::uint32_t> kept;
    std::uint32_t next = 1;
    for (const auto& [address, vip] : vips) {
      lb_vip row{};
      if (const auto old = installed_.vips.find(address); old != installed_.vips.end()) {
        if (kept.insert(old->second.vip_id).second) row.vip_id = old->second.vip_id;
      }
      if (row.vip_id == 0) {
        while (!used.insert(next).second) ++next;
        row.vip_id = next;
      }
      row.owned_epoch = vip->owned ? epoch_ : 0;
      row.claim_epoch = vip->claim_epoch;
      row.flags = XLB_VIP_PING;
      if (vip->unknown_ports == UnknownPorts::fall_back) row.flags |= XLB_VIP_FALL_BACK;
      if (vip->unknown_ports == UnknownPorts::drop) row.flags |= XLB_VIP_DROP;
      if (vip->taken_over) row.flags |= XLB_VIP_TAKEN_OVER;
      if (vip->continues) row.flags |= XLB_VIP_CONTINUES;
      row.link_mask = links_.mask(vip->links);
      tables_.vips.insert(tables_.vips.end(), {address, row});
      join_group(*vip, row.link_mask);
    }
    return {};
  }

  // Who looks for an IPv6 address asks its solicited-node group (RFC 4861, 7.2.2).
  void join_group(const DesiredVip& vip, std::uint32_t mask) {
    if (vip.address.family() != Family::ipv6) return;
    if (!vip.owned && !vip.eligible) return;  // who may have to answer at any moment listens already
    for (const auto& [key, row] : tables_.links) {
      if ((row.link_bit & mask) != 0) tables_.groups.insert({row.l3_ifindex, solicited_node_group(vip.address)});
    }
  }

  Result<void> add_backends() {
    for (const DesiredService& service : desired_.services) {
      const auto vip = tables_.vips.find(service.vip);
      if (vip == tables_.vips.end()) continue;
      for (const DesiredPort& port : service.ports) {
        PlannedService planned;
        planned.key = {vip->second.vip_id, port.port, port.protocol};
        planned.service = &service;
        planned.port = &port;
        planned.vip = &vip->second;
        planned.first_backend = backend_indexes_.size();
        for (const DesiredBackend& backend : port.backends) want(planned, backend);
        services_.push_back(std::move(planned));
      }
    }
    std::set<std::uint32_t> vips;
    for (const auto& [address, row] : tables_.vips) vips.insert(row.vip_id);
    backends_.linger(desired_.pods, tables_.peers, vips);
    if (auto settled = backends_.settle(tables_.backends, tables_.returns); !settled) return settled;
    for (const std::uint32_t veth : tables_.returns) links_.add_return(veth);
    if (tables_.links.size() > XLB_MAX_LINKS) {
      return full("xlb_links", tables_.links.size(), XLB_MAX_LINKS, "LAN links and pods");
    }
    return {};
  }

  void want(PlannedService& planned, const DesiredBackend& backend) {
    const auto peer = node_ids_.find(backend.node);
    const std::uint32_t node_id = peer == node_ids_.end() ? 0 : peer->second;
    backend_indexes_.push_back(node_id == left_out ? nowhere : backends_.want(backend, node_id, planned.key.vip_id));
    if (node_id == left_out) return;
    if (node_id != 0) planned.remote = true;
    if (backend.draining) return;
    ++planned.takers;
    if (node_id == 0) ++planned.local_takers;
  }

  [[nodiscard]] bool takes_flows(const PlannedService& planned, std::size_t i) const {
    return !planned.port->backends[i].draining && backend_indexes_[planned.first_backend + i] != nowhere;
  }

  // May a new flow from the LAN be given to the port's backend number i, as far as is known now?
  [[nodiscard]] bool counts(const PlannedService& planned, std::size_t i) const {
    if (!takes_flows(planned, i)) return false;
    const std::uint32_t node_id = backends_.node_id(backend_indexes_[planned.first_backend + i]);
    if (node_id == 0) return true;
    return planned.service->policy == TrafficPolicy::cluster && (tables_.peers.at(node_id).flags & XLB_PEER_ALIVE) != 0;
  }

  // Backends of a VIP that take new flows, each counted once. Services are sorted by VIP.
  void count_healthy() {
    std::vector<std::uint32_t> counted_for(backends_.size(), 0);  // VIP id
    for (const PlannedService& planned : services_) {
      for (std::size_t i = 0; i < planned.port->backends.size(); ++i) {
        if (!counts(planned, i)) continue;
        std::uint32_t& vip_id = counted_for[backend_indexes_[planned.first_backend + i]];
        if (std::exchange(vip_id, planned.key.vip_id) != planned.key.vip_id) ++planned.vip->healthy;
      }
    }
  }

  Result<void> add_services() {
    Ids ids(capacity_.services);
    for (const auto& [key, row] : installed_.services) ids.reserve(row.service_id);
    std::sort(services_.begin(), services_.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
    const auto twice = std::adjacent_find(services_.begin(), services_.end(),
                                          [](const auto& a, const auto& b) { return a.key == b.key; });
    if (twice != services_.end()) {
      return Error{"port " + std::string(protocol_text(twice->key.protocol)) + "/" + std::to_string(twice->key.port) +
                   " is wanted by " + twice->service->name.text() + " and by " +
                   std::next(twice)->service->name.text()}
          .in("VIP " + twice->service->vip.text());
    }
    count_healthy();
    for (PlannedService& planned : services_) {
      fill_row(planned);
      const auto old = installed_.services.find(planned.key);
      if (old != installed_.services.end() && ids.take(old->second.service_id)) {
        planned.row.service_id = old->second.service_id;
      }
    }
    if (services_.size() + 1 > capacity_.services) {
      return too_small("services", services_.size(), capacity_.services == 0 ? 0 : capacity_.services - 1, "services");
    }
    for (PlannedService& planned : services_) {
      if (planned.row.service_id == 0) planned.row.service_id = ids.take_next(std::max(planned.row.hash_seed, 1u));
    }
    return {};
  }

  static void fill_row(PlannedService& planned) {
    const DesiredService& service = *planned.service;
    lb_service& row = planned.row;
    row.hash_seed = seed_of(service.vip, planned.port->port, planned.port->protocol);
    row.slot_count = slot_count(planned.takers);
    if (service.affinity_s) {
      row.flags |= XLB_SERVICE_AFFINITY;
      row.affinity_s = *service.affinity_s;
    }
    // Without a backend here this node is not eligible; whoever still comes is handed over and keeps his address, too.
    if (service.policy == TrafficPolicy::local && planned.local_takers != 0) row.flags |= XLB_SERVICE_LOCAL;
    if (!service.source_ranges.empty()) row.flags |= XLB_SERVICE_SOURCES;
    // NAT is the twin's: when all backends are here, nothing is left to end in XDP but a refused source.
    if (service.source_ranges.empty() && !planned.remote) row.flags |= XLB_SERVICE_TWIN;
  }

  // The slots of a service: over all its backends, or over those of this node where these are not all.
  struct Stretch {
    PlannedService* planned = nullptr;
    bool local = false;
    std::uint32_t base = no_base;
    [[nodiscard]] std::uint32_t count() const { return planned->row.slot_count; }
  };

  Result<void> add_slots() {
    std::vector<Stretch> stretches;
    for (PlannedService& planned : services_) {
      if (planned.takers != 0) stretches.push_back({&planned, false});
      if (planned.local_takers != 0 && planned.local_takers != planned.takers) stretches.push_back({&planned, true});
    }
    if (auto placed = place(stretches); !placed) return placed;
    for (const Stretch& stretch : stretches) {
      lb_service& row = stretch.planned->row;
      if (!stretch.local) row.slot_base = stretch.base;
      if (stretch.local || stretch.planned->local_takers == stretch.planned->takers) {
        row.local_slot_base = stretch.base;
        row.local_slot_count = row.slot_count;
      }
      fill(stretch);
    }
    for (const PlannedService& planned : services_) {
      tables_.services.insert(tables_.services.end(), {planned.key, planned.row});
    }
    memory_.forget_unused();
    return {};
  }

  Result<void> place(std::vector<Stretch>& stretches) const {
    Stretches kept(capacity_.slots);  // without what is kept
    for (Stretch& stretch : stretches) {
      const auto old = installed_.services.find(stretch.planned->key);
      if (old == installed_.services.end()) continue;
      const SlotRange range = stretch.local ? own_local_slots(old->second) : slots_of(old->second);
      if (range.count == stretch.count() && kept.take(range.base, range.count)) stretch.base = range.base;
    }
    Stretches free = kept;  // and without what is installed
    for (const auto& [key, row] : installed_.services) {
      for (const SlotRange& range : {slots_of(row), own_local_slots(row)}) free.take_rest(range.base, range.count);
    }
    std::size_t needed = 0;
    for (const Stretch& stretch : stretches) needed += stretch.count();
    for (Stretch& stretch : stretches) {
      if (stretch.base != no_base) continue;
      auto base = free.take_first(stretch.count());
      if (base) {
        kept.take(*base, stretch.count());
      } else if (base = kept.take_first(stretch.count()); base) {
        free.take_rest(*base, stretch.count());
      } else {
        return too_small("slots", needed, capacity_.slots, "slots").in(stretch.planned->service->name.text());
      }
      stretch.base = *base;
    }
    return {};
  }

  // Of a service's backends those whose node is this one, or has one of these flags (XLB_PEER_…).
  void gather_candidates(const Stretch& stretch, std::uint32_t presence) {
    const PlannedService& planned = *stretch.planned;
    candidates_.clear();
    for (std::size_t i = 0; i < planned.port->backends.size(); ++i) {
      if (!takes_flows(planned, i)) continue;
      const DesiredBackend& backend = planned.port->backends[i];
      const std::size_t index = backend_indexes_[planned.first_backend + i];
      const std::uint32_t node_id = backends_.node_id(index);
      if (stretch.local && node_id != 0) continue;
      if (node_id != 0 && presence != whatever && (tables_.peers.at(node_id).flags & presence) == 0) continue;
      candidates_.push_back({backend.address, backend.port, backends_.id(index)});
    }
  }

  // A dead node is one write, and the second backend of a slot takes over at once; this is for slots that have both on
  // dead nodes. Their number stays that of all backends, so no flow moves between living ones.
  void fill(const Stretch& stretch) {
    gather_candidates(stretch, XLB_PEER_ALIVE);
    const std::size_t living = candidates_.size();
    if (living == 0) gather_candidates(stretch, whatever);
    Slots& slots = tables_.slots[stretch.base] = memory_.fill(candidates_, stretch.count());
    if (living == 0) return;
    gather_candidates(stretch, XLB_PEER_ALIVE | XLB_PEER_AWAITED);
    if (candidates_.size() != living) await(slots, memory_.fill(candidates_, stretch.count()));
  }

  // A backend whose node is awaited stands first where it stood, for the connections that wait for it, and before a living one.
  static void await(Slots& slots, const Slots& with_awaited) {
    std::vector<lb_slot> rows = slots.rows();
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (with_awaited[i].first != rows[i].first) rows[i] = {with_awaited[i].first, rows[i].first};
    slots = rows;
  }

  Result<void> add_sources() {
    for (const PlannedService& planned : services_) {
      for (const Prefix& prefix : planned.service->source_ranges) {
        if (prefix.address.family() != planned.service->vip.family()) continue;
        tables_.sources.insert({planned.row.service_id, prefix});
      }
    }
    if (tables_.sources.size() > capacity_.sources) {
      return too_small("sources", tables_.sources.size(), capacity_.sources, "source ranges");
    }
    return {};
  }

  static constexpr std::uint32_t no_base = ~0u;
  static constexpr std::uint32_t whatever = ~0u;              // presence of a node: dead ones, too
  static constexpr std::uint32_t left_out = ~0u;              // no node id: the peer has no row
  static constexpr std::size_t nowhere = ~std::size_t{0};     // no index: the backend has no row

  const Desired& desired_;
  const Tables& installed_;
  const Capacity& capacity_;
  std::uint64_t epoch_;
  SlotMemory& memory_;
  Tables tables_;
  LinkRows links_;
  BackendRows backends_;
  std::map<std::string, std::uint32_t> node_ids_;  // of every desired peer
  std::vector<PlannedService> services_;
  std::vector<std::size_t> backend_indexes_;
  std::vector<SlotCandidate> candidates_;
};

}  // namespace

Result<Tables> compile(const Desired& desired, const Tables& installed, const Capacity& capacity, std::uint64_t epoch,
                       SlotMemory* memory) {
  SlotMemory own;
  return Compiler(desired, installed, capacity, epoch, memory != nullptr ? *memory : own).run();
}

}  // namespace xlb
