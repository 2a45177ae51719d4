// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/lan_interface.hpp"

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

namespace xlb {
namespace {

// MetalLB's list (anchored), as beginnings of names.
constexpr std::array<std::string_view, 14> kNever{"docker", "cbr", "dummy", "virbr", "lxcbr", "veth", "cali", "tunl",
                                                  "flannel", "kube-ipvs", "cni", "nodelocaldns", "lxc", "kube-bridge"};

bool may_be_lan(const InterfaceFacts& interface) {
  if (interface.loopback || !interface.up || interface.master != 0 || interface.vlan != 0) return false;
  return std::none_of(kNever.begin(), kNever.end(), [&](std::string_view beginning) { return interface.name.starts_with(beginning); });
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

Result<std::string> lan_interface(Netlink& netlink) {
  auto interfaces = netlink.interfaces();
  if (!interfaces) return interfaces.error();
  std::vector<std::string> candidates;
  for (const InterfaceFacts& interface : *interfaces)
    if (may_be_lan(interface)) candidates.push_back(interface.name);
  auto links = netlink.links(candidates);
  if (!links) return links.error();
  std::vector<std::string> with_gateway, with_address;
  for (const Link& link : *links) {
    if (link.vlan != 0 || link.addresses.empty()) continue;
    with_address.push_back(link.name);
    if (link.gateway4 || link.gateway6) with_gateway.push_back(link.name);
  }
  const std::vector<std::string>& chosen = with_gateway.empty() ? with_address : with_gateway;
  if (chosen.size() == 1) return chosen.front();
  if (chosen.empty()) return Error{"no interface to the LAN was found: none that is up has an address; name one"};
  return Error{"which interface is the LAN? " + listed(chosen) + (with_gateway.empty() ? " have addresses" : " have a default route") +
               ": name one"};
}

}  // namespace xlb
