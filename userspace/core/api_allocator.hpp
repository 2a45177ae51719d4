// SPDX-License-Identifier: Apache-2.0
// Gives addresses to the Services of an API server, on the node that is elected for it. What is to be written follows from
// what is there, so that whoever is elected next goes on where this one stopped:
//
//   1. allocate() says which addresses each Service should have: what it holds by Lease comes first, then what its status shows.
//   2. An address is claimed: its Lease is made. Whoever is refused (409) looks again.
//   3. When the Lease is there, the status is written. Nodes serve what both say.
//   4. When no status shows an address that a Lease has given out, the Lease goes.
//
// So an address moves to another Service only after the first has let go, and nothing is given out twice.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "userspace/core/address_lease.hpp"
#include "userspace/core/allocator.hpp"

namespace xlb {

struct ClaimOrder {
  AddressLease lease;
  bool create = true;  // false: users join under a sharing key; the identity says of which version
  auto operator<=>(const ClaimOrder&) const = default;
};

struct StatusOrder {
  ObjectName service;
  ApiIdentity identity;
  std::vector<Address> ingress;  // empty: takes the address away
  std::string pool;
  std::string reason;            // of taking away
  auto operator<=>(const StatusOrder&) const = default;
};

// The Lease loses users: it is written anew, or deleted when none is left.
struct ReleaseOrder {
  AddressLease lease;               // with the users that stay
  std::vector<AddressUser> unseen;  // are in no list here: each is asked for before anything is written, lists may lag
  auto operator<=>(const ReleaseOrder&) const = default;
};

// An event on a Service, in MetalLB's words.
struct ServiceNotice {
  ObjectName service;
  std::string uid;
  bool warning = false;
  std::string reason;  // AllocationFailed
  std::string message;
  auto operator<=>(const ServiceNotice&) const = default;
};

struct AllocatorOrders {
  std::vector<ClaimOrder> claims;
  std::vector<StatusOrder> statuses;
  std::vector<ReleaseOrder> releases;
  std::vector<ServiceNotice> notices;
  std::map<ObjectName, std::string> refusals;  // Services that get no address, and why
  Assignments wanted;                          // what allocate() says
};

class ApiAllocator {
 public:
  // `objects`: what is in force of `state.objects`. `avoid`: as for allocate().
  AllocatorOrders step(const Objects& objects, const ApiState& state, const std::map<Address, std::string>& avoid);
  // The server took a status. Somebody who writes something else over it twice wins, and is told of.
  void wrote(const StatusOrder& order);
  // Another node may have led meanwhile: what was said and written counts no more.
  void start_over();

 private:
  struct Written {
    std::vector<Address> ingress;
    bool seen = false;      // the status has shown it
    unsigned overwritten = 0;
  };
  bool contested(const ApiService& service);

  std::map<std::string, Written> written_;    // by UID
  std::map<std::string, std::string> said_;   // by UID: the last refusal
  std::set<std::string> deprecated_said_;     // UIDs
  std::map<std::string, std::string> denied_said_;  // by UID: which family no client comes in by
};

// What this node may serve: addresses that a Service's status shows and a Lease gives it. `before`: what it served up to now;
// an address whose Lease somebody has deleted by hand stays while the status shows it and no other Lease gives it away.
Assignments given_by_api(const Objects& objects, const ApiState& state, const Assignments& before);

}  // namespace xlb
