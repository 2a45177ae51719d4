// SPDX-License-Identifier: Apache-2.0
// What the kernel should hold: the tables of the contract as values, and beside them the two things that live in no
// map: where programs sit on veths, and which solicited-node groups a link has joined.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "maps/abi.h"
#include "userspace/core/address.hpp"
#include "userspace/core/decide.hpp"
#include "userspace/core/slots.hpp"
#include "userspace/core/sorted_rows.hpp"

namespace xlb {

struct LinkKey {
  std::uint32_t ifindex = 0;
  std::uint16_t vlan = 0;
  auto operator<=>(const LinkKey&) const = default;
};

struct ServiceKey {
  std::uint32_t vip_id = 0;
  std::uint16_t port = 0;  // host order
  Protocol protocol = Protocol::tcp;
  auto operator<=>(const ServiceKey&) const = default;
};

struct SourceKey {
  std::uint32_t service_id = 0;
  Prefix prefix;
  auto operator<=>(const SourceKey&) const = default;
};

struct Group {
  std::uint32_t l3_ifindex = 0;
  Address address;  // ff02::1:ffXX:XXXX
  auto operator<=>(const Group&) const = default;
};

// Base -> one stretch of one service: slot_base, or local_slot_base.
using SlotStretches = std::map<std::uint32_t, Slots>;

// Values are the contract's own structs. Slots outside every service are 0 and are not listed.
struct Tables {
  std::map<LinkKey, lb_link> links;
  std::map<std::uint32_t, lb_peer> peers;   // node id -> peer; rows of zeros are not listed
  std::map<Mac, std::uint32_t> peer_macs;   // -> node id
  std::map<Address, lb_vip> vips;
  std::map<ServiceKey, lb_service> services;
  SlotStretches slots;
  SortedRows<std::uint32_t, lb_backend>
      backends;  // id -> backend; freed ids stay with flags 0, keeping their generation
  std::set<SourceKey> sources;
  std::set<std::uint32_t> returns;  // veths that carry xlb_return
  std::set<Group> groups;
};

bool operator==(const Tables& left, const Tables& right);

// Sizes of the tables as loaded.
struct Capacity {
  std::uint32_t services = XLB_DEFAULT_SERVICES;
  std::uint32_t backends = XLB_DEFAULT_BACKENDS;
  std::uint32_t slots = XLB_DEFAULT_SLOTS;
  std::uint32_t sources = XLB_DEFAULT_SOURCES;
};

// Keeps ids (VIPs, services, backends, slot bases) that are in use in `installed`; a backend id that is given to
// another endpoint gets the next generation. `epoch` is lb_node.epoch: an owned VIP carries it. Fails, naming the
// table, its size and the option that raises it, when something does not fit. VIPs without any service in `desired`
// (refused ones) get no row; peers whose MAC or link is not known get none either, and their backends are left out.
// `memory`, where given, saves hashing what was hashed before.
Result<Tables> compile(const Desired& desired, const Tables& installed, const Capacity& capacity, std::uint64_t epoch,
                       SlotMemory* memory = nullptr);

}  // namespace xlb
