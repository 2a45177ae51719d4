// SPDX-License-Identifier: Apache-2.0
// The words of the product as values: what users declare (Objects), what this machine looks like (Machine), and what
// follows from both (Desired). Kubernetes-shaped, whichever way they come: manifests or an API server.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "userspace/core/address.hpp"
#include "userspace/core/health_check.hpp"
#include "userspace/core/shared.hpp"
#include "userspace/core/sorted_rows.hpp"

namespace xlb {

// ---- declared ---------------------------------------------------------------------------------------------------

struct ObjectName {
  std::string ns = "default";
  std::string name;
  [[nodiscard]] std::string text() const { return ns + "/" + name; }
  auto operator<=>(const ObjectName&) const = default;
};

using Labels = std::map<std::string, std::string>;

struct LabelRequirement {
  enum class Operator : std::uint8_t { in, not_in, exists, does_not_exist };
  std::string key;
  Operator op = Operator::exists;
  std::vector<std::string> values;
  auto operator<=>(const LabelRequirement&) const = default;
};

// matchLabels are held as In requirements. Empty: matches everything.
struct LabelSelector {
  std::vector<LabelRequirement> requirements;
  [[nodiscard]] bool matches(const Labels& labels) const;
  auto operator<=>(const LabelSelector&) const = default;
};

struct ServiceAllocation {
  std::uint32_t priority = 0;  // lower wins, 0 last
  std::set<std::string> namespaces;
  std::vector<LabelSelector> namespace_selectors;
  std::vector<LabelSelector> service_selectors;
  auto operator<=>(const ServiceAllocation&) const = default;
};

struct Pool {
  ObjectName name{"metallb-system", ""};
  Labels labels;
  std::vector<AddressRange> ranges;  // in the order listed
  bool auto_assign = true;
  bool avoid_buggy_ips = false;
  std::optional<ServiceAllocation> allocation;
  auto operator<=>(const Pool&) const = default;
};

struct PreferredNodes {
  std::int32_t weight = 1;
  LabelSelector preference;
  auto operator<=>(const PreferredNodes&) const = default;
};

struct L2Advertisement {
  ObjectName name{"metallb-system", ""};
  std::vector<std::string> pools;
  std::vector<LabelSelector> pool_selectors;
  std::vector<LabelSelector> node_selectors;
  std::vector<LabelSelector> service_selectors;
  std::vector<PreferredNodes> preferred_nodes;
  std::vector<std::string> interfaces;  // empty: all
  auto operator<=>(const L2Advertisement&) const = default;
};

enum class Protocol : std::uint8_t { tcp = 6, udp = 17 };
const char* protocol_text(Protocol protocol);  // "TCP", "UDP"

struct ServicePort {
  std::string name;
  Protocol protocol = Protocol::tcp;
  std::uint16_t port = 0;
  // targetPort: a number, a name (looked up in the EndpointSlice by port name), or empty: same as port.
  std::string target;
  auto operator<=>(const ServicePort&) const = default;
};

enum class Path : std::uint8_t { automatic, fast, kernel };  // annotation xdp-lb.io/path
enum class TrafficPolicy : std::uint8_t { cluster, local };
enum class FamilyPolicy : std::uint8_t { single, prefer_dual, require_dual };
enum class UnknownPorts : std::uint8_t { reject, drop, fall_back };  // annotation xdp-lb.io/unknown-ports

struct Service {
  ObjectName name;
  Labels labels;
  std::string type = "LoadBalancer";
  std::string load_balancer_class;
  std::vector<ServicePort> ports;
  std::map<std::string, std::string> selector;
  std::vector<Address> requested;  // metallb.io/loadBalancerIPs, or spec.loadBalancerIP
  std::string pool;                // metallb.io/address-pool
  std::string sharing_key;         // metallb.io/allow-shared-ip
  std::vector<Family> families;    // spec.ipFamilies; empty: whatever the pools offer, IPv4 first
  FamilyPolicy family_policy = FamilyPolicy::single;
  TrafficPolicy policy = TrafficPolicy::cluster;
  std::optional<std::uint32_t> affinity_s;  // sessionAffinity: ClientIP and its timeout in seconds
  std::vector<Prefix> source_ranges;        // empty: everybody
  Path path = Path::automatic;
  UnknownPorts unknown_ports = UnknownPorts::reject;
  bool publish_not_ready = false;
  std::optional<HealthCheck> health;  // annotation xdp-lb.io/health
  std::uint16_t health_check_port = 0;  // healthCheckNodePort: where a balancer further out asks each node; 0: nowhere
  auto operator<=>(const Service&) const = default;
};

struct EndpointPort {
  std::string name;
  Protocol protocol = Protocol::tcp;
  std::uint16_t port = 0;
  auto operator<=>(const EndpointPort&) const = default;
};

struct Endpoint {
  std::vector<Address> addresses;
  bool ready = true;
  bool serving = true;
  bool terminating = false;
  std::string node;  // empty: this node
  auto operator<=>(const Endpoint&) const = default;
};

struct EndpointSlice {
  ObjectName name;
  std::string service;  // label kubernetes.io/service-name, same namespace
  std::vector<EndpointPort> ports;
  std::vector<Endpoint> endpoints;
  auto operator<=>(const EndpointSlice&) const = default;
};

struct Node {
  std::string name;
  Labels labels;
  std::vector<Address> addresses;  // InternalIP
  bool network_unavailable = false;
  bool cordoned = false;  // spec.unschedulable: kubectl cordon. No input of the election, as with MetalLB
  auto operator<=>(const Node&) const = default;
};

// Everything declared, valid one by one and together (no overlap, no duplicate).
struct Objects {
  std::vector<Pool> pools;
  std::vector<L2Advertisement> advertisements;
  SharedList<Service> services;
  SharedList<EndpointSlice> slices;
  std::vector<Node> nodes;
  Shared<std::map<std::string, Labels>> namespaces;  // labels of Namespace objects, by name
  auto operator<=>(const Objects&) const = default;
};

// ---- this machine -----------------------------------------------------------------------------------------------

// Where a backend on this node is reached; found by netlink, never configured.
struct Place {
  enum class Kind : std::uint8_t {
    pod,     // behind a veth: `veth_ifindex` is its host side
    host,    // an address of this node itself
    routed,  // reachable through the kernel, but no veth was found: kernel path
    absent,  // no route, or on another node
  };
  Kind kind = Kind::absent;
  std::uint32_t veth_ifindex = 0;
  std::string veth_name;
  std::string reason;  // how it was found, or why not; shown by `status -o wide`
  auto operator<=>(const Place&) const = default;
};

using Places = SortedRows<Address, Place>;

struct Link {
  std::string name;
  std::uint32_t attach_ifindex = 0;
  std::uint32_t l3_ifindex = 0;
  std::string l3_name;
  std::uint16_t vlan = 0;
  Mac mac;
  bool up = true;
  std::vector<Prefix> subnets;     // of the L3 interface, host bits masked
  std::vector<Address> addresses;  // of the L3 interface
  std::optional<Address> gateway4;
  std::optional<Address> gateway6;
  auto operator<=>(const Link&) const = default;
};

// A VIP that was announced by MetalLB's speakers, which still run on the nodes, and now is by us (migration.hpp).
struct TakenOver {
  bool continues = false;  // kube-proxy serves the connections that were open already
  std::string home;        // the node that it was announced from, its best place; empty: not known
  bool reserved = false;   // and no other may take it yet
  auto operator<=>(const TakenOver&) const = default;
};

struct Machine {
  std::string node_name;
  std::vector<Link> links;          // those that xdp-lb is attached to, by attach_ifindex then vlan
  std::set<Address> own_addresses;  // of every interface
  Places places;                    // of every backend address asked for, and of pods that were backends
  bool kube_proxy = false;          // something behind us serves the VIPs as well
  std::map<HealthTarget, std::string> ill;  // backends whose health probe fails, and how
  std::map<Address, TakenOver> taken_over;  // VIPs
  Shared<std::set<Address>> policed;        // of pods that a NetworkPolicy selects: the kernel path alone obeys it
};

// ---- decided ----------------------------------------------------------------------------------------------------

// Which service holds which addresses. Kept on disk, so that a restart moves nothing.
struct Assignment {
  std::vector<Address> addresses;  // at most one of a family
  std::string pool;
  auto operator<=>(const Assignment&) const = default;
};
using Assignments = std::map<ObjectName, Assignment>;

}  // namespace xlb
