// SPDX-License-Identifier: Apache-2.0
// Pods are found, not configured. The routing table names the interface that leads to a backend:
//
//   an address of the node itself             -> a host socket
//   a veth (Calico, kind: one route a pod)    -> the pod behind it
//   a bridge (flannel, k3s: one for all pods) -> neighbour table: the pod's MAC -> forwarding database: the port of
//   that
//                                                MAC -> the veth that is this port
//   a tunnel, a gateway, a LAN link           -> another machine
//
// The two tables behind a bridge forget: redirected packets pass around the bridge, so an entry ages away under full
// traffic. Forgetting is therefore not disappearance. A place found before holds as long as its veth is a port of the
// same bridge, unless something contradicts it: the MAC is learned at another port, the address has another MAC now,
// or the veth has been seen with a MAC that is not the one this address has.
#include "loader/places.hpp"

#include <linux/rtnetlink.h>

#include <algorithm>
#include <array>
#include <string_view>

namespace xlb {
namespace {

constexpr std::array<std::string_view, 10> kTunnels = {"vxlan", "geneve", "gre",    "gretap",    "ip6gre",
                                                       "ipip",  "sit",    "ip6tnl", "wireguard", "vti"};

// Hardware has no kind.
constexpr std::array<std::string_view, 6> kLans = {"", "vlan", "bond", "team", "macvlan", "ipvlan"};

bool is_tunnel(const std::string& kind) {
  return std::find(kTunnels.begin(), kTunnels.end(), kind) != kTunnels.end();
}
bool leads_to_lan(const std::string& kind) {
  return std::find(kLans.begin(), kLans.end(), kind) != kLans.end();
}

Place without_veth(Place::Kind kind, std::string reason) {
  return Place{kind, 0, {}, std::move(reason)};
}

class Finder {
 public:
  Finder(const Address& address, const PlaceFacts& facts, const std::optional<KnownPlace>& before)
      : address_(address), facts_(facts), before_(before) {}

  KnownPlace find(const Result<RouteRow>& route) {
    if (const auto own = facts_.own.find(address_); own != facts_.own.end()) {
      return {without_veth(Place::Kind::host, "address of " + name_of(own->second)), {}};
    }
    if (!route) return absent("no route: " + route.error().text);
    if (route->type == RTN_LOCAL) return {without_veth(Place::Kind::host, "local to this node"), {}};
    if (route->type != RTN_UNICAST) return absent("its route forbids it (unreachable, blackhole or prohibit)");
    const auto found = facts_.interfaces.find(route->ifindex);
    if (found == facts_.interfaces.end()) return absent("its route names an interface that has gone");
    const InterfaceFacts& out = found->second;
    if (is_tunnel(out.kind)) return absent("on another node, through the tunnel " + out.name);
    if (route->gateway) return absent("on another machine, by way of " + route->gateway->text() + " at " + out.name);
    if (out.kind == "bridge") return behind_bridge(out);
    if (facts_.lan.contains(out.ifindex) || leads_to_lan(out.kind))
      return absent("another machine on the LAN of " + out.name);
    if (out.kind == "veth") {
      const auto neighbour = facts_.neighbours.find({out.ifindex, address_});
      return pod(out, "its route leads to the veth",
                 neighbour == facts_.neighbours.end() ? std::nullopt : neighbour->second.mac);
    }
    return {without_veth(Place::Kind::routed, "behind " + out.name + ", which is a " + out.kind + " and no veth"),
            {}};
  }

 private:
  KnownPlace behind_bridge(const InterfaceFacts& bridge) {
    const auto neighbour = facts_.neighbours.find({bridge.ifindex, address_});
    const std::optional<Mac> mac = neighbour == facts_.neighbours.end() ? std::nullopt : neighbour->second.mac;
    if (mac) {
      const auto station = facts_.stations.find({bridge.ifindex, *mac});
      if (station != facts_.stations.end()) return at_port(bridge, station->second, *mac);
    }
    if (still_there(bridge, mac)) {
      KnownPlace kept = *before_;
      if (mac) kept.mac = mac;
      kept.place.veth_name = name_of(kept.place.veth_ifindex);
      kept.place.reason = "found before at " + kept.place.veth_name + ", a port of " + bridge.name;
      return kept;
    }
    if (facts_.lan.contains(bridge.ifindex) && !mac) {
      // The bridge carries the LAN as well: whether this is a pod or a neighbour's machine is not known before it
      // answers.
      return {without_veth(Place::Kind::routed, bridge.name + " has not resolved it yet"), {}};
    }
    if (!mac)
      return {without_veth(Place::Kind::routed, "no neighbour entry on " + bridge.name + ": it has not answered yet"),
              {}};
    return {without_veth(Place::Kind::routed,
                         bridge.name + " has not learned the port of its MAC " + mac->text() + " yet"),
            mac};
  }

  KnownPlace at_port(const InterfaceFacts& bridge, std::uint32_t port, const Mac& mac) {
    const auto found = facts_.interfaces.find(port);
    if (found == facts_.interfaces.end()) return absent("at a port of " + bridge.name + " that has gone");
    if (is_tunnel(found->second.kind)) return absent("on another node, through the tunnel " + found->second.name);
    if (found->second.kind != "veth") {
      return absent("another machine behind " + found->second.name + ", a port of " + bridge.name);
    }
    return pod(found->second, "route, neighbour and forwarding entry of " + bridge.name, mac);
  }

  [[nodiscard]] bool still_there(const InterfaceFacts& bridge, const std::optional<Mac>& mac) const {
    if (!before_ || before_->place.kind != Place::Kind::pod) return false;
    const auto veth = facts_.interfaces.find(before_->place.veth_ifindex);
    if (veth == facts_.interfaces.end() || veth->second.master != bridge.ifindex) return false;
    if (mac && before_->mac && *mac != *before_->mac) return false;
    const std::optional<Mac> known = mac ? mac : before_->mac;
    bool others = false, itself = false;
    for (auto station = facts_.stations.lower_bound({bridge.ifindex, Mac{}});
         station != facts_.stations.end() && station->first.first == bridge.ifindex; ++station) {
      const bool same_mac = known && station->first.second == *known;
      const bool same_port = station->second == veth->first;
      if (same_mac && !same_port) return false;
      if (same_port) (same_mac ? itself : others) = true;
    }
    return itself || !others || !known;
  }

  static KnownPlace pod(const InterfaceFacts& veth, const std::string& how, const std::optional<Mac>& mac) {
    return {Place{Place::Kind::pod, veth.ifindex, veth.name, how + ": " + veth.name}, mac};
  }
  static KnownPlace absent(std::string reason) { return {without_veth(Place::Kind::absent, std::move(reason)), {}}; }

  [[nodiscard]] std::string name_of(std::uint32_t ifindex) const {
    const auto found = facts_.interfaces.find(ifindex);
    return found == facts_.interfaces.end() ? "interface " + std::to_string(ifindex) : found->second.name;
  }

  const Address& address_;
  const PlaceFacts& facts_;
  const std::optional<KnownPlace>& before_;
};

}  // namespace

KnownPlace find_place(const Address& address, const Result<RouteRow>& route, const PlaceFacts& facts,
                      const std::optional<KnownPlace>& before) {
  return Finder(address, facts, before).find(route);
}

}  // namespace xlb
