// SPDX-License-Identifier: Apache-2.0
// Edits one by one: what they do to Tables, and how they read.
#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <iterator>

#include "userspace/core/plan.hpp"
#include "userspace/core/rows.hpp"

namespace xlb {
namespace {

bool all_zero(const std::vector<lb_slot>& slots) {
  return std::all_of(slots.begin(), slots.end(),
                     [](const lb_slot& slot) { return slot.first == 0 && slot.second == 0; });
}

template <typename Map, typename Key, typename Value>
void set_or_erase(Map& map, const Key& key, const std::optional<Value>& value) {
  if (value) {
    map[key] = *value;
  } else {
    map.erase(key);
  }
}

template <typename Set, typename Item>
void insert_or_erase(Set& set, const Item& item, bool present) {
  if (present) {
    set.insert(item);
  } else {
    set.erase(item);
  }
}

struct Applier {
  Tables& tables;

  void operator()(const EditLink& edit) const { set_or_erase(tables.links, edit.key, edit.value); }
  void operator()(const EditPeer& edit) const { set_or_erase(tables.peers, edit.id, edit.value); }
  void operator()(const EditPeerMac& edit) const { set_or_erase(tables.peer_macs, edit.mac, edit.value); }
  void operator()(const EditReturn& edit) const { insert_or_erase(tables.returns, edit.ifindex, edit.attached); }
  void operator()(const EditService& edit) const { set_or_erase(tables.services, edit.key, edit.value); }
  void operator()(const EditSource& edit) const { insert_or_erase(tables.sources, edit.key, edit.present); }
  void operator()(const EditVip& edit) const { set_or_erase(tables.vips, edit.address, edit.value); }
  void operator()(const EditGroup& edit) const { insert_or_erase(tables.groups, edit.group, edit.joined); }

  // A row of an array that is all zero is one that was never used.
  void operator()(const EditBackend& edit) const {
    constexpr lb_backend nothing{};
    if (same_row(edit.value, nothing)) {
      tables.backends.erase(edit.id);
    } else {
      tables.backends[edit.id] = edit.value;
    }
  }

  // Within a listed range: its slots change, and it goes when all are 0. Elsewhere: a new range; plan() has cleared
  // what stood there.
  void operator()(const EditSlots& edit) const {
    auto range = tables.slots.upper_bound(edit.base);
    if (range != tables.slots.begin()) --range;
    const bool within = range != tables.slots.end() && range->first <= edit.base &&
                        edit.base + edit.slots.size() <= range->first + range->second.size();
    if (!within) {
      if (!all_zero(edit.slots)) tables.slots[edit.base] = edit.slots;
      return;
    }
    std::vector<lb_slot> slots = range->second.rows();
    std::copy(edit.slots.begin(), edit.slots.end(), slots.begin() + static_cast<std::ptrdiff_t>(edit.base - range->first));
    if (all_zero(slots))
      tables.slots.erase(range);
    else
      range->second = slots;
  }
};

std::string link_text(const LinkKey& key) {
  return "link " + std::to_string(key.ifindex) + (key.vlan == 0 ? "" : " vlan " + std::to_string(key.vlan));
}

std::uint16_t host_order(__be16 port) {
  std::uint8_t bytes[2];
  std::memcpy(bytes, &port, sizeof(bytes));
  return static_cast<std::uint16_t>(bytes[0] << 8 | bytes[1]);
}

std::string endpoint_text(const lb_backend& backend) {
  const Address address = Address::from_abi(backend.address);
  const std::string text = address.family() == Family::ipv6 ? "[" + address.text() + "]" : address.text();
  const auto protocol = static_cast<Protocol>(backend.protocol);
  return text + ":" + std::to_string(host_order(backend.port)) + "/" + protocol_text(protocol);
}

std::string flag_text(std::uint32_t flags, std::initializer_list<std::pair<std::uint32_t, const char*>> names) {
  std::string text;
  for (const auto& [flag, name] : names) {
    if ((flags & flag) != 0) text += std::string(" ") + name;
  }
  return text;
}

std::string range_text(const SlotRange& range) {
  return std::to_string(range.base) + ".." + std::to_string(range.base + range.count - 1);
}

struct Describer {
  std::string operator()(const EditLink& edit) const {
    if (!edit.value) return link_text(edit.key) + " removed";
    if (edit.value->role == XLB_LINK_RETURN) return link_text(edit.key) + " = way back of a pod";
    return link_text(edit.key) + " = LAN, replies by interface " + std::to_string(edit.value->l3_ifindex);
  }
  std::string operator()(const EditPeer& edit) const {
    const std::string name = "peer " + std::to_string(edit.id);
    if (!edit.value) return name + " removed";
    const lb_peer& peer = *edit.value;
    std::string text = name + " =";
    for (const lb_addr& each : {peer.address4, peer.address6}) {
      if (const Address address = Address::from_abi(each); !address.unspecified()) text += " " + address.text();
    }
    Mac mac;
    std::copy(std::begin(peer.mac), std::end(peer.mac), mac.bytes.begin());
    return text + " at " + mac.text() + " by " + link_text({peer.attach_ifindex, peer.vlan}) +
           ((peer.flags & XLB_PEER_ALIVE) != 0 ? " alive" : (peer.flags & XLB_PEER_AWAITED) != 0 ? " awaited" : " dead");
  }
  std::string operator()(const EditPeerMac& edit) const {
    const std::string name = "MAC " + edit.mac.text();
    return edit.value ? name + " = peer " + std::to_string(*edit.value) : name + " removed";
  }
  std::string operator()(const EditReturn& edit) const {
    return "xlb_return " + std::string(edit.attached ? "onto" : "off") + " interface " + std::to_string(edit.ifindex);
  }
  std::string operator()(const EditBackend& edit) const {
    const std::string name = "backend " + std::to_string(edit.id);
    if (!live(edit.value)) return name + " freed after generation " + std::to_string(edit.value.generation);
    const std::string where = edit.value.node_id == 0 ? "" : " on peer " + std::to_string(edit.value.node_id);
    return name + " = " + endpoint_text(edit.value) + where +
           flag_text(edit.value.flags, {{XLB_BACKEND_LIVE, "live"},
                                        {XLB_BACKEND_LOCAL, "local"},
                                        {XLB_BACKEND_HOST, "host"},
                                        {XLB_BACKEND_KERNEL, "kernel"},
                                        {XLB_BACKEND_DRAINING, "draining"}}) +
           " generation " + std::to_string(edit.value.generation);
  }
  std::string operator()(const EditSlots& edit) const {
    return "slots " + std::to_string(edit.base) + ".." + std::to_string(edit.base + edit.slots.size() - 1) +
           (all_zero(edit.slots) ? " cleared" : " written");
  }
  std::string operator()(const EditService& edit) const {
    const std::string name = "service of VIP " + std::to_string(edit.key.vip_id) + " port " +
                             std::to_string(edit.key.port) + "/" + protocol_text(edit.key.protocol);
    if (!edit.value) return name + " removed";
    const lb_service& service = *edit.value;
    std::string text = name + " = " + std::to_string(service.service_id);
    text += service.slot_count == 0 ? " without backend" : " slots " + range_text(slots_of(service));
    if (const SlotRange local = own_local_slots(service); local.count != 0) text += " of this node " + range_text(local);
    return text + flag_text(service.flags, {{XLB_SERVICE_AFFINITY, "affinity"},
                                            {XLB_SERVICE_SOURCES, "sources"},
                                            {XLB_SERVICE_TWIN, "twin"},
                                            {XLB_SERVICE_LOCAL, "local"}});
  }
  std::string operator()(const EditSource& edit) const {
    return "source " + edit.key.prefix.text() + " of service " + std::to_string(edit.key.service_id) +
           (edit.present ? " allowed" : " removed");
  }
  std::string operator()(const EditVip& edit) const {
    const std::string name = "VIP " + edit.address.text();
    if (!edit.value) return name + " removed";
    return name + " = " + std::to_string(edit.value->vip_id) +
           (edit.value->owned_epoch == 0 ? " not owned" : " owned") + " healthy " +
           std::to_string(edit.value->healthy);
  }
  std::string operator()(const EditGroup& edit) const {
    return "group " + edit.group.address.text() + (edit.joined ? " joined" : " left") + " on interface " +
           std::to_string(edit.group.l3_ifindex);
  }
};

}  // namespace

bool operator==(const Tables& left, const Tables& right) {
  const auto same_rows = [](const auto& a, const auto& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
      return x.first == y.first && same_row(x.second, y.second);
    });
  };
  const auto same_ranges = [](const auto& x, const auto& y) {
    return x.first == y.first && same_slots(x.second, y.second);
  };
  return same_rows(left.links, right.links) && same_rows(left.peers, right.peers) &&
         left.peer_macs == right.peer_macs && same_rows(left.vips, right.vips) &&
         same_rows(left.services, right.services) && same_rows(left.backends, right.backends) &&
         std::equal(left.slots.begin(), left.slots.end(), right.slots.begin(), right.slots.end(), same_ranges) &&
         left.sources == right.sources && left.returns == right.returns && left.groups == right.groups;
}

Tables apply(const Edits& edits, Tables tables) {
  for (const Edit& edit : edits) std::visit(Applier{tables}, edit);
  return tables;
}

std::string describe(const Edit& edit) {
  return std::visit(Describer{}, edit);
}

}  // namespace xlb
