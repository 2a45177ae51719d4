// SPDX-License-Identifier: Apache-2.0
#include "loader/groups.hpp"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "loader/netlink_rows.hpp"

namespace xlb {
namespace {

// ff02::1:ff00:0/104 (RFC 4291, 2.7.1)
bool is_solicited_node(const Address& address) {
  constexpr std::array<std::uint8_t, 13> prefix = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
  return std::equal(prefix.begin(), prefix.end(), address.bytes.begin());
}

void put(NetlinkMessage& request, const Group& group, std::uint32_t flags) {
  auto* header = request.header<ifaddrmsg>();
  header->ifa_family = AF_INET6;
  header->ifa_prefixlen = 128;
  header->ifa_index = group.l3_ifindex;
  put_address(request, IFA_LOCAL, group.address);
  put_address(request, IFA_ADDRESS, group.address);
  if (flags != 0) mnl_attr_put_u32(request.get(), IFA_FLAGS, flags);
}

}  // namespace

Result<std::set<Group>> joined_groups(NetlinkSocket& socket, const std::set<std::uint32_t>& l3_interfaces) {
  auto rows = dump_addresses(socket);
  if (!rows) return rows.error();
  std::set<Group> groups;
  for (const AddressRow& row : *rows) {
    if (row.autojoin && l3_interfaces.contains(row.ifindex) && is_solicited_node(row.address)) {
      groups.insert({row.ifindex, row.address});
    }
  }
  return groups;
}

Result<void> join_group(NetlinkSocket& socket, const Group& group) {
  NetlinkMessage request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
  put(request, group, IFA_F_MCAUTOJOIN | IFA_F_NODAD | IFA_F_NOPREFIXROUTE);
  auto refused = socket.ask(request);
  if (!refused) return refused.error();
  if (!*refused || (*refused)->number == EEXIST) return {};
  const bool off = (*refused)->number == EACCES || (*refused)->number == EOPNOTSUPP;
  return Error{"join the group " + group.address.text() + " on interface " + std::to_string(group.l3_ifindex) + ": " +
               (*refused)->text +
               (off ? " (IPv6 is switched off there; see sysctl net.ipv6.conf.all.disable_ipv6)" : "")};
}

Result<void> leave_group(NetlinkSocket& socket, const Group& group) {
  NetlinkMessage request(RTM_DELADDR, 0);
  put(request, group, 0);
  auto refused = socket.ask(request);
  if (!refused) return refused.error();
  if (!*refused || (*refused)->number == EADDRNOTAVAIL || (*refused)->number == ENODEV ||
      (*refused)->number == EINVAL) {
    return {};
  }
  return Error{"leave the group " + group.address.text() + " on interface " + std::to_string(group.l3_ifindex) +
               ": " + (*refused)->text};
}

}  // namespace xlb
