// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/declared_peers.hpp"

#include <algorithm>

#include "maps/abi.h"

namespace xlb {

namespace {

std::string texts(const std::vector<Address>& addresses) {
  std::string text;
  for (const Address& address : addresses) text += (text.empty() ? "" : ", ") + address.text();
  return text;
}

// Empty where a node can have it.
std::string nobodys(const Address& address) {
  if (address.unspecified()) return "the unspecified address is nobody's";
  const bool ipv4 = address.family() == Family::ipv4;
  Address loopback;
  loopback.bytes[15] = 1;
  if (ipv4 ? address.bytes[12] == 127 : address == loopback)
    return "loopback reaches no other node: write its address on the LAN";
  if (ipv4 ? address.bytes[12] >= 224 : address.bytes[0] == 0xff)
    return "a multicast or broadcast address is no node's";
  return {};
}

bool on_a_link(const Address& address, const std::vector<Link>& links) {
  return std::any_of(links.begin(), links.end(), [&](const Link& link) {
    return std::any_of(link.subnets.begin(), link.subnets.end(),
                       [&](const Prefix& subnet) { return subnet.contains(address); });
  });
}

std::string subnets_of(const std::vector<Link>& links) {
  std::string text;
  for (const Link& link : links)
    for (const Prefix& subnet : link.subnets)
      text += (text.empty() ? "" : ", ") + subnet.text() + " (" + link.l3_name + ")";
  return text.empty() ? "none" : text;
}

bool is_of(const Machine& machine, const Address& address) {
  return machine.own_addresses.contains(address);
}

// What is wrong with this node's own declaration.
std::string about_itself(const Node& node, const Machine& machine) {
  const bool any =
      std::any_of(node.addresses.begin(), node.addresses.end(), [&](const Address& a) { return is_of(machine, a); });
  if (any || node.addresses.empty()) return {};
  return "Node " + node.name + " has the name of this node, but " + texts(node.addresses) +
         " is no address of this machine: two nodes with one name answer for each other; give one another name "
         "(--node)";
}

std::string about_peer(const Node& node, const Machine& machine) {
  if (node.addresses.empty())
    return "Node " + node.name + " has no InternalIP, so it is no peer: xdp-lb peer add " + node.name + " IP";
  for (const Address& address : node.addresses)
    if (is_of(machine, address))
      return "Node " + node.name + " is declared with " + address.text() +
             ", an address of this machine, which is node " + machine.node_name +
             ": correct the one or the other (--node)";
  if (machine.links.empty()) return {};
  const bool near = std::any_of(node.addresses.begin(), node.addresses.end(),
                                [&](const Address& a) { return on_a_link(a, machine.links); });
  if (near) return {};
  return "Node " + node.name + ": " + texts(node.addresses) + " is in no subnet of the attached links, which are " +
         subnets_of(machine.links) + ": peers speak by Ethernet and cannot be reached through a router";
}

}  // namespace

std::vector<Node> declared_peers(const Objects& objects, const std::string& own_name) {
  std::vector<Node> peers;
  for (const Node& node : objects.nodes)
    if (node.name != own_name) peers.push_back(node);
  std::sort(peers.begin(), peers.end(), [](const Node& a, const Node& b) { return a.name < b.name; });
  return peers;
}

Result<void> check_peer(const Node& peer, const Objects& objects, const Machine& machine) {
  if (peer.name == machine.node_name)
    return Error{peer.name + " is this node's own name: a peer is another node; a node's name is set by --node"};
  for (const Address& address : peer.addresses) {
    if (const std::string why = nobodys(address); !why.empty()) return Error{address.text() + ": " + why};
    if (is_of(machine, address))
      return Error{address.text() + " is an address of this machine: a peer is another one"};
    for (const Node& node : objects.nodes)
      if (node.name != peer.name && std::count(node.addresses.begin(), node.addresses.end(), address) > 0)
        return Error{address.text() + " is the address of node " + node.name + " already: xdp-lb peer rm " +
                     node.name};
  }
  if (peer.addresses.size() > 1 && std::count_if(peer.addresses.begin(), peer.addresses.end(),
                                                 [](const Address& a) { return a.family() == Family::ipv4; }) > 1)
    return Error{"more than one IPv4 address: write the one on the LAN"};
  auto peers = declared_peers(objects, machine.node_name);
  std::erase_if(peers, [&](const Node& node) { return node.name == peer.name; });
  if (peers.size() + 1 >= XLB_MAX_PEERS)
    return Error{"a cluster has at most " + std::to_string(XLB_MAX_PEERS) + " nodes: remove one (xdp-lb peer ls)"};
  return {};
}

std::map<Address, std::string> node_uses(const Objects& objects) {
  std::map<Address, std::string> uses;
  for (const Node& node : objects.nodes)
    for (const Address& address : node.addresses)
      uses[address] = address.text() + " is the address of node " + node.name;
  return uses;
}

std::vector<std::string> peer_warnings(const Objects& objects, const Machine& machine) {
  std::vector<std::string> warnings;
  for (const Node& node : objects.nodes) {
    std::string warning = node.name == machine.node_name ? about_itself(node, machine) : about_peer(node, machine);
    if (!warning.empty()) warnings.push_back(std::move(warning));
  }
  return warnings;
}

}  // namespace xlb
