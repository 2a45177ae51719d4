// SPDX-License-Identifier: Apache-2.0
// Membership has to outlive every process of ours, to be readable, and to go without a trace. The kernel joins the
// solicited-node group of whatever address stands in its table of proxied neighbours, for as long as it stands there;
// so each group is held by a proxied neighbour in 100::/64, the prefix for addresses that nobody has (RFC 6666), with
// the 24 bits that make the group: nobody asks for it, so the kernel answers for nobody, not even where proxy_ndp is
// on.
//
// An address of the group itself with IFA_F_MCAUTOJOIN does not do: a link that goes down loses the address but not
// the membership, which from then on can neither be joined again (EADDRINUSE) nor left.
#include "loader/groups.hpp"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "loader/netlink_rows.hpp"

namespace xlb {
namespace {

constexpr std::size_t kGroupBytes = 3;  // of an address make its solicited-node group (RFC 4291, 2.7.1)

Address proxied_address(const Group& group) {
  Address address;
  address.bytes[0] = 0x01;  // 100::/64
  std::copy_n(group.address.bytes.end() - kGroupBytes, kGroupBytes, address.bytes.end() - kGroupBytes);
  return address;
}

std::optional<Group> group_of(const nlmsghdr& message) {
  const auto row = neighbour_row(message);
  if (!row || (header_of<ndmsg>(message).ndm_flags & NTF_PROXY) == 0)
    return std::nullopt;
  const Group group{row->ifindex, solicited_node_group(row->address)};
  return proxied_address(group) == row->address ? std::optional(group) : std::nullopt;
}

void put(NetlinkMessage& request, const Group& group) {
  auto* header = request.header<ndmsg>();
  header->ndm_family = AF_INET6;
  header->ndm_ifindex = static_cast<int>(group.l3_ifindex);
  header->ndm_flags = NTF_PROXY;
  put_address(request, NDA_DST, proxied_address(group));
}

Error refused_to(const std::string& doing, const Group& group, const std::string& why) {
  return Error{doing + " the group " + group.address.text() + " on interface " + std::to_string(group.l3_ifindex) +
               ": " + why};
}

}  // namespace

Result<std::set<Group>> joined_groups(NetlinkSocket& socket, const std::set<std::uint32_t>& l3_interfaces) {
  NetlinkMessage request(RTM_GETNEIGH, NLM_F_DUMP);
  auto* header = request.header<ndmsg>();
  header->ndm_family = AF_INET6;
  header->ndm_flags = NTF_PROXY;
  std::set<Group> groups;
  auto listed = socket.must(request, [&](const nlmsghdr& message) {
    const auto group = group_of(message);
    if (group && l3_interfaces.contains(group->l3_ifindex)) groups.insert(*group);
  });
  if (!listed) return listed.error().in("list proxied neighbours");
  return groups;
}

Result<void> join_group(NetlinkSocket& socket, const Group& group) {
  NetlinkMessage request(RTM_NEWNEIGH, NLM_F_CREATE);
  put(request, group);
  auto refused = socket.ask(request);
  if (!refused) return refused.error();
  if (!*refused || (*refused)->number == EEXIST) return {};
  // The group cannot be joined where IPv6 is off; the kernel then speaks of a lack of memory.
  const bool off =
      (*refused)->number == ENOBUFS || (*refused)->number == EAFNOSUPPORT || (*refused)->number == EOPNOTSUPP;
  return refused_to("join", group,
                    (*refused)->text + (off ? " (is IPv6 switched off there, or its MTU below 1280?)" : ""));
}

Result<void> leave_group(NetlinkSocket& socket, const Group& group) {
  NetlinkMessage request(RTM_DELNEIGH, 0);
  put(request, group);
  auto refused = socket.ask(request);
  if (!refused) return refused.error();
  const int number = *refused ? (*refused)->number : 0;
  if (number == 0 || number == ENOENT || number == ENODEV || number == ENXIO) return {};
  return refused_to("leave", group, (*refused)->text);
}

}  // namespace xlb
