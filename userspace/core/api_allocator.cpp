// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/api_allocator.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include "userspace/core/decide.hpp"
#include "userspace/core/pool.hpp"

namespace xlb {
namespace {

constexpr unsigned kOverwritesBorne = 2;

std::string quoted_list(const std::vector<Address>& addresses) {
  std::string text;
  for (const Address& address : addresses) text += (text.empty() ? "\"" : " \"") + address.text() + "\"";
  return "[" + text + "]";
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

bool has(const std::vector<Address>& addresses, const Address& address) {
  return std::find(addresses.begin(), addresses.end(), address) != addresses.end();
}

// The Leases of addresses, and addresses whose Lease cannot be read, with the sentence that says why.
struct LeaseBook {
  std::map<Address, AddressLease> leases;
  std::map<Address, std::string> unreadable;

  explicit LeaseBook(const ApiState& state) {
    for (const auto& [name, lease] : *state.leases) {
      const auto address = address_of_lease_name(name);
      if (!address) continue;
      auto read = read_address_lease(name, lease);
      if (read)
        leases.emplace(*address, std::move(*read));
      else
        unreadable.emplace(*address, read.error().text);
    }
  }
};

bool wants_address(const Service& service) {
  return service.type == "LoadBalancer";
}

// At most one of a family.
void add_once(std::vector<Address>& addresses, const Address& address) {
  const bool there = std::any_of(addresses.begin(), addresses.end(),
                                 [&](const Address& other) { return other.family() == address.family(); });
  if (!there) addresses.push_back(address);
}

// What a Service holds: by Lease, and what its status shows where no Lease says that it is another's.
std::vector<Address> held_by(const ApiService& service, const LeaseBook& book, const std::vector<Address>& leased) {
  std::vector<Address> addresses;
  // In the order of the status, which other nodes and people see.
  for (const Address& address : service.ingress)
    if (has(leased, address)) add_once(addresses, address);
  for (const Address& address : leased) add_once(addresses, address);
  for (const Address& address : service.ingress)
    if (!book.leases.contains(address) && !book.unreadable.contains(address)) add_once(addresses, address);
  return addresses;
}

}  // namespace

void ApiAllocator::wrote(const StatusOrder& order) {
  Written& written = written_[order.identity.uid];
  if (written.ingress != order.ingress) written = {};
  written.ingress = order.ingress;
  written.seen = false;
}

void ApiAllocator::start_over() {
  written_.clear();
  said_.clear();
  deprecated_said_.clear();
  denied_said_.clear();
}

bool ApiAllocator::contested(const ApiService& service) {
  const auto found = written_.find(service.identity.uid);
  if (found == written_.end()) return false;
  Written& written = found->second;
  if (written.ingress.empty()) return false;
  if (service.ingress == written.ingress && service.hostnames.empty()) {
    written.seen = true;
  } else if (written.seen) {
    written.seen = false;
    ++written.overwritten;
  }
  return written.overwritten >= kOverwritesBorne;
}

AllocatorOrders ApiAllocator::step(const Objects& objects, const ApiState& state, const std::map<Address, std::string>& avoid) {
  AllocatorOrders orders;
  const LeaseBook book(state);
  std::map<std::string, std::vector<Address>> leased;  // by UID
  std::map<std::string, const Service*> by_uid;
  for (const Service& service : objects.services) {
    const auto api = state.services->find(service.name);
    if (wants_address(service) && api != state.services->end() && !api->second.identity.deleting) by_uid[api->second.identity.uid] = &service;
  }

  std::map<std::string, const ApiService*> listed;  // by UID: those too that are no LoadBalancer any more, or are being deleted
  for (const auto& [name, api] : *state.services) listed[api.identity.uid] = &api;

  std::map<Address, std::string> taken = avoid;
  taken.insert(book.unreadable.begin(), book.unreadable.end());
  for (const auto& [address, lease] : book.leases) {
    bool used = false;  // whoever shares it with one that is gone keeps it
    for (const AddressUser& user : lease.users) {
      leased[user.uid].push_back(address);
      used = used || by_uid.contains(user.uid);
    }
    if (!used) taken.emplace(address, address.text() + " is being given back by a Service that is gone");
  }

  // ---- which addresses each Service should have
  Assignments held;
  Objects served = objects;
  std::map<ObjectName, std::string> contradictions;
  served.services.remove_if([&](const Service& service) {
    const auto api = state.services->find(service.name);
    if (api == state.services->end() || api->second.identity.deleting) return true;
    if (!api->second.contradiction.empty()) contradictions[service.name] = api->second.contradiction;
    if (!api->second.headless && api->second.cluster_ips.empty())
      contradictions.try_emplace(service.name, "no cluster IP yet: the API server gives one to each Service of type LoadBalancer");
    return contradictions.contains(service.name);
  });
  for (const Service& service : served.services) {
    const ApiService& api = state.services->at(service.name);
    std::vector<Address> addresses = held_by(api, book, leased[api.identity.uid]);
    if (!addresses.empty()) held[service.name] = {std::move(addresses), api.allocated_from};
  }
  Allocation allocation = allocate(served, held, taken);
  allocation.refusals.insert(contradictions.begin(), contradictions.end());
  orders.wanted = allocation.held;

  const auto wants = [&](const std::string& uid, const Address& address) {
    const auto service = by_uid.find(uid);
    if (service == by_uid.end()) return false;
    const auto assignment = allocation.held.find(service->second->name);
    return assignment != allocation.held.end() && has(assignment->second.addresses, address);
  };

  const auto refuse = [&](const ObjectName& name, const std::string& uid, const std::string& why) {
    orders.refusals[name] = why;
    if (said_[uid] != why)
      orders.notices.push_back({name, uid, true, "AllocationFailed", "Failed to allocate IP for " + name.text() + ": " + why});
    said_[uid] = why;
  };

  // ---- claims, then statuses
  std::map<Address, ClaimOrder> claims;
  for (const Service& service : objects.services) {
    const auto api = state.services->find(service.name);
    if (api == state.services->end() || api->second.identity.deleting) continue;
    if (!wants_address(service)) continue;
    if (!service.load_balancer_class.empty()) continue;  // another's, with all that stands in its status
    const std::string& uid = api->second.identity.uid;
    if (!api->second.deprecated.empty() && deprecated_said_.insert(uid).second)
      orders.notices.push_back({service.name, uid, true, "deprecatedAnnotation",
                                "Service uses deprecated annotation " + joined(api->second.deprecated) + ": write metallb.io/ instead of metallb.universe.tf/"});
    const auto assignment = allocation.held.find(service.name);
    const auto refusal = allocation.refusals.find(service.name);

    bool claimed = true, blocked = false;
    if (assignment != allocation.held.end()) {
      for (const Address& address : assignment->second.addresses) {
        const auto lease = book.leases.find(address);
        if (lease != book.leases.end() && lease->second.serves(uid)) continue;
        claimed = false;
        if (lease == book.leases.end()) {
          ClaimOrder& claim = claims[address];
          claim.lease.address = address;
          claim.lease.users.push_back({uid, service.name});
        } else if (std::all_of(lease->second.users.begin(), lease->second.users.end(),
                               [&](const AddressUser& user) { return wants(user.uid, address); })) {
          const auto [claim, fresh] = claims.try_emplace(address, ClaimOrder{lease->second, false});
          claim->second.lease.users.push_back({uid, service.name});
        } else {
          blocked = true;
        }
      }
    }
    const std::vector<Address>& shown = api->second.ingress;
    if (contested(api->second)) {
      const std::string why = "the address in the status is overwritten by somebody else with " + quoted_list(shown) +
                              ": is another load balancer running? (k3s: start the servers with --disable servicelb)";
      orders.refusals[service.name] = why;
      if (said_[uid] != why) orders.notices.push_back({service.name, uid, true, "LoadBalancerFailed", why});
      said_[uid] = why;
      continue;
    }
    if (assignment != allocation.held.end() && claimed) {
      said_.erase(uid);
      std::string denied;
      for (const Address& address : assignment->second.addresses)
        if (denied.empty()) denied = why_family_is_denied(service, address.family());
      if (denied.empty())
        denied_said_.erase(uid);
      else if (std::exchange(denied_said_[uid], denied) != denied)
        orders.notices.push_back({service.name, uid, true, "sourceRangesDenyFamily", denied});
      if (shown != assignment->second.addresses || !api->second.hostnames.empty() || !api->second.vip_mode ||
          api->second.allocated_from != assignment->second.pool)
        orders.statuses.push_back({service.name, api->second.identity, assignment->second.addresses, assignment->second.pool, {}});
      continue;
    }
    if (refusal != allocation.refusals.end()) refuse(service.name, uid, refusal->second);
    // Nothing can be shown before what it holds has gone: two that change places would wait for each other for ever.
    const bool holds_any = !shown.empty() || !api->second.allocated_from.empty();
    const bool kept = assignment != allocation.held.end() &&
                      std::any_of(shown.begin(), shown.end(), [&](const Address& a) { return has(assignment->second.addresses, a); });
    const bool ours = !api->second.allocated_from.empty() || !leased[uid].empty();
    // What contradicts itself keeps what it shows until somebody says what is meant.
    const bool torn = contradictions.contains(service.name);
    if (ours && holds_any && !torn && (refusal != allocation.refusals.end() || (blocked && !kept)))
      orders.statuses.push_back({service.name, api->second.identity, {}, {},
                                 refusal != allocation.refusals.end() ? refusal->second : "its address goes to another Service"});
  }
  for (auto& [address, claim] : claims) {
    // The first user is the holder; the order among several that start together is by name, as everything else.
    orders.claims.push_back(std::move(claim));
  }

  // ---- what was ours and is no LoadBalancer any more
  for (const auto& [name, api] : *state.services) {
    if (by_uid.contains(api.identity.uid) || api.identity.deleting) continue;
    if (!api.contradiction.empty()) {
      refuse(name, api.identity.uid, api.contradiction);
      continue;
    }
    if (api.allocated_from.empty()) continue;
    const ObjectName& who = name;
    const bool other = std::any_of(objects.services.begin(), objects.services.end(),
                                   [&](const Service& service) { return service.name == who && wants_address(service); });
    if (!other) orders.statuses.push_back({name, api.identity, {}, {}, "it is no Service of type LoadBalancer any more"});
  }

  // ---- releases
  for (const auto& [address, lease] : book.leases) {
    ReleaseOrder release{{address, {}, lease.taken_over, lease.identity}, {}};
    for (const AddressUser& user : lease.users) {
      const auto api = listed.find(user.uid);
      if (api == listed.end())
        release.unseen.push_back(user);
      else if (wants(user.uid, address) || has(api->second->ingress, address) || api->second->identity.deleting)
        release.lease.users.push_back(user);
    }
    if (release.lease.users.size() != lease.users.size() && !claims.contains(address)) orders.releases.push_back(std::move(release));
  }
  return orders;
}

Assignments given_by_api(const Objects& objects, const ApiState& state, const Assignments& before) {
  Assignments given;
  const LeaseBook book(state);
  for (const Service& service : objects.services) {
    if (!service.load_balancer_class.empty() || !wants_address(service)) continue;
    // Every one has a row, be it empty: what is not decided here would be decided by each node for itself.
    Assignment& assignment = given[service.name];
    const auto api = state.services->find(service.name);
    if (api == state.services->end()) continue;
    const auto old = before.find(service.name);
    assignment.pool = api->second.allocated_from;
    for (const Address& address : api->second.ingress) {
      const auto lease = book.leases.find(address);
      const bool kept = lease == book.leases.end() && !book.unreadable.contains(address) && old != before.end() &&
                        has(old->second.addresses, address);
      if (kept || (lease != book.leases.end() && lease->second.serves(api->second.identity.uid))) add_once(assignment.addresses, address);
    }
  }
  return given;
}

}  // namespace xlb
