// SPDX-License-Identifier: Apache-2.0
#include "loader/machine.hpp"

#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>

#include "loader/changes.hpp"
#include "loader/file.hpp"
#include "loader/kept_lists.hpp"
#include "loader/netlink_rows.hpp"
#include "loader/netlink_socket.hpp"
#include "loader/places.hpp"

namespace xlb {
namespace {

constexpr unsigned kGroups =
    RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
// Bursts (a hundred pods at once) must not overflow the queue; the kernel doubles it and caps it at rmem_max.
constexpr int kQueueBytes = 1 << 20;

bool is_multicast(const Address& address) {
  return address.family() == Family::ipv4 ? (address.bytes[12] & 0xf0) == 0xe0 : address.bytes[0] == 0xff;
}

bool is_link_local(const Address& address) {
  return address.family() == Family::ipv6 && address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}

Prefix subnet_of(const AddressRow& row) {
  Prefix prefix{row.address, row.prefix_length};
  const unsigned fixed = row.prefix_length + (row.address.family() == Family::ipv4 ? 96u : 0u);
  for (unsigned bit = fixed; bit < 128; ++bit) {
    prefix.address.bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> bit % 8));
  }
  return prefix;
}

class KernelNetlink final : public Netlink {
 public:
  KernelNetlink(KeptLists lists, NetlinkSocket changes) : lists_(std::move(lists)), notifications_(std::move(changes)) {}

  Result<std::vector<InterfaceFacts>> interfaces() override {
    auto found = lists_.interfaces();
    if (!found) return found.error();
    std::vector<InterfaceFacts> list;
    for (const auto& [ifindex, facts] : **found) list.push_back(facts);
    return list;
  }

  Result<std::optional<InterfaceFacts>> interface(const std::string& name) override {
    auto found = lists_.interfaces();
    if (!found) return found.error();
    for (const auto& [ifindex, facts] : **found) {
      if (facts.name == name) return std::optional(facts);
    }
    return std::optional<InterfaceFacts>();
  }

  Result<std::vector<Link>> links(const std::vector<std::string>& attached) override;
  Result<std::set<Address>> own_addresses() override;
  Result<Places> find_places(const std::vector<Address>& addresses, const Places& previous) override;
  Result<std::optional<Mac>> neighbour(std::uint32_t ifindex, const Address& address) override;
  Result<void> probe_neighbour(const Address& address) override;

  [[nodiscard]] int change_fd() const override { return notifications_.fd(); }
  bool drain_changes() override;

 private:
  KeptLists lists_;
  NetlinkSocket notifications_;
  Changes changes_;
  std::set<std::uint32_t> lan_;           // attach interfaces of the last links()
  std::map<Address, KnownPlace> places_;  // of the last find_places()
};

Result<std::vector<Link>> KernelNetlink::links(const std::vector<std::string>& attached) {
  auto interfaces = lists_.interfaces();
  if (!interfaces) return interfaces.error();
  auto addresses = lists_.addresses();
  if (!addresses) return addresses.error();
  auto gateways = lists_.default_routes();
  if (!gateways) return gateways.error();
  lan_.clear();
  std::vector<Link> links;
  const auto add = [&](const InterfaceFacts& below, const InterfaceFacts& l3) {
    Link link;
    link.name = below.name;
    link.attach_ifindex = below.ifindex;
    link.l3_ifindex = l3.ifindex;
    link.l3_name = l3.name;
    link.vlan = l3.ifindex == below.ifindex ? std::uint16_t{0} : l3.vlan;
    link.mac = l3.mac;
    link.up = l3.up && l3.carrier && below.up && below.carrier;
    for (const AddressRow& row : **addresses) {
      if (row.ifindex != l3.ifindex || is_multicast(row.address)) continue;
      link.addresses.push_back(row.address);
      if (!is_link_local(row.address)) link.subnets.push_back(subnet_of(row));
    }
    std::sort(link.subnets.begin(), link.subnets.end());
    link.subnets.erase(std::unique(link.subnets.begin(), link.subnets.end()), link.subnets.end());
    for (const RouteRow& route : **gateways) {
      if (route.ifindex != l3.ifindex || !route.gateway) continue;
      auto& gateway = route.gateway->family() == Family::ipv4 ? link.gateway4 : link.gateway6;
      if (!gateway) gateway = route.gateway;
    }
    links.push_back(std::move(link));
  };
  for (const auto& [ifindex, below] : **interfaces) {
    if (std::find(attached.begin(), attached.end(), below.name) == attached.end()) continue;
    lan_.insert(ifindex);
    add(below, below);
    for (const auto& [number, above] : **interfaces) {
      if (above.kind == "vlan" && above.link == ifindex && above.vlan != 0) add(below, above);
    }
  }
  std::sort(links.begin(), links.end(), [](const Link& left, const Link& right) {
    return std::pair(left.attach_ifindex, left.vlan) < std::pair(right.attach_ifindex, right.vlan);
  });
  return links;
}

Result<std::set<Address>> KernelNetlink::own_addresses() {
  auto interfaces = lists_.interfaces();
  if (!interfaces) return interfaces.error();
  auto rows = lists_.addresses();
  if (!rows) return rows.error();
  std::set<Address> own;
  for (const AddressRow& row : **rows) {
    const auto interface = (*interfaces)->find(row.ifindex);
    // kube-proxy in IPVS mode puts every VIP of the cluster on a dummy interface of that name.
    const bool ipvs = interface != (*interfaces)->end() && interface->second.name.starts_with("kube-ipvs");
    if (!is_multicast(row.address) && !ipvs) own.insert(row.address);
  }
  return own;
}

Result<Places> KernelNetlink::find_places(const std::vector<Address>& addresses, const Places& previous) {
  Places places;
  if (addresses.empty()) {
    places_.clear();
    return places;
  }
  PlaceFacts facts;
  facts.lan = lan_;
  auto interfaces = lists_.interfaces();
  if (!interfaces) return interfaces.error();
  facts.interfaces = **interfaces;
  auto own = lists_.addresses();
  if (!own) return own.error();
  for (const AddressRow& row : **own) {
    const auto interface = facts.interfaces.find(row.ifindex);
    if (interface != facts.interfaces.end() && interface->second.name.starts_with("kube-ipvs")) continue;
    if (!is_multicast(row.address)) facts.own.emplace(row.address, row.ifindex);
  }
  auto neighbours = dump_neighbours(lists_.requests());
  if (!neighbours) return neighbours.error();
  for (NeighbourRow& row : *neighbours) facts.neighbours[{row.ifindex, row.address}] = row;
  auto stations = lists_.stations();
  if (!stations) return stations.error();
  for (const StationRow& row : **stations) facts.stations[{row.bridge, row.mac}] = row.port;

  std::map<Address, KnownPlace> known;
  for (const Address& address : addresses) {
    std::optional<KnownPlace> before;
    if (const auto remembered = places_.find(address); remembered != places_.end()) before = remembered->second;
    // What the caller says counts more: another process may have found it since.
    if (const auto said = previous.find(address);
        said != previous.end() && (!before || before->place != said->second)) {
      const bool same_veth = before && before->place.veth_ifindex == said->second.veth_ifindex;
      before = KnownPlace{said->second, same_veth ? before->mac : std::nullopt};
    }
    const KnownPlace now = find_place(address, look_up_route(lists_.requests(), address), facts, before);
    places[address] = now.place;
    known[address] = now;
  }
  places_ = std::move(known);
  return places;
}

Result<std::optional<Mac>> KernelNetlink::neighbour(std::uint32_t ifindex, const Address& address) {
  auto neighbours = dump_neighbours(lists_.requests());
  if (!neighbours) return neighbours.error().in("look for the neighbour " + address.text());
  for (const NeighbourRow& row : *neighbours)
    if (row.ifindex == ifindex && row.address == address) return row.mac;
  return std::optional<Mac>();
}

Result<void> KernelNetlink::probe_neighbour(const Address& address) {
  const std::string doing = "ask for the neighbour " + address.text();
  auto route = look_up_route(lists_.requests(), address);
  if (!route) return route.error().in(doing);
  auto neighbours = dump_neighbours(lists_.requests());
  if (!neighbours) return neighbours.error().in(doing);
  std::optional<Mac> mac;
  for (const NeighbourRow& row : *neighbours) {
    if (row.ifindex != route->ifindex || row.address != address) continue;
    if ((row.state & (NUD_PERMANENT | NUD_NOARP)) != 0) return {};  // nobody would be asked
    mac = row.mac;
  }
  // A resolved neighbour is set back to NUD_PROBE, which asks at once: NTF_USE would leave a reachable one alone, and
  // the answer is what teaches the bridge.
  NetlinkMessage request(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE);
  auto* header = request.header<ndmsg>();
  header->ndm_family = address.family() == Family::ipv4 ? AF_INET : AF_INET6;
  header->ndm_ifindex = static_cast<int>(route->ifindex);
  header->ndm_state = mac ? NUD_PROBE : NUD_NONE;
  header->ndm_flags = mac ? 0 : NTF_USE;
  put_address(request, NDA_DST, address);
  if (mac) request.put(NDA_LLADDR, mac->bytes.data(), mac->bytes.size());
  if (auto done = lists_.requests().must(request); !done) return done.error().in(doing);
  return {};
}

bool KernelNetlink::drain_changes() {
  bool changed = false;
  notifications_.hear(
      [&](const nlmsghdr& message) {
        if (changes_.matters(message)) changed = true;
      },
      [&] {
        changes_.forget();
        changed = true;
      });
  return changed;
}

}  // namespace

Result<std::unique_ptr<Netlink>> Netlink::open() {
  auto lists = KeptLists::open();
  if (!lists) return lists.error();
  auto changes = NetlinkSocket::open(kGroups);
  if (!changes) return changes.error();
  // FORCE needs CAP_NET_ADMIN; without it the usual size has to do.
  if (setsockopt(changes->fd(), SOL_SOCKET, SO_RCVBUFFORCE, &kQueueBytes, sizeof kQueueBytes) != 0) {
    (void)setsockopt(changes->fd(), SOL_SOCKET, SO_RCVBUF, &kQueueBytes, sizeof kQueueBytes);
  }
  return std::unique_ptr<Netlink>(std::make_unique<KernelNetlink>(std::move(*lists), std::move(*changes)));
}

}  // namespace xlb
