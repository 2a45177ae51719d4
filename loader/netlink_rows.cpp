// SPDX-License-Identifier: Apache-2.0
#include "loader/netlink_rows.hpp"

#include <arpa/inet.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

namespace xlb {
namespace {

std::optional<Address> read_address(const nlattr* attribute) {
  if (attribute == nullptr) return std::nullopt;
  const auto bytes = payload(*attribute);
  if (bytes.size() == 4) return Address::from_ipv4({bytes[0], bytes[1], bytes[2], bytes[3]});
  if (bytes.size() != 16) return std::nullopt;
  Address address;
  std::copy_n(bytes.begin(), 16, address.bytes.begin());
  return address;
}

std::optional<Mac> read_mac(const nlattr* attribute) {
  if (attribute == nullptr || payload(*attribute).size() != 6) return std::nullopt;
  Mac mac;
  std::copy_n(payload(*attribute).begin(), 6, mac.bytes.begin());
  return mac;
}

int family_number(Family family) {
  return family == Family::ipv4 ? AF_INET : AF_INET6;
}

constexpr std::size_t kRouteAttributes = RTA_VIA + 1;
using RouteAttributes = std::array<const nlattr*, kRouteAttributes>;

// A gateway of the route's family, or of the other: IPv4 by way of an IPv6 neighbour.
std::optional<Address> read_gateway(const RouteAttributes& found) {
  if (found[RTA_GATEWAY] != nullptr) return read_address(found[RTA_GATEWAY]);
  if (found[RTA_VIA] == nullptr || payload(*found[RTA_VIA]).size() < sizeof(rtvia) + 16) return std::nullopt;
  const auto* via = reinterpret_cast<const rtvia*>(payload(*found[RTA_VIA]).data());
  if (via->rtvia_family != AF_INET6) return std::nullopt;
  Address gateway;
  std::memcpy(gateway.bytes.data(), via->rtvia_addr, gateway.bytes.size());
  return gateway;
}

template <typename Row>
Result<std::vector<Row>> dump(NetlinkSocket& socket, NetlinkMessage& request, const char* what,
                              std::optional<Row> (*read)(const nlmsghdr&)) {
  std::vector<Row> rows;
  auto done = socket.must(request, [&](const nlmsghdr& message) {
    if (auto row = read(message)) rows.push_back(std::move(*row));
  });
  if (!done) return done.error().in(std::string("list ") + what);
  return rows;
}

}  // namespace

std::optional<InterfaceFacts> interface_row(const nlmsghdr& message) {
  const auto& header = header_of<ifinfomsg>(message);
  if (header.ifi_family != AF_UNSPEC) return std::nullopt;  // AF_BRIDGE: the same port once more, with bridge details
  const auto found = attributes<IFLA_LINKINFO + 1>(message, sizeof header);
  if (found[IFLA_IFNAME] == nullptr) return std::nullopt;
  InterfaceFacts facts;
  facts.ifindex = static_cast<std::uint32_t>(header.ifi_index);
  facts.name = read_text(found[IFLA_IFNAME]);
  facts.master = read_u32(found[IFLA_MASTER]);
  facts.link = read_u32(found[IFLA_LINK]);
  facts.mac = read_mac(found[IFLA_ADDRESS]).value_or(Mac{});
  facts.mtu = read_u32(found[IFLA_MTU]);
  facts.up = (header.ifi_flags & IFF_UP) != 0;
  facts.carrier = (header.ifi_flags & IFF_LOWER_UP) != 0;
  facts.loopback = (header.ifi_flags & IFF_LOOPBACK) != 0;
  if (found[IFLA_LINKINFO] == nullptr) return facts;
  const auto info = nested_attributes<IFLA_INFO_DATA + 1>(*found[IFLA_LINKINFO]);
  if (info[IFLA_INFO_KIND] != nullptr) facts.kind = read_text(info[IFLA_INFO_KIND]);
  if (facts.kind == "vlan" && info[IFLA_INFO_DATA] != nullptr) {
    const auto data = nested_attributes<IFLA_VLAN_PROTOCOL + 1>(*info[IFLA_INFO_DATA]);
    // 802.1ad tags are left alone: a frame of theirs is no frame of this VLAN id.
    const bool ad =
        data[IFLA_VLAN_PROTOCOL] != nullptr && read_u16(data[IFLA_VLAN_PROTOCOL]) != htons(0x8100);
    if (data[IFLA_VLAN_ID] != nullptr && !ad) facts.vlan = read_u16(data[IFLA_VLAN_ID]);
  }
  return facts;
}

std::optional<AddressRow> address_row(const nlmsghdr& message) {
  const auto& header = header_of<ifaddrmsg>(message);
  if (header.ifa_family != AF_INET && header.ifa_family != AF_INET6) return std::nullopt;
  const auto found = attributes<IFA_FLAGS + 1>(message, sizeof header);
  // Of a point-to-point link IFA_ADDRESS is the other end and IFA_LOCAL this one; IPv6 often has IFA_ADDRESS only.
  const auto address = read_address(found[IFA_LOCAL] != nullptr ? found[IFA_LOCAL] : found[IFA_ADDRESS]);
  if (!address) return std::nullopt;
  const std::uint32_t flags = found[IFA_FLAGS] != nullptr ? read_u32(found[IFA_FLAGS]) : header.ifa_flags;
  return AddressRow{header.ifa_index, *address, header.ifa_prefixlen,
                    (flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)) == 0};
}

std::optional<NeighbourRow> neighbour_row(const nlmsghdr& message) {
  const auto& header = header_of<ndmsg>(message);
  if (header.ndm_family != AF_INET && header.ndm_family != AF_INET6) return std::nullopt;
  const auto found = attributes<NDA_LLADDR + 1>(message, sizeof header);
  const auto address = read_address(found[NDA_DST]);
  if (!address) return std::nullopt;
  NeighbourRow row{static_cast<std::uint32_t>(header.ndm_ifindex), *address, read_mac(found[NDA_LLADDR]),
                   header.ndm_state};
  if ((row.state & (NUD_INCOMPLETE | NUD_FAILED)) != 0) row.mac.reset();
  return row;
}

std::optional<StationRow> station_row(const nlmsghdr& message) {
  const auto& header = header_of<ndmsg>(message);
  if (header.ndm_family != AF_BRIDGE || (header.ndm_state & NUD_PERMANENT) != 0) return std::nullopt;
  const auto found = attributes<NDA_MASTER + 1>(message, sizeof header);
  const auto mac = read_mac(found[NDA_LLADDR]);
  // Without a master it is the device's own filter (NTF_SELF), not what a bridge has learned.
  if (!mac || found[NDA_MASTER] == nullptr) return std::nullopt;
  return StationRow{read_u32(found[NDA_MASTER]), static_cast<std::uint32_t>(header.ndm_ifindex), *mac};
}

std::vector<RouteRow> route_rows(const nlmsghdr& message) {
  const auto& header = header_of<rtmsg>(message);
  if (header.rtm_family != AF_INET && header.rtm_family != AF_INET6) return {};
  const auto found = attributes<kRouteAttributes>(message, sizeof header);
  RouteRow row;
  row.type = header.rtm_type;
  row.prefix_length = header.rtm_dst_len;
  row.ifindex = read_u32(found[RTA_OIF]);
  row.gateway = read_gateway(found);
  row.table = found[RTA_TABLE] != nullptr ? read_u32(found[RTA_TABLE]) : header.rtm_table;
  if (found[RTA_MULTIPATH] == nullptr) return {row};

  std::vector<RouteRow> rows;
  auto bytes = payload(*found[RTA_MULTIPATH]);
  while (bytes.size() >= sizeof(rtnexthop)) {
    const auto& hop = *reinterpret_cast<const rtnexthop*>(bytes.data());
    if (hop.rtnh_len < sizeof(rtnexthop) || hop.rtnh_len > bytes.size()) break;
    row.ifindex = static_cast<std::uint32_t>(hop.rtnh_ifindex);
    row.gateway = read_gateway(attributes_in<kRouteAttributes>(bytes.first(hop.rtnh_len).subspan(sizeof hop)));
    rows.push_back(row);
    bytes = bytes.subspan(std::min<std::size_t>(RTNH_ALIGN(hop.rtnh_len), bytes.size()));
  }
  return rows;
}

Result<std::map<std::uint32_t, InterfaceFacts>> dump_interfaces(NetlinkSocket& socket) {
  NetlinkMessage request(RTM_GETLINK, NLM_F_DUMP);
  request.header<ifinfomsg>()->ifi_family = AF_UNSPEC;
  auto rows = dump(socket, request, "interfaces", interface_row);
  if (!rows) return rows.error();
  std::map<std::uint32_t, InterfaceFacts> interfaces;
  for (InterfaceFacts& facts : *rows) interfaces[facts.ifindex] = std::move(facts);
  for (auto& [ifindex, facts] : interfaces) {
    const auto master = interfaces.find(facts.master);
    if (master == interfaces.end()) continue;
    facts.master_name = master->second.name;
    facts.master_kind = master->second.kind;
  }
  return interfaces;
}

Result<std::vector<AddressRow>> dump_addresses(NetlinkSocket& socket) {
  NetlinkMessage request(RTM_GETADDR, NLM_F_DUMP);
  request.header<ifaddrmsg>()->ifa_family = AF_UNSPEC;
  return dump(socket, request, "addresses", address_row);
}

Result<std::vector<NeighbourRow>> dump_neighbours(NetlinkSocket& socket) {
  NetlinkMessage request(RTM_GETNEIGH, NLM_F_DUMP);
  request.header<ndmsg>()->ndm_family = AF_UNSPEC;
  return dump(socket, request, "neighbours", neighbour_row);
}

Result<std::vector<StationRow>> dump_stations(NetlinkSocket& socket) {
  NetlinkMessage request(RTM_GETNEIGH, NLM_F_DUMP);
  request.header<ndmsg>()->ndm_family = AF_BRIDGE;
  return dump(socket, request, "forwarding databases of bridges", station_row);
}

Result<std::vector<RouteRow>> dump_default_routes(NetlinkSocket& socket, Family family) {
  NetlinkMessage request(RTM_GETROUTE, NLM_F_DUMP);
  auto* header = request.header<rtmsg>();
  header->rtm_family = static_cast<unsigned char>(family_number(family));
  header->rtm_table = RT_TABLE_MAIN;  // a kernel without strict checking sends every table
  std::vector<RouteRow> defaults;
  const auto done = socket.must(request, [&defaults](const nlmsghdr& message) {
    for (const RouteRow& row : route_rows(message)) {
      if (row.prefix_length == 0 && row.table == RT_TABLE_MAIN && row.type == RTN_UNICAST) defaults.push_back(row);
    }
  });
  // IPv6 switched off by kernel command line: no table, no routes.
  if (!done && family == Family::ipv4) return done.error().in("list routes");
  return defaults;
}

Result<RouteRow> look_up_route(NetlinkSocket& socket, const Address& address) {
  NetlinkMessage request(RTM_GETROUTE, 0);
  auto* header = request.header<rtmsg>();
  header->rtm_family = static_cast<unsigned char>(family_number(address.family()));
  header->rtm_dst_len = address.family() == Family::ipv4 ? 32 : 128;
  put_address(request, RTA_DST, address);
  std::vector<RouteRow> rows;
  auto refused = socket.ask(request, [&](const nlmsghdr& message) { rows = route_rows(message); });
  if (!refused) return refused.error();
  if (*refused) return Error{(*refused)->text};
  if (rows.empty()) return Error{"netlink gave no answer"};
  return rows.front();
}

void put_address(NetlinkMessage& message, std::uint16_t type, const Address& address) {
  const bool ipv4 = address.family() == Family::ipv4;
  message.put(type, address.bytes.data() + (ipv4 ? 12 : 0), ipv4 ? 4 : 16);
}

}  // namespace xlb
