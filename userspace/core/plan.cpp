// SPDX-License-Identifier: Apache-2.0
// Make before break, in fixed phases: what is new is written from the bottom up (a peer before its backends, a
// backend before the slots that list it, slots before the service that uses them, a service before its VIP), what is gone is taken away from the top
// down. After every single edit each VIP, service and slot refers only to things that are there.
//
// That order cannot hold where a row must be given to something else at once: a slot range, or a backend id, that an
// installed service still uses while the wanted tables use it otherwise. compile() avoids it while there is room.
// Where it happens, the service that stands in the way is *displaced*: removed before and, if still wanted, set again
// after.
//
// Edits are found by walking both sides once; unchanged rows give none, and slots are written in runs. Two runs
// closer than `worthwhile_gap` become one: rewriting a few equal slots costs less than another edit.
#include "userspace/core/plan.hpp"

#include <algorithm>
#include <initializer_list>
#include <iterator>
#include <set>

#include "userspace/core/rows.hpp"

namespace xlb {
namespace {

constexpr std::size_t worthwhile_gap = 32;

bool same_holder(const lb_backend& left, const lb_backend& right) {
  return same_row(left.address, right.address) && left.port == right.port && left.protocol == right.protocol &&
         left.generation == right.generation;
}

bool begins_to_drain(const lb_backend& from, const lb_backend& to) {
  return (to.flags & ~from.flags & XLB_BACKEND_DRAINING) != 0;
}

// Calls changed(key, value) for rows that are new or different, and gone(key) for rows that are no more.
template <typename Map, typename Changed, typename Gone>
void compare(const Map& installed, const Map& wanted, const Changed& changed, const Gone& gone) {
  auto old_row = installed.begin();
  auto new_row = wanted.begin();
  while (old_row != installed.end() || new_row != wanted.end()) {
    if (new_row == wanted.end() || (old_row != installed.end() && old_row->first < new_row->first)) {
      gone(old_row->first);
      ++old_row;
    } else if (old_row == installed.end() || new_row->first < old_row->first) {
      changed(new_row->first, new_row->second);
      ++new_row;
    } else {
      if (!same_row(old_row->second, new_row->second)) changed(new_row->first, new_row->second);
      ++old_row;
      ++new_row;
    }
  }
}

template <typename Set, typename Added, typename Gone>
void compare_sets(const Set& installed, const Set& wanted, const Added& added, const Gone& gone) {
  for (const auto& item : wanted) {
    if (!installed.contains(item)) added(item);
  }
  for (const auto& item : installed) {
    if (!wanted.contains(item)) gone(item);
  }
}

template <typename Kind>
auto setter(Edits& phase) {
  return [&phase](const auto& key, const auto& value) { phase.push_back(Kind{key, value}); };
}
template <typename Kind>
auto remover(Edits& phase) {
  return [&phase](const auto& key) { phase.push_back(Kind{key, std::nullopt}); };
}

struct Ranges {
  const std::map<std::uint32_t, Slots>& slots;

  // The ranges that [base, base + size) touches, in order.
  template <typename Visit>
  void touching(std::uint32_t base, std::size_t size, const Visit& visit) const {
    auto range = slots.upper_bound(base);
    if (range != slots.begin() && std::prev(range)->first + std::prev(range)->second.size() > base) --range;
    for (; range != slots.end() && range->first < base + size; ++range) visit(*range);
  }
};

class EditPlanner {
 public:
  EditPlanner(const Tables& installed, const Tables& wanted, const Capacity& capacity)
      : installed_(installed), wanted_(wanted), capacity_(capacity) {}

  Edits run() {
    compare(installed_.links, wanted_.links, setter<EditLink>(make_), remover<EditLink>(links_gone_));
    compare(installed_.peers, wanted_.peers, setter<EditPeer>(make_), remover<EditPeer>(peers_gone_));
    compare(installed_.peer_macs, wanted_.peer_macs, setter<EditPeerMac>(make_), remover<EditPeerMac>(peer_macs_gone_));
    compare_sets(
        installed_.returns, wanted_.returns,
        [&](std::uint32_t ifindex) {
          make_.push_back(EditReturn{ifindex, true});
        },
        [&](std::uint32_t ifindex) {
          returns_gone_.push_back(EditReturn{ifindex, false});
        });
    compare_backends();
    displace();
    std::move(backends_made_.begin(), backends_made_.end(), std::back_inserter(make_));
    plan_slots();
    compare_sets(
        installed_.sources, wanted_.sources,
        [&](const SourceKey& key) {
          make_.push_back(EditSource{key, true});
        },
        [&](const SourceKey& key) {
          sources_gone_.push_back(EditSource{key, false});
        });
    plan_services();
    compare(installed_.vips, wanted_.vips, setter<EditVip>(make_), remover<EditVip>(vips_gone_));
    compare_sets(
        installed_.groups, wanted_.groups,
        [&](const Group& group) {
          make_.push_back(EditGroup{group, true});
        },
        [&](const Group& group) {
          groups_gone_.push_back(EditGroup{group, false});
        });
    Edits edits;
    const auto append = [&](std::initializer_list<Edits*> phases) {
      for (Edits* phase : phases) std::move(phase->begin(), phase->end(), std::back_inserter(edits));
    };
    if (crowded()) {
      append({&groups_gone_, &vips_gone_, &services_gone_, &sources_gone_, &make_, &backends_drained_, &slots_gone_});
    } else {
      append({&make_, &backends_drained_, &groups_gone_, &vips_gone_, &services_gone_, &sources_gone_, &slots_gone_});
    }
    append({&backends_gone_, &peer_macs_gone_, &peers_gone_, &returns_gone_, &links_gone_});
    return edits;
  }

 private:
  // Would a table overflow while old and new rows stand in it together?
  [[nodiscard]] bool crowded() const {
    const auto together = [](const auto& wanted, const Edits& gone) { return wanted.size() + gone.size(); };
    return together(wanted_.vips, vips_gone_) > XLB_MAX_VIPS ||
           together(wanted_.services, services_gone_) > capacity_.services ||
           together(wanted_.sources, sources_gone_) > capacity_.sources;
  }

  // Is the installed range left as it is, or replaced in place by the service that has it?
  [[nodiscard]] bool range_in_the_way(std::uint32_t base, const Slots& old_slots) const {
    const auto same_base = wanted_.slots.find(base);
    if (same_base != wanted_.slots.end() && same_base->second.size() == old_slots.size()) return false;
    bool touched = false;
    Ranges{wanted_.slots}.touching(base, old_slots.size(), [&](const auto&) { touched = true; });
    return touched;
  }

  void displace() {
    for (const auto& [base, old_slots] : installed_.slots) {
      if (range_in_the_way(base, old_slots)) ranges_in_the_way_.insert(base);
    }
    for (const auto& [key, service] : installed_.services) {
      if (!stands_in_the_way(key, service)) continue;
      displaced_.insert(key);
      make_.push_back(EditService{key, std::nullopt});
    }
    // Cleared whole, so that the wanted ranges are written onto nothing.
    for (const std::uint32_t base : ranges_in_the_way_) {
      make_.push_back(EditSlots{base, std::vector<lb_slot>(installed_.slots.at(base).size())});
    }
  }

  [[nodiscard]] bool stands_in_the_way(const ServiceKey& key, const lb_service& service) const {
    const auto now = wanted_.services.find(key);
    const bool stays = now != wanted_.services.end();
    return stands_in_the_way(slots_of(service), stays ? slots_of(now->second) : SlotRange{}) ||
           stands_in_the_way(own_local_slots(service), stays ? own_local_slots(now->second) : SlotRange{});
  }

  [[nodiscard]] bool stands_in_the_way(const SlotRange& range, const SlotRange& now) const {
    if (range.count == 0) return false;
    if (ranges_in_the_way_.contains(range.base)) return true;
    const bool keeps_range = now == range;
    if (keeps_range && ids_in_the_way_.empty()) return false;
    const auto old_slots = installed_.slots.find(range.base);
    if (old_slots == installed_.slots.end()) return false;
    const bool kept_away = old_slots->second.all([&](std::size_t, const lb_slot& slot) {
      return !ids_in_the_way_.contains(slot.first) && !ids_in_the_way_.contains(slot.second);
    });
    if (!kept_away) return true;
    // Another service's slots are about to be written where this one's are.
    const auto new_slots = wanted_.slots.find(range.base);
    return !keeps_range && new_slots != wanted_.slots.end() && !same_slots(old_slots->second, new_slots->second);
  }

  void compare_backends() {
    constexpr lb_backend nothing{};
    compare(
        installed_.backends, wanted_.backends,
        [&](std::uint32_t id, const lb_backend& backend) {
          const auto old = installed_.backends.find(id);
          const bool stays = old != installed_.backends.end() && live(old->second) && live(backend);
          if (stays && same_holder(old->second, backend) && begins_to_drain(old->second, backend)) {
            backends_drained_.push_back(EditBackend{id, backend});
            return;
          }
          (live(backend) ? backends_made_ : backends_gone_).push_back(EditBackend{id, backend});
          if (stays && !same_holder(old->second, backend)) ids_in_the_way_.insert(id);
        },
        [&](std::uint32_t id) {
          backends_gone_.push_back(EditBackend{id, nothing});
        });
  }

  void plan_slots() {
    for (const auto& [base, slots] : wanted_.slots) {
      const auto old_slots = installed_.slots.find(base);
      if (old_slots == installed_.slots.end() || ranges_in_the_way_.contains(base)) {
        make_.push_back(EditSlots{base, slots.rows()});
      } else {
        write_runs(base, old_slots->second, slots);
      }
    }
    for (const auto& [base, slots] : installed_.slots) {
      if (!wanted_.slots.contains(base) && !ranges_in_the_way_.contains(base)) {
        slots_gone_.push_back(EditSlots{base, std::vector<lb_slot>(slots.size())});
      }
    }
  }

  void write_runs(std::uint32_t base, const Slots& old_slots, const Slots& new_slots) {
    if (same_slots(old_slots, new_slots)) return;
    const std::vector<lb_slot> from = old_slots.rows();
    const std::vector<lb_slot> to = new_slots.rows();
    std::size_t begin = to.size();  // of the run being gathered; none yet
    std::size_t end = 0;            // one past its last different slot
    const auto flush = [&] {
      if (begin >= to.size()) return;
      const auto first = to.begin() + static_cast<std::ptrdiff_t>(begin);
      const auto last = to.begin() + static_cast<std::ptrdiff_t>(end);
      make_.push_back(EditSlots{base + static_cast<std::uint32_t>(begin), std::vector<lb_slot>(first, last)});
    };
    for (std::size_t i = 0; i < to.size(); ++i) {
      if (same_row(from[i], to[i])) continue;
      if (begin < to.size() && i - end > worthwhile_gap) {
        flush();
        begin = i;
      }
      begin = std::min(begin, i);
      end = i + 1;
    }
    flush();
  }

  void plan_services() {
    compare(
        installed_.services, wanted_.services,
        [&](const ServiceKey& key, const lb_service& service) {
          if (!displaced_.contains(key)) make_.push_back(EditService{key, service});
        },
        [&](const ServiceKey& key) {
          if (!displaced_.contains(key)) services_gone_.push_back(EditService{key, std::nullopt});
        });
    for (const ServiceKey& key : displaced_) {
      const auto again = wanted_.services.find(key);
      if (again != wanted_.services.end()) make_.push_back(EditService{key, again->second});
    }
  }

  const Tables& installed_;
  const Tables& wanted_;
  const Capacity& capacity_;
  std::set<std::uint32_t> ranges_in_the_way_;  // bases
  std::set<std::uint32_t> ids_in_the_way_;     // of backends
  std::set<ServiceKey> displaced_;
  Edits make_;
  Edits backends_made_;
  Edits backends_drained_;  // taken out of use last: until the slots name others, flows still begin there
  Edits groups_gone_, vips_gone_, services_gone_, sources_gone_, slots_gone_, backends_gone_, peer_macs_gone_,
      peers_gone_, returns_gone_, links_gone_;
};

}  // namespace

Edits plan(const Tables& installed, const Tables& wanted, const Capacity& capacity) {
  return EditPlanner(installed, wanted, capacity).run();
}

}  // namespace xlb
