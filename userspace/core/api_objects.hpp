// SPDX-License-Identifier: Apache-2.0
// What a Kubernetes API server holds, as values: the declared objects, and beside them what only a server knows of them:
// identities, versions, what has been reported. userspace/kube reads it, the core decides by it.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "userspace/core/model.hpp"

namespace xlb {

// `metadata` of an object, as far as it is needed to write it again or to refer to it.
struct ApiIdentity {
  std::string uid;
  std::string version;    // resourceVersion: a write that names it fails (409) when somebody else was faster
  bool deleting = false;  // a deletionTimestamp is set: it goes as soon as its finalizers let it
  auto operator<=>(const ApiIdentity&) const = default;
};

// Of a Service of type LoadBalancer, or of one that was and still has an address in its status or a pool in its annotations.
struct ApiService {
  ApiIdentity identity;
  std::vector<Address> ingress;         // status.loadBalancer.ingress[].ip, in order
  std::vector<std::string> hostnames;   // ingress entries with a hostname: not ours
  bool vip_mode = true;                 // every entry has ipMode VIP, which is also what absent means
  std::vector<Address> cluster_ips;     // empty: none yet; a headless service has none either
  bool headless = false;                // clusterIP: None
  std::string allocated_from;           // annotation metallb.io/ip-allocated-from-pool
  std::vector<std::string> deprecated;  // metallb.universe.tf/... annotations that it carries
  // Its own inputs do not go together (MetalLB's sentence), or it cannot be read; then it stands in `unreadable` as well
  // and has no row in `objects`. No address until that is mended, but the one that it has is not free.
  std::string contradiction;
  auto operator<=>(const ApiService&) const = default;
};

// A `coordination.k8s.io/v1` Lease in our namespace: one per address that is given out (`vip-...`), and the one that
// elects the allocator. userspace/core/address_lease.hpp knows what stands in it.
struct ApiLease {
  ApiIdentity identity;
  std::string holder;               // spec.holderIdentity
  std::uint32_t duration_s = 0;     // spec.leaseDurationSeconds
  std::string renewed;              // spec.renewTime as it stands: only ever compared, never read as a time
  std::uint32_t transitions = 0;    // spec.leaseTransitions
  std::map<std::string, std::string> annotations;
  auto operator<=>(const ApiLease&) const = default;
};

// `metallb.io/v1beta1 ServiceL2Status`: what a node says of a service that it announces. Spec and status are immutable.
struct ApiL2Status {
  ApiIdentity identity;
  std::string node;
  ObjectName service;
  std::vector<std::string> interfaces;  // empty: all
  auto operator<=>(const ApiL2Status&) const = default;
};

// Everything that was listed and watched, as of one moment. Only whole: before each kind has been listed once there is none.
// What has not changed from one state to the next is in both the same.
struct ApiState {
  Objects objects;  // without the services that have no address and want none; valid one by one, not yet together
  Shared<std::map<ObjectName, ApiService>> services;
  std::map<std::string, ApiIdentity> pools;                // by name, for their status
  Shared<std::map<std::string, ApiLease>> leases;          // by name
  Shared<std::map<std::string, ApiL2Status>> l2_statuses;  // by name
  Shared<std::set<Address>> policed;                       // of pods that some NetworkPolicy selects
  std::vector<std::string> unreadable;                     // objects that do not count, and why: "Service shop/web: ..."
  std::vector<std::string> warnings;                       // they count, but otherwise than the user may think
  bool metallb_kinds = true;                               // false: the server does not know IPAddressPool (no CRDs)
  auto operator<=>(const ApiState&) const = default;
};

}  // namespace xlb
