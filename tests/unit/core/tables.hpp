// SPDX-License-Identifier: Apache-2.0
// What must hold of tables at every instant, and random intents to try it on.
#pragma once

#include <cstdint>
#include <cstring>
#include <set>
#include <string>

#include "tests/unit/core/build.hpp"
#include "userspace/core/rows.hpp"
#include "userspace/core/tables.hpp"

namespace xlb::test {

// The first contradiction, or "": a service uses slots that are there and its own; slots in use list backends that
// are there; a pod's veth carries xlb_return.
inline std::string contradiction(const Tables& tables) {
  std::set<std::uint32_t> bases;
  for (const auto& [key, service] : tables.services) {
    const std::string name = "service " + std::to_string(service.service_id);
    for (const SlotRange& slots : {slots_of(service), own_local_slots(service)}) {
      if (slots.count == 0) continue;
      const auto range = tables.slots.find(slots.base);
      if (range == tables.slots.end()) return name + " uses slots that are not there";
      if (range->second.size() != slots.count) return name + " uses more or fewer slots than there are";
      if (!bases.insert(slots.base).second) return name + " shares its slots";
      for (const lb_slot& slot : range->second.rows()) {
        if (slot.first == 0) return name + " has an empty slot";
        for (const std::uint32_t id : {slot.first, slot.second}) {
          if (id == 0) continue;
          const auto backend = tables.backends.find(id);
          if (backend == tables.backends.end() || !live(backend->second)) {
            return name + " lists backend " + std::to_string(id) + ", which is not there";
          }
        }
      }
    }
  }
  std::uint64_t end = 0;
  for (const auto& [base, slots] : tables.slots) {
    if (base < end) return "slots overlap at " + std::to_string(base);
    end = base + slots.size();
  }
  for (const auto& [id, backend] : tables.backends) {
    if (backend.veth_ifindex != 0 && !tables.returns.contains(backend.veth_ifindex)) {
      return "backend " + std::to_string(id) + " sits on a veth without a way back";
    }
    if (backend.node_id != 0 && !tables.peers.contains(backend.node_id)) {
      return "backend " + std::to_string(id) + " is on a peer that is not there";
    }
  }
  for (const auto& [mac, id] : tables.peer_macs) {
    if (!tables.peers.contains(id)) return "MAC " + mac.text() + " belongs to nobody";
  }
  for (const auto& [id, peer] : tables.peers) {
    if (!tables.links.contains({peer.attach_ifindex, peer.vlan})) {
      return "peer " + std::to_string(id) + " is behind a link that is not there";
    }
  }
  return "";
}

// Everything that a service's flows may be given to, by endpoint and generation.
inline std::set<std::string> endpoints_of(const Tables& tables, const ServiceKey& key) {
  const auto service = tables.services.find(key);
  if (service == tables.services.end()) return {};
  std::vector<bool> listed(tables.backends.empty() ? 1 : tables.backends.rbegin()->first + 1);
  for (const SlotRange& range : {slots_of(service->second), own_local_slots(service->second)}) {
    if (range.count == 0) continue;
    for (const lb_slot& slot : tables.slots.at(range.base).rows()) listed.at(slot.first) = listed.at(slot.second) = true;
  }
  listed[0] = false;
  std::set<std::string> endpoints;
  for (const auto& [id, row] : tables.backends) {
    if (!listed[id]) continue;
    endpoints.insert(Address::from_abi(row.address).text() + " " + std::to_string(row.port) + " " +
                     std::to_string(row.generation));
  }
  return endpoints;
}

using Endpoints = std::map<ServiceKey, std::set<std::string>>;
inline Endpoints endpoints_of(const Tables& tables) {
  Endpoints result;
  for (const auto& [key, service] : tables.services) result[key] = endpoints_of(tables, key);
  return result;
}

// On the way between two tables a service may give flows to what it had or will have, and to nothing else.
inline std::string misdirection(const Tables& now, const Endpoints& allowed) {
  for (const auto& [key, service] : now.services) {
    for (const std::string& endpoint : endpoints_of(now, key)) {
      const auto own = allowed.find(key);
      if (own != allowed.end() && own->second.contains(endpoint)) continue;
      return "service " + std::to_string(service.service_id) + " leads to " + endpoint;
    }
  }
  return "";
}

inline Desired random_desired(Random& random) {
  Desired desired;
  Link link;
  link.name = link.l3_name = "eth0";
  link.attach_ifindex = link.l3_ifindex = 2;
  desired.links = {link};
  for (std::uint32_t p = 2; p < 6; ++p) {
    if (chance(random, 50)) continue;
    DesiredPeer peer;
    peer.name = "pi" + std::to_string(p);
    peer.addresses = {address("192.168.0." + std::to_string(10 + p))};
    if (chance(random, 80)) peer.macs = {Mac{{2, 0, 0, 0, 0, static_cast<std::uint8_t>(p)}}};
    if (chance(random, 20)) peer.macs.push_back(Mac{{2, 0, 0, 0, 1, static_cast<std::uint8_t>(p)}});
    peer.attach_ifindex = chance(random, 90) ? 2 : 3;
    peer.alive = chance(random, 80);
    desired.peers.push_back(peer);
  }
  const std::uint32_t vips = below(random, 4);
  for (std::uint32_t v = 0; v < vips; ++v) {
    DesiredVip vip;
    vip.address = chance(random, 80) ? address("192.168.0." + std::to_string(200 + below(random, 5)))
                                     : address("fd00::" + std::to_string(200 + below(random, 3)));
    if (std::any_of(desired.vips.begin(), desired.vips.end(),
                    [&](const auto& o) { return o.address == vip.address; })) {
      continue;
    }
    vip.owned = chance(random, 80);
    if (vip.owned) vip.links = {"eth0"};
    DesiredService service;
    service.name.name = "s" + vip.address.text();
    service.vip = vip.address;
    if (chance(random, 20)) service.affinity_s = 60;
    if (chance(random, 20)) service.policy = TrafficPolicy::local;
    if (chance(random, 30)) service.source_ranges = {prefix("10.0.0.0/8"), prefix("fd00::/16")};
    std::set<std::pair<std::uint16_t, Protocol>> ports;
    for (std::uint32_t p = below(random, 4); p > 0; --p) {
      DesiredPort port;
      port.port = static_cast<std::uint16_t>(80 + below(random, 3));
      port.protocol = chance(random, 80) ? Protocol::tcp : Protocol::udp;
      if (!ports.insert({port.port, port.protocol}).second) continue;
      std::set<std::uint32_t> used;
      for (std::uint32_t b = below(random, 20); b > 0; --b) {
        const std::uint32_t which = 1 + below(random, 24);
        if (!used.insert(which).second) continue;
        DesiredBackend backend;
        backend.address = address("10.42.0." + std::to_string(which));
        backend.port = 8000;
        backend.protocol = port.protocol;
        backend.place = which % 5 == 0 ? host() : pod(100 + which + below(random, 2));
        backend.kernel_path = chance(random, 10);
        if (which % 3 == 0 && !desired.peers.empty()) {
          backend.node = desired.peers[which % desired.peers.size()].name;
        }
        backend.draining = chance(random, 10);
        port.backends.push_back(backend);
      }
      std::sort(port.backends.begin(), port.backends.end());
      service.ports.push_back(port);
    }
    vip.services = {service.name};
    desired.vips.push_back(vip);
    desired.services.push_back(service);
  }
  for (std::uint32_t which = 1; which < 24; ++which)
    if (which % 5 != 0 && chance(random, 70)) desired.pods[address("10.42.0." + std::to_string(which))] = 100 + which + below(random, 2);
  return desired;
}

}  // namespace xlb::test
