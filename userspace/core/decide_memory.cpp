// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/decide_memory.hpp"

#include <algorithm>

namespace xlb {
namespace {

const Address& address_of(const std::pair<const HealthTarget, std::string>& entry) {
  return entry.first.address;
}
const Address& address_of(const Address& address) {
  return address;
}

// Makes what is known the same as what is so now, and tells the addresses of which that was otherwise.
template <typename Facts>
void follow(Facts& known, const Facts& now, std::set<Address>& different) {
  const auto less = known.value_comp();
  const auto forget = [&](auto fact) {
    different.insert(address_of(*fact));
    return known.erase(fact);
  };
  auto old = known.begin();
  for (const auto& fact : now) {
    while (old != known.end() && less(*old, fact)) old = forget(old);
    if (old != known.end() && !less(fact, *old)) {
      if (*old == fact) {
        ++old;
        continue;
      }
      old = forget(old);
    }
    different.insert(address_of(fact));
    known.insert(old, fact);
  }
  while (old != known.end()) old = forget(old);
}

// The same; there are ten thousands of these, and few that differ.
void follow(Places& known, const Places& now, std::set<Address>& different) {
  std::vector<Address> changed;
  auto old = known.begin();
  for (const auto& place : now) {
    for (; old != known.end() && old->first < place.first; ++old) changed.push_back(old->first);
    const bool both = old != known.end() && old->first == place.first;
    if (!both || old->second != place.second) changed.push_back(place.first);
    if (both) ++old;
  }
  for (; old != known.end(); ++old) changed.push_back(old->first);
  different.insert(changed.begin(), changed.end());
  constexpr std::size_t few = 100;
  if (changed.size() > few) {
    known = now;
    return;
  }
  for (const Address& address : changed) {
    if (const auto place = now.find(address); place != now.end())
      known[address] = place->second;
    else
      known.erase(address);
  }
}

}  // namespace

void DecideMemory::see(const Machine& machine, const std::set<Address>& vips, const std::vector<DesiredPeer>& peers) {
  std::vector<Peer> reached;
  reached.reserve(peers.size());
  for (const DesiredPeer& peer : peers) reached.emplace_back(peer.name, !peer.macs.empty());
  if (world_.node != machine.node_name || world_.peers != reached) {
    entries_.clear();
    world_.node = machine.node_name;
    world_.peers = std::move(reached);
  }
  moved_.clear();
  follow(world_.places, machine.places, moved_);
  follow(world_.ill, machine.ill, moved_);
  follow(world_.policed, *machine.policed, moved_);
  follow(world_.vips, vips, moved_);
}

bool DecideMemory::elsewhere(const Entry& entry) const {
  if (moved_.empty()) return false;
  const auto moved = [this](const Address& address) { return moved_.contains(address); };
  return std::any_of(entry.slices.begin(), entry.slices.end(), [&](const auto& slice) {
    return std::any_of(slice->endpoints.begin(), slice->endpoints.end(), [&](const Endpoint& endpoint) {
      return std::any_of(endpoint.addresses.begin(), endpoint.addresses.end(), moved);
    });
  });
}

const Served* DecideMemory::find(const ServicePointer& service, const Address& vip, Slices slices) {
  const auto found = entries_.find({service.get(), vip});
  if (found == entries_.end()) return nullptr;
  Entry& entry = found->second;
  if (!std::equal(slices.begin(), slices.end(), entry.slices.begin(), entry.slices.end()) || elsewhere(entry)) return nullptr;
  entry.used = true;
  return &entry.served;
}

const Served& DecideMemory::keep(const ServicePointer& service, const Address& vip, Slices slices, Served served) {
  Entry& entry = entries_[{service.get(), vip}];
  entry = {service, {slices.begin(), slices.end()}, std::move(served), true};
  return entry.served;
}

void DecideMemory::forget_unused() {
  std::erase_if(entries_, [](const auto& item) { return !item.second.used; });
  for (auto& item : entries_) item.second.used = false;
  moved_.clear();
}

}  // namespace xlb
