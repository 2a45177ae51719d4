// SPDX-License-Identifier: Apache-2.0
// One Lease of the API server for each address that is given out. Making it is the act of giving: a second create fails,
// so two allocators that both believe in themselves (one was paused, a clock jumped) never give one address to two
// services. It says for whom the address is by UID, so that a service of the same name made later does not inherit it.
//
//   metadata.name                       vip-192.168.0.200, vip-fd00-0-0-0-0-0-0-200
//   spec.holderIdentity                 the UID of the first user
//   annotation xdp-lb.io/address        192.168.0.200
//   annotation xdp-lb.io/taken-over     "metallb": claimed by `xdp-lb migrate`; MetalLB is kept silent about it
//   annotation xdp-lb.io/taken-over-by  the node that MetalLB announced it from, which is to take it first
//   annotation xdp-lb.io/announced-by   the node that has taken it
//   annotation xdp-lb.io/services       "<uid> shop/web"; several, under a sharing key, are parted by commas
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "userspace/core/api_objects.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

inline constexpr const char* kAddressAnnotation = "xdp-lb.io/address";
inline constexpr const char* kServicesAnnotation = "xdp-lb.io/services";
inline constexpr const char* kTakenOverAnnotation = "xdp-lb.io/taken-over";
inline constexpr const char* kTakenOverByAnnotation = "xdp-lb.io/taken-over-by";
inline constexpr const char* kAnnouncedByAnnotation = "xdp-lb.io/announced-by";

struct AddressUser {
  std::string uid;
  ObjectName service;  // for people; who is meant says the UID
  auto operator<=>(const AddressUser&) const = default;
};

struct AddressLease {
  Address address;
  std::vector<AddressUser> users;  // never empty
  bool taken_over = false;         // from MetalLB
  ApiIdentity identity;
  [[nodiscard]] bool serves(const std::string& uid) const;
  auto operator<=>(const AddressLease&) const = default;
};

std::string address_lease_name(const Address& address);
// The address that a name is about, whatever stands in the Lease; nothing: the Lease is about something else.
std::optional<Address> address_of_lease_name(const std::string& name);
// Refused: the name is ours and what stands in it is not.
Result<AddressLease> read_address_lease(const std::string& name, const ApiLease& lease);
// The Leases that were taken over. `standby`: MetalLB is being replaced now; afterwards only its silence is left of that.
std::map<Address, TakenOver> taken_over(const std::map<std::string, ApiLease>& leases, bool standby);
// What is to be written; without identity.
ApiLease address_lease_object(const AddressLease& lease);

}  // namespace xlb
