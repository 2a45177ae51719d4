// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/decide_memory.hpp"

#include <algorithm>

namespace xlb {
namespace {

const Address& address_of(const std::pair<const Address, Place>& entry) {
  return entry.first;
}
const Address& address_of(const std::pair<const HealthTarget, std::string>& entry) {
  return entry.first.address;
}
const Address& address_of(const Address& address) {
  return address;
}

// Addresses of which one says otherwise than the other.
template <typename Facts>
void differences(const Facts& before, const Facts& now, std::set<Address>& different) {
  const auto less = [](const auto& left, const auto& right) { return Facts().value_comp()(left, right); };
  auto old = before.begin();
  for (const auto& fact : now) {
    for (; old != before.end() && less(*old, fact); ++old) different.insert(address_of(*old));
    const bool known = old != before.end() && !less(fact, *old);
    if (!known || *old != fact) different.insert(address_of(fact));
    if (known) ++old;
  }
  for (; old != before.end(); ++old) different.insert(address_of(*old));
}

}  // namespace

void DecideMemory::see(const Machine& machine, const std::set<Address>& vips, const std::vector<DesiredPeer>& peers) {
  std::vector<Peer> reached;
  reached.reserve(peers.size());
  for (const DesiredPeer& peer : peers) reached.emplace_back(peer.name, !peer.macs.empty());
  const bool same = world_.node == machine.node_name && world_.peers == reached;
  if (!same) entries_.clear();
  moved_.clear();
  differences(world_.places, machine.places, moved_);
  differences(world_.ill, machine.ill, moved_);
  if (!world_.policed.is(machine.policed)) differences(*world_.policed, *machine.policed, moved_);
  differences(world_.vips, vips, moved_);
  if (!same || !moved_.empty()) world_ = {machine.node_name, machine.places, machine.ill, machine.policed, vips, std::move(reached)};
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
