// SPDX-License-Identifier: Apache-2.0
// From what is declared and what this machine looks like to what this node should do. Pure: time comes in as facts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "userspace/core/model.hpp"
#include "userspace/core/peer.hpp"

namespace xlb {

struct DesiredBackend {
  Address address;
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  Place place;
  bool kernel_path = false;
  bool draining = false;  // keeps its flows, gets no new ones
  std::string ill;        // why its health probe says that it drains
  std::string node;
  auto operator<=>(const DesiredBackend&) const = default;
};

struct DesiredPort {
  std::uint16_t port = 0;
  Protocol protocol = Protocol::tcp;
  std::vector<DesiredBackend> backends;  // sorted by address and port
  std::string empty_reason;              // why there is none
  auto operator<=>(const DesiredPort&) const = default;
};

struct DesiredService {
  ObjectName name;
  Address vip;
  std::vector<DesiredPort> ports;
  std::optional<std::uint32_t> affinity_s;
  std::vector<Prefix> source_ranges;
  TrafficPolicy policy = TrafficPolicy::cluster;
  std::optional<HealthCheck> health;
  auto operator<=>(const DesiredService&) const = default;
};

struct DesiredVip {
  Address address;
  std::string pool;
  std::vector<std::string> links;  // L3 names of the links on which it may be announced; empty: nobody does here
  bool eligible = false;           // this node may answer for it
  std::string obstacle;            // why it is not eligible
  std::int32_t preference = 0;     // weights of the preferredNodeSelectors that match this node
  Address ranked_by;               // first address of the service's status: both families of a service follow it
  bool owned = false;              // this node answers for it
  std::uint64_t claim_epoch = 0;   // of its claim; 0: none, or alone
  std::string owner;               // empty: nobody known
  std::string reason;              // why owned or not; `status` and `why` print it
  UnknownPorts unknown_ports = UnknownPorts::reject;
  bool taken_over = false;         // another announcer on the nodes is kept silent about it
  bool continues = false;          // kube-proxy serves the connections that were open before
  std::vector<ObjectName> services;
  auto operator<=>(const DesiredVip&) const = default;
};

struct Desired {
  std::vector<Link> links;
  std::vector<DesiredPeer> peers;              // by name
  std::vector<DesiredVip> vips;                // by address
  SharedList<DesiredService> services;         // by name, one entry a family
  SortedRows<Address, std::uint32_t> pods;     // that run on this node, whether or not anybody lists them: their veths
  std::map<ObjectName, std::string> refusals;  // services without an address, and why
  std::vector<std::string> warnings;           // what works otherwise than the user may think
  auto operator<=>(const Desired&) const = default;
};

// Addresses of backends on this node, whose Place the machine must find before decide() is called.
// What was one of them and is a pod still belongs to Machine::places, too: connections to it go on.
std::vector<Address> backend_addresses(const Objects& objects, const std::string& node_name);

// Addresses that this machine needs for itself and that can be no VIP: its own and its gateways', each with the
// sentence that says so. To be avoided by allocate(); decide() refuses them too.
std::map<Address, std::string> own_uses(const Machine& machine);

// kube-proxy lets everybody in by a family that has no source range while the other has some. Here nobody comes in by it, and this
// is the sentence that says so; empty: the family has one, or the service has none at all.
std::string why_family_is_denied(const Service& service, Family family);

class DecideMemory;

// `conflicts`: VIPs that somebody else answers for, with the sentence that says who. `memory`, where given, saves looking for
// backends that were found before.
Desired decide(const Objects& objects, const Assignments& held, const Machine& machine,
               const std::map<ObjectName, std::string>& refusals, const std::map<Address, std::string>& conflicts,
               const PeerFacts& peers = {}, DecideMemory* memory = nullptr);

}  // namespace xlb
