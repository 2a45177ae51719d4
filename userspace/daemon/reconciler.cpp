// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/reconciler.hpp"

#include <algorithm>
#include <thread>

#include "userspace/config/api_memory.hpp"
#include "userspace/config/health_state.hpp"
#include "userspace/core/allocator.hpp"
#include "userspace/core/decide.hpp"
#include "userspace/core/declared_peers.hpp"
#include "userspace/core/node_ids.hpp"
#include "userspace/core/plan.hpp"
#include "userspace/daemon/installed_peers.hpp"
#include "userspace/daemon/probe.hpp"

namespace xlb {

namespace {

constexpr const char* kBusy = "another xdp-lb is changing this node";
constexpr auto kFirstUseKept = std::chrono::seconds(10);  // an answer to a first question is that old at most when it is used

// For those who only look: what was never asked stays so.
Result<WireAnswers> ask_nobody(const Link& link, const std::vector<Address>& addresses, const std::set<Mac>&,
                               std::chrono::steady_clock::time_point) {
  WireAnswers answers;
  for (const Address& address : addresses)
    answers.open[address] = (link.l3_name.empty() ? link.name : link.l3_name) + " is asked whether somebody has it";
  return answers;
}

const AskWire ask_peers_first = [](const Link&, const std::vector<Address>& addresses, const std::set<Mac>&,
                                   std::chrono::steady_clock::time_point) -> Result<WireAnswers> {
  WireAnswers answers;
  for (const Address& address : addresses) answers.open[address] = "the daemon (xdp-lb run) listens to the peers first";
  return answers;
};

Outcome deferred(Outcome::Deferred why) {
  Outcome outcome;
  outcome.deferred = why;
  return outcome;
}

bool waits_for_neighbours(const Machine& machine) {
  return std::any_of(machine.places.begin(), machine.places.end(),
                     [](const auto& entry) { return entry.second.kind == Place::Kind::routed; });
}

// A service that this very change declares has to get its address, or the change is refused. One that stood before and
// loses it (its pool went away) is told in a warning: the pool's owner decides.
Result<void> refuse_unserved(const PreparedChange& change, const Judgement& judged) {
  for (const ChangeReport& report : change.report) {
    if (report.object.kind != "Service" || report.change == Change::deleted) continue;
    const auto refusal = judged.desired.refusals.find(report.object.name);
    if (refusal == judged.desired.refusals.end() || report.change == Change::unchanged) continue;
    return Error{report.object.text() + ": " + refusal->second + ": nothing was changed"};
  }
  return {};
}

std::vector<ServiceOutcome> service_outcomes(const Assignments& before, const Judgement& judged,
                                             const PreparedChange* change) {
  if (!change && before == judged.state.held && judged.desired.refusals.empty()) return {};
  std::set<ObjectName> named;
  if (change)
    for (const ChangeReport& report : change->report)
      if (report.object.kind == "Service" && report.change != Change::deleted) named.insert(report.object.name);
  std::set<ObjectName> all;
  for (const auto& [name, assignment] : before) all.insert(name);
  for (const auto& [name, assignment] : judged.state.held) all.insert(name);
  for (const auto& [name, refusal] : judged.desired.refusals) all.insert(name);
  std::vector<ServiceOutcome> outcomes;
  for (const ObjectName& name : all) {
    const auto old = before.find(name);
    const auto now = judged.state.held.find(name);
    const bool had = old != before.end(), has = now != judged.state.held.end();
    if (!named.contains(name) && had == has && (!has || old->second == now->second)) continue;
    ServiceOutcome outcome{name, {}, {}, {}};
    if (has) {
      outcome.addresses = now->second.addresses;
      outcome.pool = now->second.pool;
    } else if (const auto refusal = judged.desired.refusals.find(name); refusal != judged.desired.refusals.end()) {
      outcome.refusal = refusal->second;
    }
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

// Why VIPs that stand are not answered for, in so many words; bounded, because a link that is down concerns them all.
std::vector<std::string> unowned_reasons(const Judgement& judged) {
  constexpr std::size_t most = 5;
  std::vector<std::string> reasons;
  std::size_t left = 0;
  for (const DesiredVip& vip : judged.desired.vips) {
    if (vip.owned || !vip.owner.empty() || judged.open.contains(vip.address)) continue;  // a peer answers
    if (reasons.size() < most)
      reasons.push_back("VIP " + vip.address.text() + " is not answered for: " + vip.reason);
    else
      ++left;
  }
  if (left != 0) reasons.push_back(std::to_string(left) + " more VIPs are not answered for: xdp-lb status -o wide");
  return reasons;
}

bool same_state(const State& left, const State& right) {
  return left.held == right.held && left.conflicts == right.conflicts && left.probed == right.probed;
}

// What a pass has to write, cut loose from it.
std::function<Result<void>()> disk_work(const Settings& settings, const Observation& seen, const Judgement& judged,
                                        const PreparedChange* change) {
  std::optional<PreparedChange> edits;
  if (change) edits = PreparedChange{{}, {}, {}, change->edits};
  return [edits = std::move(edits), folder = settings.config_dir, file = settings.state_file(), state = judged.state,
          damaged = seen.state_damage.has_value(), differs = !same_state(seen.state, judged.state)]() -> Result<void> {
    if (edits) {
      if (auto written = commit(*edits); !written) return written;
    }
    if (damaged) {
      if (auto moved = set_aside(file); !moved) return moved;
    }
    if (!damaged && !differs) return {};
    if (auto made = make_folder(folder); !made) return made;
    return write_state(file, state);
  };
}

}  // namespace

Result<std::optional<Lock>> Reconciler::lock(const PassOptions& options) {
  if (kept_) return std::exchange(kept_, std::nullopt);
  if (!options.waits) return Lock::try_take(settings_.lock_file());
  auto taken = Lock::take(settings_.lock_file(), options.lock_patience, kBusy);
  if (!taken) return taken.error();
  return std::optional<Lock>(std::move(*taken));
}

Result<Outcome> Reconciler::locked(const PassOptions& options, const std::function<Result<Outcome>()>& body) {
  auto held = lock(options);
  if (!held) return held.error();
  if (!*held) return deferred(Outcome::Deferred::lock);
  if ((*held)->had_by_others()) edges_.data_plane->forget();
  auto outcome = body();
  if (writing_) writing_->lock = std::move(*held);
  return outcome;
}

void Reconciler::wrote(const Result<void>& result) {
  auto writing = std::exchange(writing_, std::nullopt);
  kept_ = std::move(writing->lock);
  if (result) declared_ = std::move(writing->declared);
  written_(result);
  kept_.reset();
  declared_.reset();
}

Result<void> Reconciler::find_places(Observation& seen, const PassOptions& options) {
  std::vector<Address> addresses = backend_addresses(seen.objects, seen.machine.node_name);
  const std::set<Address> listed(addresses.begin(), addresses.end());
  std::set<Address> looked_for = listed;
  Places previous = places_;
  for (const auto& [id, backend] : seen.installed.backends) {
    if (backend.veth_ifindex == 0 || !(backend.flags & XLB_BACKEND_LIVE)) continue;
    const Address address = Address::from_abi(backend.address);
    const Place place{Place::Kind::pod, backend.veth_ifindex, {}, "as the tables had it"};
    if (!previous.contains(address)) previous[address] = place;
    // Nobody lists it any more. While it runs, connections to it go on.
    if (looked_for.insert(address).second) addresses.push_back(address);
  }
  const auto deadline = std::chrono::steady_clock::now() + options.place_patience;
  bool asked = false;
  for (;;) {
    auto places = edges_.netlink->find_places(addresses, previous);
    if (!places) return places.error().in("finding backends");
    bool waiting = false;
    places->erase_if([&](const auto& entry) { return entry.second.kind != Place::Kind::pod && !listed.contains(entry.first); });
    for (const auto& [address, place] : *places) {
      if (place.kind != Place::Kind::routed) continue;
      waiting = true;
      // Nobody may have talked to it yet. That the kernel cannot be made to ask is no reason to stop: the kernel path serves.
      if (!asked) (void)edges_.netlink->probe_neighbour(address);
    }
    asked = true;
    seen.machine.places = std::move(*places);
    if (!waiting || !options.waits || std::chrono::steady_clock::now() >= deadline) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(25));
  }
  places_ = seen.machine.places;
  return {};
}

Reconciler::Declared Reconciler::join_api(Objects objects, std::vector<std::string> warnings) {
  Declared declared;
  declared.warnings = std::move(warnings);
  if (auto api = api_facts_()) {
    api_known_ = std::move(api);
  } else if (!std::exchange(api_read_, true)) {
    auto kept = read_api_memory(settings_.api_file(), boot_id());
    if (!kept) declared.warnings.push_back(kept.error().text);
    if (kept && *kept) api_known_ = std::make_shared<ApiFacts>(std::move(**kept));
  }
  if (!api_known_) {
    declared.objects = std::move(objects);
    return declared;
  }
  std::set<ObjectName> own;
  for (const Service& service : objects.services) own.insert(service.name);
  auto both = side_by_side(std::move(objects), api_known_->objects);
  declared.objects = std::move(both.objects);
  declared.given = api_known_->given;
  for (const ObjectName& name : own)
    if (declared.given->contains(name)) declared.given.own().erase(name);
  for (const auto& [name, why] : api_known_->waiting)
    if (!own.contains(name)) declared.waiting.insert({name, why});
  declared.policed = api_known_->policed;
  declared.taken_over = api_known_->taken_over;
  declared.warnings.insert(declared.warnings.end(), both.warnings.begin(), both.warnings.end());
  declared.warnings.insert(declared.warnings.end(), api_known_->warnings.begin(), api_known_->warnings.end());
  return declared;
}

Result<Observation> Reconciler::observe(Declared declared, const PassOptions& options) {
  Observation seen;
  seen.objects = std::move(declared.objects);
  seen.warnings = std::move(declared.warnings);
  seen.given = std::move(declared.given);
  seen.waiting = std::move(declared.waiting);
  seen.machine.policed = std::move(declared.policed);
  seen.machine.taken_over = std::move(declared.taken_over);
  seen.machine.node_name = settings_.node;
  seen.machine.kube_proxy = edges_.kube_proxy();

  auto attached = edges_.data_plane->attached();
  if (!attached) return attached.error();
  seen.attached = std::move(*attached);
  if (!seen.attached.empty()) {
    auto installed = edges_.data_plane->installed();
    if (!installed) return installed.error();
    seen.installed = std::move(*installed);
    auto node = edges_.data_plane->node();
    if (!node) return node.error();
    seen.node = *node;
    auto capacity = edges_.data_plane->capacity();
    if (!capacity) return capacity.error();
    seen.capacity = *capacity;
  }

  auto state = read_state(settings_.state_file(), &state_);
  if (state) {
    seen.state = std::move(*state);
  } else {
    seen.state_damage = state.error().text;
    seen.state.held = recover_held(seen.objects, seen.installed);
    for (const auto& [name, assignment] : seen.state.held)
      seen.state.probed.insert(assignment.addresses.begin(), assignment.addresses.end());
  }

  if (auto facts = peer_facts_(); facts)
    seen.peers = std::move(*facts);
  else
    seen.peers = installed_peers(seen.objects.nodes, settings_.node, std::filesystem::exists(settings_.key_file()),
                                 seen.installed, seen.node.epoch);
  if (auto ill = read_health(settings_.health_file()))
    seen.machine.ill = std::move(*ill);
  else
    seen.warnings.push_back(ill.error().text);

  std::vector<std::string> names;
  for (const AttachedLink& link : seen.attached) names.push_back(link.interface);
  if (!names.empty()) {
    auto links = edges_.netlink->links(names);
    if (!links) return links.error();
    seen.machine.links = std::move(*links);
  }
  auto own = edges_.netlink->own_addresses();
  if (!own) return own.error();
  seen.machine.own_addresses = std::move(*own);
  auto interfaces = edges_.netlink->interfaces();
  if (!interfaces) return interfaces.error();
  for (const InterfaceFacts& interface : *interfaces) seen.cluster_macs.insert(interface.mac);
  for (const DesiredPeer& peer : seen.peers.peers) seen.cluster_macs.insert(peer.macs.begin(), peer.macs.end());
  if (auto found = find_places(seen, options); !found) return found.error();
  return seen;
}

Result<Observation> Reconciler::look() {
  edges_.data_plane->forget();  // without the lock somebody may be editing
  const PassOptions at_once{.waits = false};
  auto manifests = read_manifests(settings_.manifests());
  if (!manifests) return observe(join_api({}, {manifests.error().text + ": shown without the manifests"}), at_once);
  return observe(join_api(std::move(manifests->objects), std::move(manifests->warnings)), at_once);
}

Result<Judgement> Reconciler::judge(const Observation& observation) {
  return judge(observation, ask_nobody, {.retry_conflicts = false});
}

Result<Judgement> Reconciler::judge(const Observation& seen, const AskWire& ask, const PassOptions& options) {
  Judgement judged;
  judged.state = seen.state;
  judged.warnings = seen.warnings;
  // Who answers for an address already does not use it for the first time, whatever became of the state file.
  for (const auto& [address, vip] : seen.installed.vips)
    if (vip.owned_epoch != 0 && vip.owned_epoch == seen.node.epoch && !seen.state.conflicts.contains(address))
      judged.state.probed.insert(address);
  for (const auto& [address, holding] : seen.peers.holdings)
    if (!holding.owner.empty() && !seen.state.conflicts.contains(address)) judged.state.probed.insert(address);
  // A peer that has not been heard yet would look like a stranger.
  const bool joining = !seen.peers.alone && !seen.peers.settled;
  AddressProbe probe(joining ? ask_peers_first : ask, seen.cluster_macs);
  if (options.retry_conflicts) {
    auto asked = probe.forget_settled(seen.machine.links, judged.state, options.conflicts_since);
    if (!asked) return asked.error();
  }
  std::map<Address, std::string> used = own_uses(seen.machine);
  used.merge(node_uses(seen.objects));
  for (;;) {
    std::map<Address, std::string> avoid = judged.state.conflicts;
    avoid.insert(used.begin(), used.end());
    Allocation allocation = allocate(seen.objects, judged.state.held, avoid, seen.given);
    allocation.refusals.insert(seen.waiting.begin(), seen.waiting.end());
    judged.state.held = allocation.held;
    judged.desired = decide(seen.objects, allocation.held, seen.machine, allocation.refusals, judged.state.conflicts,
                            seen.peers, &decisions_);
    auto found = probe.first_use(seen.machine.links, judged.desired, judged.state,
                                 std::chrono::steady_clock::now() - kFirstUseKept);
    if (!found) return found.error();
    if (*found) continue;
    judged.open = probe.open();
    if (judged.open.empty()) break;
    if (!seen.attached.empty()) {
      // What will not fit when it is free is refused now.
      if (auto fits = compile(judged.desired, seen.installed, seen.capacity, seen.node.epoch); !fits) return fits.error();
    }
    std::map<Address, std::string> not_yet = judged.state.conflicts;
    not_yet.insert(judged.open.begin(), judged.open.end());
    judged.desired = decide(seen.objects, allocation.held, seen.machine, allocation.refusals, not_yet, seen.peers,
                            &decisions_);
    break;
  }
  judged.uses = std::move(used);
  judged.unsettled = !judged.open.empty() || probe.unsettled();
  const auto& said = probe.said();
  judged.warnings.insert(judged.warnings.end(), said.begin(), said.end());
  judged.warnings.insert(judged.warnings.end(), judged.desired.warnings.begin(), judged.desired.warnings.end());
  const std::vector<std::string> of_peers = peer_warnings(seen.objects, seen.machine);
  judged.warnings.insert(judged.warnings.end(), of_peers.begin(), of_peers.end());
  if (seen.attached.empty()) {
    judged.wanted = seen.installed;
    return judged;
  }
  auto wanted = compile(judged.desired, seen.installed, seen.capacity, seen.node.epoch, &slots_);
  if (!wanted) return wanted.error();
  judged.wanted = std::move(*wanted);
  return judged;
}

std::vector<LinkVips> owned_vips(const Tables& tables, const std::vector<Link>& links, std::uint64_t epoch) {
  std::vector<LinkVips> result;
  for (const Link& link : links) {
    const auto row = tables.links.find(LinkKey{link.attach_ifindex, link.vlan});
    if (row == tables.links.end()) continue;
    LinkVips owned{link, {}};
    for (const auto& [address, vip] : tables.vips)
      if (vip.owned_epoch == epoch && epoch != 0 && (vip.link_mask & row->second.link_bit)) owned.vips.push_back(address);
    result.push_back(std::move(owned));
  }
  return result;
}

// As Outcome::given_back.
std::vector<LinkVips> given_back(const std::map<Address, TakenOver>& before, const Machine& now) {
  std::vector<LinkVips> result;
  for (const Link& link : now.links) {
    LinkVips back{link, {}};
    for (const auto& [address, over] : before) {
      const bool inside = std::any_of(link.subnets.begin(), link.subnets.end(), [&](const Prefix& subnet) { return subnet.contains(address); });
      if (inside && over.home == now.node_name && !now.taken_over.contains(address)) back.vips.push_back(address);
    }
    if (!back.vips.empty()) result.push_back(std::move(back));
  }
  return result;
}

Result<void> Reconciler::announce(const std::vector<LinkVips>& fresh, int rounds) {
  std::chrono::milliseconds since{0};
  for (int round = 0; round < rounds; ++round) {
    for (const LinkVips& entry : fresh) {
      if (entry.vips.empty()) continue;
      if (auto sent = edges_.announce(entry.link, entry.vips); !sent) return sent.error().in("announcing");
    }
    if (round + 1 == rounds) break;
    const auto next = next_announcement(since);
    if (!next) break;
    std::this_thread::sleep_for(*next - since);
    since = *next;
  }
  return {};
}

Result<Outcome> Reconciler::carry_out(Observation& seen, const Judgement& judged, const PreparedChange* change,
                                      const PassOptions& options) {
  Outcome outcome;
  outcome.warnings = judged.warnings;
  for (const AttachedLink& link : seen.attached) outcome.attached.push_back(link.interface);

  if (change) {
    outcome.changes = change->report;
    outcome.warnings.insert(outcome.warnings.begin(), change->warnings.begin(), change->warnings.end());
  }
  if (seen.state_damage) {
    seen.warnings.push_back(settings_.state_file().string() +
                            " was cut short or damaged: set aside (as state.json.damaged); services keep the "
                            "addresses that the kernel holds for them");
    outcome.warnings.push_back(seen.warnings.back());
  }
  outcome.services = service_outcomes(untold_ ? *untold_ : seen.state.held, judged, change);
  if (change || seen.state_damage || !same_state(seen.state, judged.state)) {
    auto work = disk_work(settings_, seen, judged, change);
    if (write_ && !options.waits) {
      if (!untold_) untold_ = std::move(seen.state.held);
      if (change) seen.warnings.insert(seen.warnings.begin(), change->warnings.begin(), change->warnings.end());
      keep_installed(seen);
      writing_ = Writing{std::nullopt,
                         {std::move(seen.objects), std::move(seen.warnings), std::move(seen.given), std::move(seen.waiting),
                          std::move(seen.machine.policed), std::move(seen.machine.taken_over)}};
      write_(std::move(work), [this](const Result<void>& result) { wrote(result); });
      outcome.deferred = Outcome::Deferred::disk;
      return outcome;
    }
    if (auto written = work(); !written) return written.error();
  }
  untold_.reset();
  outcome.refusals = judged.desired.refusals;
  outcome.uses = judged.uses;
  outcome.conflicts = judged.state.conflicts;
  outcome.places_missing = waits_for_neighbours(seen.machine);
  outcome.open = !judged.open.empty();
  outcome.facts = last_pass(seen, judged);
  if (seen.attached.empty()) return outcome;
  outcome.among_peers = {seen.objects.nodes, judged.desired.peers, seen.machine.links, judged.desired.vips,
                         node_ids(judged.desired.peers, judged.wanted), configuration_.of(seen.objects)};
  for (std::string& reason : unowned_reasons(judged)) outcome.warnings.push_back(std::move(reason));

  const Edits edits = plan(seen.installed, judged.wanted, seen.capacity);
  for (const Edit& edit : edits) outcome.edits.push_back(describe(edit));
  if (!edits.empty()) {
    if (auto applied = edges_.data_plane->apply(edits); !applied)
      return applied.error().in("the declarations are written, the tables only in part (any next command finishes them)");
  }

  // A daemon that minded peers is gone, and so is the last peer: nobody else could answer, and nobody renews the lease. Given
  // last, so that nothing is answered for that is not owned any more.
  const bool revived = seen.peers.alone && seen.node.lease_boot_ns != XLB_FOREVER;
  if (revived) {
    if (auto given = edges_.data_plane->give_lease_for_ever(); !given)
      return given.error().in("the tables are edited, but nothing is answered for (any next command tries again)");
  }
  const auto before = revived ? std::vector<LinkVips>() : owned_vips(seen.installed, seen.machine.links, seen.node.epoch);
  outcome.owned = owned_vips(judged.wanted, seen.machine.links, seen.node.epoch);
  auto fresh = outcome.owned;
  std::map<Address, VipOutcome> taken;
  for (LinkVips& entry : fresh) {
    std::vector<Address> vips;
    for (const Address& vip : entry.vips) {
      const bool known = std::any_of(before.begin(), before.end(), [&](const LinkVips& old) {
        return old.link.attach_ifindex == entry.link.attach_ifindex && old.link.vlan == entry.link.vlan &&
               std::binary_search(old.vips.begin(), old.vips.end(), vip);
      });
      if (known) continue;
      vips.push_back(vip);
      VipOutcome& said = taken[vip];
      said.address = vip;
      said.links.push_back(entry.link.l3_name.empty() ? entry.link.name : entry.link.l3_name);
    }
    entry.vips = std::move(vips);
  }
  for (auto& [address, said] : taken) outcome.taken.push_back(std::move(said));
  for (const auto& [address, vip] : seen.installed.vips) {
    const auto now = judged.wanted.vips.find(address);
    if (vip.owned_epoch == seen.node.epoch && (now == judged.wanted.vips.end() || now->second.owned_epoch != seen.node.epoch))
      outcome.dropped.push_back(address);
  }
  // The VIP is answered for already; that the network was not told loudly is a warning.
  if (auto announced = announce(fresh, outcome.taken.empty() ? 0 : options.announcements); !announced)
    outcome.warnings.push_back(announced.error().text);
  outcome.given_back = given_back(std::exchange(taken_over_, seen.machine.taken_over), seen.machine);
  return outcome;
}

void Reconciler::keep_installed(Observation& seen) {
  if (!seen.attached.empty()) edges_.data_plane->keep(std::move(seen.installed));  // else they were not read
}

Outcome Reconciler::put_off(Observation& seen, Outcome::Deferred why) {
  keep_installed(seen);
  return deferred(why);
}

Result<Outcome> Reconciler::finish(Observation& seen, Judgement& judged, const PreparedChange* change, const PassOptions& options) {
  auto outcome = carry_out(seen, judged, change, options);
  if (outcome && outcome->deferred == Outcome::Deferred::no && !seen.attached.empty())
    edges_.data_plane->keep(std::move(judged.wanted));
  return outcome;
}

Result<Outcome> Reconciler::pass(const PassOptions& options) {
  auto declared = std::exchange(declared_, std::nullopt);
  if (!declared) {
    auto manifests = read_manifests(settings_.manifests(), &documents_);
    if (!manifests) return manifests.error();
    declared = join_api(std::move(manifests->objects), std::move(manifests->warnings));
  }
  auto seen = observe(std::move(*declared), options);
  if (!seen) return seen.error();
  auto judged = judge(*seen, edges_.ask_wire, options);
  if (!judged) return judged.error();
  return finish(*seen, *judged, nullptr, options);
}

Result<Outcome> Reconciler::reconcile(const PassOptions& options) {
  return locked(options, [&] { return pass(options); });
}

Result<Outcome> Reconciler::change(const PreparedChange& prepared, const PassOptions& options) {
  declared_.reset();
  auto seen = observe(join_api(prepared.after, {}), options);
  if (!seen) return seen.error();
  auto judged = judge(*seen, edges_.ask_wire, options);
  if (!judged) return judged.error();
  if (!options.waits && judged->unsettled) return put_off(*seen, Outcome::Deferred::wire);
  if (!options.waits && options.place_patience.count() > 0 && waits_for_neighbours(seen->machine))
    return put_off(*seen, Outcome::Deferred::neighbours);
  if (auto served = refuse_unserved(prepared, *judged); !served) return served.error();
  return finish(*seen, *judged, &prepared, options);
}

Result<Outcome> Reconciler::apply(const std::vector<NamedText>& documents, const PassOptions& options) {
  return locked(options, [&]() -> Result<Outcome> {
    if (auto made = make_folder(settings_.manifests()); !made) return made.error();
    auto prepared = prepare_apply(settings_.manifests(), documents);
    if (!prepared) return prepared.error();
    return change(*prepared, options);
  });
}

Result<Outcome> Reconciler::remove(const std::vector<ObjectId>& objects, const PassOptions& options) {
  return locked(options, [&]() -> Result<Outcome> {
    auto prepared = prepare_delete(settings_.manifests(), objects);
    if (!prepared) return prepared.error();
    return change(*prepared, options);
  });
}

Result<Outcome> Reconciler::check(const std::vector<NamedText>& documents) {
  auto prepared = prepare_apply(settings_.manifests(), documents);
  if (!prepared) return prepared.error();
  Outcome outcome;
  outcome.changes = prepared->report;
  outcome.warnings = prepared->warnings;
  // Without the right to look at the kernel the manifests are still checked by themselves and against one another.
  State state;
  if (auto read = read_state(settings_.state_file())) state = std::move(*read);
  const Allocation allocation = allocate(prepared->after, state.held, state.conflicts);
  Judgement judged;
  judged.state.held = allocation.held;
  judged.desired.refusals = allocation.refusals;
  if (auto served = refuse_unserved(*prepared, judged); !served) return served.error();
  outcome.services = service_outcomes(state.held, judged, &*prepared);
  return outcome;
}

Result<Outcome> Reconciler::attach(const AttachRequest& request, const PassOptions& options) {
  return locked(options, [&]() -> Result<Outcome> {
    // Whatever would stop the pass afterwards is asked for first.
    if (auto manifests = read_manifests(settings_.manifests()); !manifests) return manifests.error();
    auto before = edges_.data_plane->attached();
    if (!before) return before.error();
    const bool had = std::any_of(before->begin(), before->end(),
                                 [&](const AttachedLink& link) { return link.interface == request.interface; });
    auto link = edges_.data_plane->attach(request);
    if (!link) return link.error();
    if (had && options.pass_follows) {
      Outcome attached;
      attached.link = std::move(*link);
      return attached;
    }
    auto outcome = pass(options);
    if (!outcome) {
      if (had) return outcome.error();
      if (auto undone = edges_.data_plane->detach(request.interface); !undone)
        return outcome.error().in("attached, and taking it back failed (" + undone.error().text + ")");
      return outcome.error().in("attach " + request.interface + " was taken back");
    }
    outcome->link = std::move(*link);
    return outcome;
  });
}

Result<Outcome> Reconciler::detach(const std::string& interface, const PassOptions& options) {
  return locked(options, [&]() -> Result<Outcome> {
    if (interface.empty()) {
      if (auto gone = edges_.data_plane->detach_all(); !gone) return gone.error();
    } else {
      if (auto gone = edges_.data_plane->detach(interface); !gone) return gone.error();
    }
    auto left = edges_.data_plane->attached();
    if (!left) return left.error();
    if (left->empty()) return Outcome{};
    return pass(options);
  });
}

Result<Outcome> Reconciler::upgrade(const PassOptions& options) {
  return locked(options, [&]() -> Result<Outcome> {
    if (auto swapped = edges_.data_plane->upgrade(); !swapped) return swapped.error();
    return pass(options);
  });
}

Result<bool> Reconciler::set_trace(std::uint64_t until_mono_ns, std::uint32_t every, const PassOptions& options) {
  auto held = lock(options);
  if (!held) return held.error();
  if (!*held) return false;
  if (auto written = edges_.data_plane->set_trace(until_mono_ns, every); !written) return written.error();
  return true;
}

}  // namespace xlb
