// SPDX-License-Identifier: Apache-2.0
// An API server as far as allocators see one: versions, creates that fail where something is, updates that fail where somebody
// was faster. Slow and obvious.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/core/build.hpp"
#include "userspace/core/api_allocator.hpp"

namespace xlb::test {

class ModelApiServer {
 public:
  ApiState state;

  Service& add(const std::string& name) { return add(service(name)); }
  Service& add(Service service) {
    ApiService& api = state.services.own()[service.name];
    api = {};
    api.identity = {"uid-" + std::to_string(++uids_), next(), false};
    api.cluster_ips = {address("10.43.0.1")};
    state.objects.services.remove_if([&](const Service& old) { return old.name == service.name; });
    state.objects.services.push_back(std::move(service));
    return state.objects.services.own(state.objects.services.size() - 1);
  }
  void remove(const std::string& name) {
    state.objects.services.remove_if([&](const Service& old) { return old.name.name == name; });
    state.services.own().erase({"default", name});
  }
  [[nodiscard]] const ApiService& of(const std::string& name) const { return state.services->at({"default", name}); }
  [[nodiscard]] std::string shown(const std::string& name) const {
    std::string text;
    for (const Address& address : of(name).ingress) text += (text.empty() ? "" : " ") + address.text();
    return text;
  }
  void show(const std::string& name, const std::vector<std::string>& addresses) {
    ApiService& api = state.services.own().at({"default", name});
    api.ingress.clear();
    for (const std::string& text : addresses) api.ingress.push_back(address(text));
    api.identity.version = next();
  }

  bool carry_out(const ClaimOrder& order) {
    const std::string name = address_lease_name(order.lease.address);
    const auto there = state.leases->find(name);
    if (order.create ? there != state.leases->end()
                     : there == state.leases->end() || there->second.identity.version != order.lease.identity.version)
      return false;
    put(name, order.lease);
    return true;
  }
  bool carry_out(const StatusOrder& order) {
    const auto there = state.services->find(order.service);
    if (there == state.services->end() || there->second.identity.uid != order.identity.uid ||
        there->second.identity.version != order.identity.version)
      return false;
    ApiService& api = state.services.own().at(order.service);
    api.ingress = order.ingress;
    api.hostnames.clear();
    api.vip_mode = true;
    api.allocated_from = order.pool;
    api.identity.version = next();
    return true;
  }
  bool carry_out(const ReleaseOrder& order) {
    ReleaseOrder checked = order;
    for (const AddressUser& user : order.unseen) {
      const auto there = state.services->find(user.service);
      if (there != state.services->end() && there->second.identity.uid == user.uid) return false;
    }
    const std::string name = address_lease_name(order.lease.address);
    const auto there = state.leases->find(name);
    if (there == state.leases->end() || there->second.identity != order.lease.identity) return false;
    if (checked.lease.users.empty())
      state.leases.own().erase(name);
    else
      put(name, checked.lease);
    return true;
  }

 private:
  std::string next() { return std::to_string(++version_); }
  void put(const std::string& name, const AddressLease& lease) {
    ApiLease object = address_lease_object(lease);
    const auto there = state.leases->find(name);
    object.identity.uid = there == state.leases->end() ? "lease-" + std::to_string(++uids_) : there->second.identity.uid;
    object.identity.version = next();
    state.leases.own()[name] = std::move(object);
  }
  std::uint64_t version_ = 0, uids_ = 0;
};

}  // namespace xlb::test
