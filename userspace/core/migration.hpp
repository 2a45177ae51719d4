// SPDX-License-Identifier: Apache-2.0
// Takes VIPs over from a running MetalLB, every address kept. What a cluster looks like goes in as facts, what is to be done
// comes out as a plan; nothing is kept between two runs but what stands in the cluster, so that a run that was interrupted is
// gone on with, or undone, by the next one:
//
//   MetalLB's controller is scaled to 0      annotation xdp-lb.io/replicas on its Deployment says what it had
//   a VIP is claimed                         its Lease says by whom it was taken over (address_lease.hpp)
//   a node has taken it                      the node says so in the Lease
//
// xdp-lb runs in standby meanwhile: it gives nothing out and serves what has such a Lease. MetalLB's speakers go on; each
// node's programs keep them silent about what was taken over (bpf/silence.h).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "userspace/core/address_lease.hpp"
#include "userspace/core/api_objects.hpp"

namespace xlb {

inline constexpr const char* kReplicasAnnotation = "xdp-lb.io/replicas";

// A Deployment or a DaemonSet, as far as it matters here.
struct Workload {
  ObjectName name;
  ApiIdentity identity;
  std::map<std::string, std::string> labels, annotations;
  std::string selector;                // of its Pods: "app=metallb,component=controller"
  std::uint32_t replicas = 0;          // wanted; of a DaemonSet: 0
  std::vector<std::string> arguments;  // of its containers
};

struct MigratingPod {
  std::string name;
  std::string node;
  bool ready = false;
  std::vector<std::string> arguments;
};

// A CustomResourceDefinition.
struct Definition {
  std::string name;     // ipaddresspools.metallb.io
  std::string release;  // of helm: "metallb-system/metallb"; empty: not helm's
  bool kept = false;    // helm is told to keep it
};

struct MigrationFacts {
  std::string metallb_ns, own_ns;
  std::vector<Workload> controllers, speakers, daemons;     // found; one of each is wanted
  std::vector<MigratingPod> speaker_pods, daemon_pods;
  Objects metallb;                                          // its pools and advertisements
  std::vector<std::string> unreadable;                      // of those, with the reason
  std::vector<std::string> bgp;                             // "BGPPeer metallb-system/router"
  std::vector<Definition> definitions;
  std::optional<std::map<ObjectName, std::string>> announced;  // by MetalLB, from that node; absent: it does not say
  ApiState state;                                           // as seen from our namespace
};

struct VipTakeover {
  AddressLease lease;
  std::string pool;
  std::string from;        // the node that MetalLB announces it from; empty: not known
  bool announced = true;   // false: nobody announces it now, so nobody is waited for
  bool claimed = false;    // by an earlier run
  std::string taken_by;    // the node that announces it; empty: none yet
};

struct MigrationPlan {
  std::vector<std::string> refusals;  // none: it can begin
  std::vector<std::string> notes;     // what is otherwise than the user may think
  std::vector<Definition> adopt;
  std::vector<ObjectName> copy_pools, copy_advertisements;  // of MetalLB's namespace into ours
  std::optional<Workload> controller;
  std::uint32_t replicas = 0;         // that the controller is given back by undoing
  bool stopped = false;               // it is scaled to 0 already, by an earlier run
  std::vector<VipTakeover> vips;      // by address
  std::vector<std::string> next;      // commands for afterwards
};

MigrationPlan plan_migration(const MigrationFacts& facts);

// What undoing takes back: Leases of VIPs that were taken over, by name, and the controller's replicas.
struct UndoPlan {
  std::vector<std::string> refusals;
  std::map<std::string, ApiIdentity> leases;
  std::optional<Workload> controller;  // absent: it was not stopped
  std::uint32_t replicas = 0;
};
UndoPlan plan_undo(const MigrationFacts& facts);

}  // namespace xlb
