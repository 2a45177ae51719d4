// SPDX-License-Identifier: Apache-2.0
// The difference between two Tables as ordered edits, make before break: peers, then backends, then slots, then
// services, then VIPs, then who is asked for them (groups); removal in reverse. apply(plan(a, b), a) == b.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "userspace/core/tables.hpp"

namespace xlb {

// An absent value removes the entry.
struct EditLink {
  LinkKey key;
  std::optional<lb_link> value;
};
struct EditPeer {
  std::uint32_t id;
  std::optional<lb_peer> value;
};
struct EditPeerMac {
  Mac mac;
  std::optional<std::uint32_t> value;  // node id
};
struct EditReturn {
  std::uint32_t ifindex;
  bool attached;
};
struct EditBackend {
  std::uint32_t id;
  lb_backend value;
};
struct EditSlots {
  std::uint32_t base;
  std::vector<lb_slot> slots;
};  // written from `base` on
struct EditService {
  ServiceKey key;
  std::optional<lb_service> value;
};
struct EditSource {
  SourceKey key;
  bool present;
};
struct EditVip {
  Address address;
  std::optional<lb_vip> value;
};
struct EditGroup {
  Group group;
  bool joined;
};

using Edit = std::variant<EditLink, EditPeer, EditPeerMac, EditReturn, EditBackend, EditSlots, EditService, EditSource,
                          EditVip, EditGroup>;
using Edits = std::vector<Edit>;

// `capacity`: where old and new rows together do not fit into a table, what goes is removed before the new is
// written.
Edits plan(const Tables& installed, const Tables& wanted, const Capacity& capacity = {});
Tables apply(const Edits& edits, Tables tables);

// One line for a log or a test: "backend 3 = 10.42.0.8:8000/TCP live local generation 2".
std::string describe(const Edit& edit);

}  // namespace xlb
