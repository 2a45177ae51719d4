// SPDX-License-Identifier: Apache-2.0
#include "loader/changes.hpp"

#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace xlb {
namespace {

// A LAN full of strangers must not fill the memory; forgetting costs a needless look at most.
constexpr std::size_t kMostRemembered = 65536;

bool same(const InterfaceFacts& left, const InterfaceFacts& right) {
  return left.name == right.name && left.kind == right.kind && left.master == right.master &&
         left.link == right.link && left.vlan == right.vlan && left.mac == right.mac && left.mtu == right.mtu &&
         left.up == right.up && left.carrier == right.carrier;
}

// Puts the row in its place; true: it is new or another one.
template <typename Map, typename Key, typename Value>
bool differs(Map& map, const Key& key, const Value& value) {
  if (map.size() >= kMostRemembered) map.clear();
  const auto [place, fresh] = map.try_emplace(key, value);
  if (fresh) return true;
  if (place->second == value) return false;
  place->second = value;
  return true;
}

}  // namespace

bool Changes::matters(const nlmsghdr& message) {
  switch (message.nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      return link(message);
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return address(message);
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      return neighbour(message);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      return route(message);
    default:
      return false;
  }
}

void Changes::forget() {
  interfaces_.clear();
  addresses_.clear();
  neighbours_.clear();
  stations_.clear();
}

bool Changes::link(const nlmsghdr& message) {
  const auto facts = interface_row(message);
  if (!facts) return message.nlmsg_type == RTM_DELLINK;  // AF_BRIDGE: a port has left its bridge
  if (message.nlmsg_type == RTM_DELLINK) {
    interfaces_.erase(facts->ifindex);
    std::erase_if(neighbours_, [&](const auto& row) { return row.first.first == facts->ifindex; });
    std::erase_if(stations_, [&](const auto& row) { return row.second == facts->ifindex; });
    return true;
  }
  const auto [place, fresh] = interfaces_.try_emplace(facts->ifindex, *facts);
  if (fresh) return true;
  const bool changed = !same(place->second, *facts);
  place->second = *facts;
  return changed;
}

bool Changes::address(const nlmsghdr& message) {
  const auto row = address_row(message);
  if (!row) return false;
  const std::pair key{row->ifindex, row->address};
  if (message.nlmsg_type == RTM_DELADDR) {
    addresses_.erase(key);
    return true;
  }
  return differs(addresses_, key, *row);
}

// An entry that goes is ageing, not disappearance: what counts is where a station is seen next.
bool Changes::neighbour(const nlmsghdr& message) {
  if (message.nlmsg_type == RTM_DELNEIGH) return false;
  if (const auto station = station_row(message)) {
    return differs(stations_, std::pair{station->bridge, station->mac}, station->port);
  }
  const auto row = neighbour_row(message);
  if (!row || !row->mac) return false;
  return differs(neighbours_, std::pair{row->ifindex, row->address}, *row->mac);
}

bool Changes::route(const nlmsghdr& message) {
  const auto& header = header_of<rtmsg>(message);
  const auto rows = route_rows(message);
  return !rows.empty() && rows.front().table != RT_TABLE_LOCAL && (header.rtm_flags & RTM_F_CLONED) == 0;
}

}  // namespace xlb
