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

}  // namespace

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
  const bool equal = to.known && !to.absent && to.objects.size() == to.listed.size() &&
                     std::equal(to.objects.begin(), to.objects.end(), to.listed.begin(),
                                [](const auto& a, const auto& b) { return same(a.second, b.second); });
  to.objects = std::move(to.listed);
  to.listed.clear();
  to.known = true;
  to.absent = false;
  changed_ = changed_ || !equal;
}

void Store::absent(ApiKind kind) {
  Shelf& to = shelf(kind);
  changed_ = changed_ || !to.known || !to.absent;
  to = Shelf{};
  to.known = true;
  to.absent = true;
}

void Store::put(ApiKind kind, ReadObject object) {
  if (!worth_keeping(object)) {
    remove(kind, object.name);
    return;
  }
  Objects& objects = shelf(kind).objects;
  const auto [at, fresh] = objects.try_emplace(object.name);
  if (!fresh && same(at->second, object)) return;
  at->second = std::move(object);
  changed_ = true;
}

void Store::remove(ApiKind kind, const ObjectName& name) {
  if (shelf(kind).objects.erase(name) > 0) changed_ = true;
}

bool Store::whole() const {
  return std::all_of(shelves_.begin(), shelves_.end(), [](const Shelf& shelf) { return shelf.known; });
}

template <typename Value, typename Take>
void Store::each(ApiKind kind, ApiState& state, const Take& take) {
  for (const auto& [name, object] : shelf(kind).objects) {
    if (!object.unreadable.empty()) state.unreadable.push_back(object.unreadable);
    state.warnings.insert(state.warnings.end(), object.warnings.begin(), object.warnings.end());
    if (const Value* value = std::get_if<Value>(&object.value)) take(name, *value);
  }
}

void Store::put_services(ApiState& state) {
  using Services = std::unique_ptr<const ReadService>;
  each<Services>(ApiKind::services, state, [&](const ObjectName& name, const Services& read) {
    state.services.emplace_hint(state.services.end(), name, read->api);
    if (read->counts) state.objects.services.push_back(read->service);
  });
}

// Most EndpointSlices of a cluster belong to services that want no address. They are kept, since a service may want
// one any time; in the state they would only be in the way.
void Store::put_slices(ApiState& state) {
  for (const auto& [name, object] : shelf(ApiKind::slices).objects) {
    if (!state.services.contains({name.ns, object.owner})) continue;
    if (!object.unreadable.empty()) state.unreadable.push_back(object.unreadable);
    state.warnings.insert(state.warnings.end(), object.warnings.begin(), object.warnings.end());
    if (const auto* slice = std::get_if<EndpointSlice>(&object.value)) state.objects.slices.push_back(*slice);
  }
}

void Store::put_policed(ApiState& state) {
  std::map<std::string, std::vector<const LabelSelector*>> selectors;
  each<ReadPolicy>(ApiKind::policies, state, [&](const ObjectName& name, const ReadPolicy& policy) {
    selectors[name.ns].push_back(&policy.pods);
  });
  each<ReadPod>(ApiKind::pods, state, [&](const ObjectName& name, const ReadPod& pod) {
    const auto found = selectors.find(name.ns);
    if (found == selectors.end()) return;
    const bool selected = std::any_of(found->second.begin(), found->second.end(),
                                      [&](const LabelSelector* selector) { return selector->matches(pod.labels); });
    if (selected) state.policed.insert(pod.addresses.begin(), pod.addresses.end());
  });
}

ApiState Store::state() {
  changed_ = false;
  ApiState state;
  put_services(state);
  put_slices(state);
  each<Node>(ApiKind::nodes, state,
             [&](const ObjectName&, const Node& node) { state.objects.nodes.push_back(node); });
  each<ReadNamespace>(ApiKind::namespaces, state, [&](const ObjectName& name, const ReadNamespace& ns) {
    state.objects.namespaces.emplace(name.name, ns.labels);
  });
  put_policed(state);
  each<ReadPool>(ApiKind::pools, state, [&](const ObjectName& name, const ReadPool& read) {
    state.objects.pools.push_back(read.pool);
    state.pools.emplace(name.name, read.identity);
  });
  each<L2Advertisement>(ApiKind::advertisements, state, [&](const ObjectName&, const L2Advertisement& read) {
    state.objects.advertisements.push_back(read);
  });
  each<ApiLease>(ApiKind::leases, state,
                 [&](const ObjectName& name, const ApiLease& lease) { state.leases.emplace(name.name, lease); });
  each<ApiL2Status>(ApiKind::l2_statuses, state, [&](const ObjectName& name, const ApiL2Status& status) {
    state.l2_statuses.emplace(name.name, status);
  });
  state.metallb_kinds = !shelf(ApiKind::pools).absent;
  return state;
}

}  // namespace xlb
