// SPDX-License-Identifier: Apache-2.0
// Three rounds over the services, each by name, so that the outcome depends on what is declared and held and on
// nothing else: those that hold addresses keep them where they still may; then those that ask for addresses by
// number; then the rest take the lowest free address of the first pool that suits. An address is only ever taken
// during one call, never given back, so the search for the lowest free one of a range goes on from where the last
// search ended.
#include "userspace/core/allocator.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "userspace/core/pool.hpp"

namespace xlb {
namespace {

std::string quoted(const std::string& text) {
  return "\"" + text + "\"";
}

std::string quoted(const std::vector<Address>& addresses) {
  std::string text;
  for (const Address& address : addresses) text += (text.empty() ? "" : " ") + quoted(address.text());
  return "[" + text + "]";
}

std::string requested_text(const Service& service) {
  return "requested loadBalancer IP(s) " + quoted(service.requested);
}

// ---- which families a service is to have --------------------------------------------------------------------------

struct FamilyWish {
  std::vector<Family> order;  // best first
  bool both = false;          // one of each
  bool insist = false;        // both or nothing

  [[nodiscard]] const char* text() const {
    if (both) return "dual";
    return order.front() == Family::ipv4 ? "ipv4" : "ipv6";
  }
};

Family other(Family family) {
  return family == Family::ipv4 ? Family::ipv6 : Family::ipv4;
}

std::vector<Family> families_of(const std::vector<Address>& addresses) {
  std::vector<Family> families;
  for (const Address& address : addresses) families.push_back(address.family());
  return families;
}

// 0, 1 or 2: there are no more.
std::size_t distinct(const std::vector<Family>& families) {
  if (families.empty()) return 0;
  return std::count(families.begin(), families.end(), families.front()) == std::ssize(families) ? 1 : 2;
}

FamilyWish wish_of(const Service& service) {
  FamilyWish wish;
  const std::size_t named = distinct(service.families);
  if (named == 1 && service.family_policy != FamilyPolicy::require_dual) {
    wish.order = {service.families.front()};
    return wish;
  }
  const Family first = service.families.empty() ? Family::ipv4 : service.families.front();
  wish.order = {first, other(first)};
  const bool asks_for_both = service.families.empty() && service.requested.size() == 2;
  wish.both = service.family_policy != FamilyPolicy::single || named == 2 || asks_for_both;
  wish.insist = wish.both && service.family_policy != FamilyPolicy::prefer_dual;
  return wish;
}

bool fits(const FamilyWish& wish, const std::vector<Address>& addresses) {
  const std::size_t families = distinct(families_of(addresses));
  if (wish.both) return families == 2 || !wish.insist;
  return families == 1 && std::find(wish.order.begin(), wish.order.end(), addresses.front().family()) != wish.order.end();
}

// ---- who has which address ----------------------------------------------------------------------------------------

// Services may share an address under one key; with externalTrafficPolicy Local their backends must be the same too.
struct SharingKey {
  std::string key;
  bool local = false;
  std::map<std::string, std::string> selector;  // of Local only
  bool operator==(const SharingKey&) const = default;
  auto operator<=>(const SharingKey&) const = default;
};

SharingKey sharing_key(const Service& service) {
  SharingKey key{service.sharing_key, service.policy == TrafficPolicy::local, {}};
  if (key.local) key.selector = service.selector;
  return key;
}

class Book {
 public:
  // Why the service cannot have the address; nothing: it can.
  [[nodiscard]] std::optional<std::string> objection(const Service& service, const Address& address) const {
    const auto use = uses_.find(address);
    if (use == uses_.end()) return std::nullopt;
    if (service.sharing_key.empty() || use->second.key != sharing_key(service)) {
      std::set<ObjectName> names;
      for (const Service* user : use->second.users) names.insert(user->name);
      std::string others;
      for (const ObjectName& name : names) others += (others.empty() ? "" : ",") + name.text();
      return "can't change sharing key for " + quoted(service.name.text()) + ", address also in use by " + others;
    }
    for (const ServicePort& port : service.ports) {
      if (!use->second.has(port)) continue;
      return "port " + std::string(protocol_text(port.protocol)) + "/" + std::to_string(port.port) +
             " is already in use on " + quoted(address.text());
    }
    return std::nullopt;
  }

  void enter(const Service& service, const Address& address) {
    Use& use = uses_[address];
    use.key = sharing_key(service);
    use.users.push_back(&service);
    if (!service.sharing_key.empty()) shared_[use.key].insert(address);
  }

  [[nodiscard]] bool used(const Address& address) const { return uses_.contains(address); }

  // Addresses that the service's key already has, lowest first.
  [[nodiscard]] const std::set<Address>& shared_with(const Service& service) const {
    static const std::set<Address> none;
    const auto found = shared_.find(sharing_key(service));
    return service.sharing_key.empty() || found == shared_.end() ? none : found->second;
  }

 private:
  struct Use {
    SharingKey key;
    std::vector<const Service*> users;

    [[nodiscard]] bool has(const ServicePort& wanted) const {
      return std::any_of(users.begin(), users.end(), [&](const Service* user) {
        return std::any_of(user->ports.begin(), user->ports.end(),
                           [&](const ServicePort& port) { return port.protocol == wanted.protocol && port.port == wanted.port; });
      });
    }
  };
  std::map<Address, Use> uses_;
  std::map<SharingKey, std::set<Address>> shared_;
};

// ---- the three rounds ---------------------------------------------------------------------------------------------

class Allocator {
 public:
  Allocator(const Objects& objects, const std::map<Address, std::string>& avoid) : objects_(objects), avoid_(avoid) {
    for (const Pool& pool : objects.pools) pools_.push_back(&pool);
    std::sort(pools_.begin(), pools_.end(), [](const Pool* a, const Pool* b) { return a->name.name < b->name.name; });
  }

  Allocation run(const Assignments& held, const Assignments& given) {
    std::map<ObjectName, const Service*> waiting;
    std::vector<std::pair<const Service*, const Assignment*>> decided;
    for (const Service& service : objects_.services) {
      if (const auto assignment = given.find(service.name); assignment != given.end()) {
        decided.emplace_back(&service, &assignment->second);
        if (!assignment->second.addresses.empty())
          allocation_.held.insert_or_assign(allocation_.held.end(), service.name, assignment->second);
        continue;
      }
      if (service.type != "LoadBalancer") continue;
      if (!service.load_balancer_class.empty()) {
        allocation_.refusals[service.name] =
            "loadBalancerClass " + quoted(service.load_balancer_class) + " belongs to another load balancer";
        continue;
      }
      waiting[service.name] = &service;
    }
    if (waiting.empty()) return std::move(allocation_);  // nobody is in anybody's way
    for (const auto& [service, assignment] : decided)
      for (const Address& address : assignment->addresses) book_.enter(*service, address);
    auto service = waiting.begin();
    for (const auto& [name, assignment] : held) {
      while (service != waiting.end() && service->first < name) ++service;
      if (service == waiting.end()) break;
      if (service->first == name && keep(*service->second, assignment)) service = waiting.erase(service);
    }
    for (const bool by_number : {true, false}) {
      for (const auto& [name, asking] : waiting) {
        if (asking->requested.empty() == by_number) continue;
        if (const auto got = by_number ? give_requested(*asking) : give_free(*asking); !got) {
          allocation_.refusals[name] = got.error().text;
        }
      }
    }
    return std::move(allocation_);
  }

 private:
  using Cursor = std::pair<const Pool*, std::size_t>;  // a range of a pool

  void assign(const Service& service, const Pool& pool, std::vector<Address> addresses) {
    for (const Address& address : addresses) book_.enter(service, address);
    auto& held = allocation_.held;
    held.insert_or_assign(held.end(), service.name, Assignment{std::move(addresses), pool.name.name});  // mostly by name
  }

  [[nodiscard]] const Pool* pool_named(const std::string& name) const {
    const auto found =
        std::find_if(pools_.begin(), pools_.end(), [&](const Pool* pool) { return pool->name.name == name; });
    return found == pools_.end() ? nullptr : *found;
  }

  // The pool that holds all of them.
  [[nodiscard]] const Pool* pool_of(const std::vector<Address>& addresses) const {
    for (const Pool* pool : pools_) {
      if (std::all_of(addresses.begin(), addresses.end(),
                      [&](const Address& address) { return holds(*pool, address); })) {
        return pool;
      }
    }
    return nullptr;
  }

  bool keep(const Service& service, const Assignment& assignment) {
    std::vector<Address> addresses = assignment.addresses;
    const FamilyWish wish = wish_of(service);
    if (!wish.both && addresses.size() == 2)
      std::erase_if(addresses, [&](const Address& a) { return a.family() != wish.order.front(); });
    if (addresses.empty() || addresses.size() > 2 || distinct(families_of(addresses)) != addresses.size()) return false;
    if (!fits(wish, addresses)) return false;
    const bool asks = !service.requested.empty();
    if (asks && std::set(service.requested.begin(), service.requested.end()) != std::set(addresses.begin(), addresses.end())) return false;
    const Pool* pool = pool_of(addresses);
    if (pool == nullptr || !admits(*pool, service, objects_)) return false;
    if (!service.pool.empty() && pool->name.name != service.pool) return false;
    for (const Address& address : addresses) {
      if (avoid_.contains(address) || book_.objection(service, address)) return false;
    }
    if (wish.both && addresses.size() == 1 && !asks) {
      const auto second = lowest(*pool, other(addresses.front().family()), service);
      if (second) addresses.push_back(*second);
    }
    assign(service, *pool, std::move(addresses));
    return true;
  }

  Result<void> give_requested(const Service& service) {
    const std::vector<Address>& asked = service.requested;
    if (asked.size() > 2) return Error{"more than two addresses " + quoted(asked)};
    if (asked.size() == 2 && asked[0].family() == asked[1].family()) {
      return Error{quoted(asked[0].text()) + " " + quoted(asked[1].text()) + " has the same family"};
    }
    const FamilyWish wish = wish_of(service);
    if (!fits(wish, asked)) {
      return Error{requested_text(service) + " does not match the ipFamily of the service"};
    }
    const Pool* pool = pool_of(asked);
    if (pool == nullptr) return Error{quoted(asked) + " is not allowed in config"};
    if (!admits(*pool, service, objects_)) return incompatible(*pool);
    for (const Address& address : asked) {
      if (const auto why = avoid_.find(address); why != avoid_.end()) {
        return Error{requested_text(service) + " cannot be given out: " + why->second};
      }
      if (const auto objection = book_.objection(service, address)) return Error{*objection};
    }
    if (!service.pool.empty() && pool->name.name != service.pool) {
      return Error{requested_text(service) + " is not compatible with requested address pool " + service.pool};
    }
    assign(service, *pool, asked);
    return {};
  }

  static Error incompatible(const Pool& pool) {
    return Error{"pool " + pool.name.name + " not compatible for ip assignment"};
  }

  Result<void> give_free(const Service& service) {
    const FamilyWish wish = wish_of(service);
    if (!service.pool.empty()) {
      const Pool* pool = pool_named(service.pool);
      if (pool == nullptr) return Error{"unknown pool " + quoted(service.pool)};
      if (!admits(*pool, service, objects_)) return incompatible(*pool);
      if (take_from({pool}, service, wish)) return {};
      return Error{none_left(*pool, wish)};
    }
    std::vector<const Pool*> pinned;
    std::vector<const Pool*> open;
    for (const Pool* pool : pools_) {
      if (pinned_to(*pool, service, objects_)) pinned.push_back(pool);
      if (pool->auto_assign && !pool->allocation) open.push_back(pool);
    }
    // Priority 0 is the last: unsigned, so that 0 - 1 is the greatest.
    std::sort(pinned.begin(), pinned.end(), [](const Pool* a, const Pool* b) {
      return std::pair(a->allocation->priority - 1, a->name.name) <
             std::pair(b->allocation->priority - 1, b->name.name);
    });
    if (take_from(pinned, service, wish) || take_from(open, service, wish)) return {};
    return Error{"no available IPs"};
  }

  static std::string none_left(const Pool& pool, const FamilyWish& wish) {
    std::set<Family> offered;
    for (const AddressRange& range : pool.ranges) offered.insert(range.first.family());
    const std::string text = "no available IPs in pool " + pool.name.name;
    const bool lacking = wish.both || (wish.order.size() == 1 && !offered.contains(wish.order.front()));
    return lacking ? text + " for " + wish.text() + " IPFamily" : text;
  }

  bool take_from(const std::vector<const Pool*>& pools, const Service& service, const FamilyWish& wish) {
    if (wish.both) {
      for (const Pool* pool : pools) {
        const auto first = lowest(*pool, wish.order[0], service);
        const auto second = lowest(*pool, wish.order[1], service);
        if (!first || !second) continue;
        assign(service, *pool, {*first, *second});
        return true;
      }
      if (wish.insist) return false;
    }
    for (const Family family : wish.order) {
      for (const Pool* pool : pools) {
        const auto address = lowest(*pool, family, service);
        if (!address) continue;
        assign(service, *pool, {*address});
        return true;
      }
    }
    return false;
  }

  // First range with room, lowest address in it: free, or held under the service's sharing key.
  std::optional<Address> lowest(const Pool& pool, Family family, const Service& service) {
    for (std::size_t i = 0; i < pool.ranges.size(); ++i) {
      const AddressRange& range = pool.ranges[i];
      if (range.first.family() != family) continue;
      const std::optional<Address> free = lowest_free(pool, i);
      const std::set<Address>& shared = book_.shared_with(service);
      for (auto address = shared.lower_bound(range.first); address != shared.end(); ++address) {
        if (*address > range.last || (free && *free < *address)) break;
        if (holds(pool, *address) && !avoid_.contains(*address) && !book_.objection(service, *address))
          return *address;
      }
      if (free) return free;
    }
    return std::nullopt;
  }

  std::optional<Address> lowest_free(const Pool& pool, std::size_t index) {
    const AddressRange& range = pool.ranges[index];
    const auto [place, fresh] = cursors_.try_emplace(Cursor{&pool, index}, range.first);
    std::optional<Address>& cursor = place->second;
    while (cursor && (book_.used(*cursor) || avoid_.contains(*cursor) || (pool.avoid_buggy_ips && buggy(*cursor)))) {
      cursor = *cursor == range.last ? std::nullopt : std::optional(cursor->next());
    }
    return cursor;
  }

  const Objects& objects_;
  const std::map<Address, std::string>& avoid_;
  std::vector<const Pool*> pools_;  // by name
  Book book_;
  std::map<Cursor, std::optional<Address>> cursors_;  // nothing: the range is used up
  Allocation allocation_;
};

}  // namespace

Allocation allocate(const Objects& objects, const Assignments& held, const std::map<Address, std::string>& avoid,
                    const Assignments& given) {
  return Allocator(objects, avoid).run(held, given);
}

}  // namespace xlb
