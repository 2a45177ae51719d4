// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/store.hpp"

#include <algorithm>
#include <utility>

namespace xlb {

namespace {

// An object that is none of our business is not kept; what is wrong with one is.
bool worth_keeping(const ReadObject& object) {
  return !std::holds_alternative<std::monostate>(object.value) || !object.unreadable.empty();
}

bool says_something(const ReadObject& object) {
  return !object.unreadable.empty() || !object.warnings.empty();
}

}  // namespace

void Store::touch(ApiKind kind) {
  shelf(kind).stale = true;
  changed_ = true;
}

// Others have an address, or want one: the slices of others are to be shown.
void Store::other_services() {
  slices_known_ = false;
  touch(ApiKind::slices);
}

void Store::listed(ApiKind kind, ReadObject object) {
  if (!worth_keeping(object)) return;
  ObjectName name = object.name;
  shelf(kind).listed.insert_or_assign(std::move(name), std::move(object));
}

void Store::forget_listed(ApiKind kind) {
  shelf(kind).listed.clear();
}

void Store::commit_listed(ApiKind kind) {
  Shelf& to = shelf(kind);
  bool equal = to.known && !to.absent && to.objects.size() == to.listed.size();
  // What is as it was stays the same, also for those who know it by its address.
  auto old = to.objects.begin();
  for (auto& [name, object] : to.listed) {
    while (old != to.objects.end() && old->first < name) ++old;
    if (old != to.objects.end() && old->first == name && same(old->second, object))
      object = std::move(old->second);
    else
      equal = false;
  }
  to.objects = std::move(to.listed);
  to.listed.clear();
  to.known = true;
  to.absent = false;
  if (kind == ApiKind::slices) slices_known_ = false;
  if (equal) return;
  touch(kind);
  if (kind == ApiKind::services) other_services();
}

void Store::absent(ApiKind kind) {
  Shelf& to = shelf(kind);
  if (to.known && to.absent) return;
  to = Shelf{};
  to.known = true;
  to.absent = true;
  touch(kind);
}

void Store::put(ApiKind kind, ReadObject object) {
  if (!worth_keeping(object)) {
    remove(kind, object.name);
    return;
  }
  const auto [at, fresh] = shelf(kind).objects.try_emplace(object.name);
  ReadObject& kept = at->second;
  if (!fresh && same(kept, object)) return;
  const bool shown = !fresh && shows(kind, kept);
  kept = std::move(object);
  if (kind == ApiKind::services && fresh) other_services();
  if (kind == ApiKind::slices) {
    slices_.erase(kept.name);
    if (of_load_balancer(kept)) slices_[kept.name] = &kept;
  }
  if (shown || shows(kind, kept)) touch(kind);
}

void Store::remove(ApiKind kind, const ObjectName& name) {
  Objects& objects = shelf(kind).objects;
  const auto at = objects.find(name);
  if (at == objects.end()) return;
  if (shows(kind, at->second)) touch(kind);
  if (kind == ApiKind::services) other_services();
  if (kind == ApiKind::slices) slices_.erase(name);
  objects.erase(at);
}

bool Store::whole() const {
  return std::all_of(shelves_.begin(), shelves_.end(), [](const Shelf& shelf) { return shelf.known; });
}

// Would a state without it be another one?
bool Store::shows(ApiKind kind, const ReadObject& object) const {
  if (kind == ApiKind::slices) return of_load_balancer(object);
  if (kind == ApiKind::pods) return says_something(object) || has_policy(object.name.ns);
  return true;
}

// Most EndpointSlices of a cluster belong to services that want no address. They are kept, since a service may want
// one any time; in the state they would only be in the way.
bool Store::of_load_balancer(const ReadObject& slice) const {
  return shelf(ApiKind::services).objects.contains({slice.name.ns, slice.owner});
}

bool Store::has_policy(const std::string& ns) const {
  const Objects& policies = shelf(ApiKind::policies).objects;
  const auto first = policies.lower_bound({ns, ""});
  return first != policies.end() && first->first.ns == ns;
}

bool Store::refresh(ApiKind kind) {
  Shelf& of = shelf(kind);
  if (!std::exchange(of.stale, false)) return false;
  of.unreadable.clear();
  of.warnings.clear();
  return true;
}

void Store::note(ApiKind kind, const ReadObject& object) {
  Shelf& of = shelf(kind);
  if (!object.unreadable.empty()) of.unreadable.push_back(object.unreadable);
  of.warnings.insert(of.warnings.end(), object.warnings.begin(), object.warnings.end());
}

template <typename Value, typename Take>
void Store::each(ApiKind kind, const Take& take) {
  for (const auto& [name, object] : shelf(kind).objects) {
    note(kind, object);
    if (const auto* value = std::get_if<Read<Value>>(&object.value)) take(name, *value);
  }
}

void Store::put_services() {
  std::map<ObjectName, ApiService> services;
  state_.objects.services.clear();
  each<ReadService>(ApiKind::services, [&](const ObjectName& name, const Read<ReadService>& read) {
    services.emplace_hint(services.end(), name, read->api);
    if (read->counts) state_.objects.services.share({read, &read->service});
  });
  state_.services = std::move(services);
}

void Store::put_slices() {
  if (!std::exchange(slices_known_, true)) {
    slices_.clear();
    for (const auto& [name, object] : shelf(ApiKind::slices).objects)
      if (of_load_balancer(object)) slices_.emplace_hint(slices_.end(), name, &object);
  }
  state_.objects.slices.clear();
  for (const auto& [name, object] : slices_) {
    note(ApiKind::slices, *object);
    if (const auto* slice = std::get_if<Read<EndpointSlice>>(&object->value)) state_.objects.slices.share(*slice);
  }
}

void Store::put_nodes() {
  state_.objects.nodes.clear();
  each<Node>(ApiKind::nodes, [&](const ObjectName&, const Read<Node>& node) { state_.objects.nodes.push_back(*node); });
}

void Store::put_namespaces() {
  std::map<std::string, Labels> namespaces;
  each<ReadNamespace>(ApiKind::namespaces, [&](const ObjectName& name, const Read<ReadNamespace>& ns) {
    namespaces.emplace(name.name, ns->labels);
  });
  state_.objects.namespaces = std::move(namespaces);
}

void Store::put_policed() {
  std::map<std::string, std::vector<const LabelSelector*>> selectors;
  each<ReadPolicy>(ApiKind::policies, [&](const ObjectName& name, const Read<ReadPolicy>& policy) {
    selectors[name.ns].push_back(&policy->pods);
  });
  std::set<Address> policed;
  each<ReadPod>(ApiKind::pods, [&](const ObjectName& name, const Read<ReadPod>& pod) {
    const auto found = selectors.find(name.ns);
    if (found == selectors.end()) return;
    const bool selected = std::any_of(found->second.begin(), found->second.end(),
                                      [&](const LabelSelector* selector) { return selector->matches(pod->labels); });
    if (selected) policed.insert(pod->addresses.begin(), pod->addresses.end());
  });
  if (*state_.policed != policed) state_.policed = std::move(policed);
}

void Store::put_pools() {
  state_.objects.pools.clear();
  state_.pools.clear();
  each<ReadPool>(ApiKind::pools, [&](const ObjectName& name, const Read<ReadPool>& read) {
    state_.objects.pools.push_back(read->pool);
    state_.pools.emplace(name.name, read->identity);
  });
  state_.metallb_kinds = !shelf(ApiKind::pools).absent;
}

void Store::put_advertisements() {
  state_.objects.advertisements.clear();
  each<L2Advertisement>(ApiKind::advertisements, [&](const ObjectName&, const Read<L2Advertisement>& read) {
    state_.objects.advertisements.push_back(*read);
  });
}

void Store::put_leases() {
  std::map<std::string, ApiLease> leases;
  each<ApiLease>(ApiKind::leases,
                 [&](const ObjectName& name, const Read<ApiLease>& lease) { leases.emplace(name.name, *lease); });
  state_.leases = std::move(leases);
}

void Store::put_l2_statuses() {
  std::map<std::string, ApiL2Status> statuses;
  each<ApiL2Status>(ApiKind::l2_statuses, [&](const ObjectName& name, const Read<ApiL2Status>& status) {
    statuses.emplace(name.name, *status);
  });
  state_.l2_statuses = std::move(statuses);
}

ApiState Store::state() {
  changed_ = false;
  if (refresh(ApiKind::services)) put_services();
  if (refresh(ApiKind::slices)) put_slices();
  if (refresh(ApiKind::nodes)) put_nodes();
  if (refresh(ApiKind::namespaces)) put_namespaces();
  if (shelf(ApiKind::policies).stale || shelf(ApiKind::pods).stale) {
    // The one is read together with the other.
    for (const ApiKind kind : {ApiKind::policies, ApiKind::pods}) shelf(kind).stale = true, refresh(kind);
    put_policed();
  }
  if (refresh(ApiKind::pools)) put_pools();
  if (refresh(ApiKind::advertisements)) put_advertisements();
  if (refresh(ApiKind::leases)) put_leases();
  if (refresh(ApiKind::l2_statuses)) put_l2_statuses();
  state_.unreadable.clear();
  state_.warnings.clear();
  for (const Shelf& shelf : shelves_) {
    state_.unreadable.insert(state_.unreadable.end(), shelf.unreadable.begin(), shelf.unreadable.end());
    state_.warnings.insert(state_.warnings.end(), shelf.warnings.begin(), shelf.warnings.end());
  }
  return state_;
}

}  // namespace xlb
