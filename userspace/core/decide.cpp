// SPDX-License-Identifier: Apache-2.0
// What this node should do about each VIP. Three questions are kept apart:
//   - is it *served*? Its services get rows, so that packets for it are steered. No for an address that is not ours to
//     take: this node's own, the gateway's, or one that somebody else answers for. Taking those would cut off the
//     node, the LAN or a neighbour, whatever is declared;
//   - may this node answer ARP and ND for it, is it *eligible*? That asks for an advertisement that covers this node, a
//     link in whose subnet the address lies, and a service with a backend that takes flows (as in MetalLB, nobody
//     announces what nothing serves);
//   - is it *owned*, does this node answer? Alone: when eligible. With peers: as the cluster's claims say.
// Each answer is stored with its reason, for `status` and `why`.
#include "userspace/core/decide.hpp"

#include <algorithm>
#include <tuple>
#include <utility>

#include "userspace/core/decide_memory.hpp"
#include "userspace/core/endpoints.hpp"

namespace xlb {
namespace {

// Above whatever weights of an advertisement add up to.
constexpr std::int32_t kHome = 1'000'000'000;
const char* const exclude_label = "node.kubernetes.io/exclude-from-external-load-balancers";

bool any_matches(const std::vector<LabelSelector>& selectors, const Labels& labels) {
  return std::any_of(selectors.begin(), selectors.end(),
                     [&](const auto& selector) { return selector.matches(labels); });
}

std::string list(const std::set<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += (text.empty() ? "" : ", ") + item;
  return text;
}

// ---- advertisements ----------------------------------------------------------------------------------------------

class Advertising {
 public:
  Advertising(const Objects& objects, const Machine& machine) : objects_(objects), machine_(machine) {
    labels_["kubernetes.io/hostname"] = machine.node_name;
    for (const Node& node : objects.nodes) {
      if (node.name != machine.node_name) continue;
      node_ = &node;
      labels_.insert(node.labels.begin(), node.labels.end());
    }
    for (const Pool& pool : objects.pools) pools_[pool.name.name] = &pool;
  }

  // Why this node may announce nothing at all; empty: it may.
  [[nodiscard]] std::string node_obstacle() const {
    if (labels_.contains(exclude_label)) {
      return "node " + machine_.node_name + " has the label " + std::string(exclude_label);
    }
    if (node_ != nullptr && node_->network_unavailable) {
      return "node " + machine_.node_name + " reports NetworkUnavailable";
    }
    return {};
  }

  struct Coverage {
    bool advertised = false;  // some advertisement names the pool
    bool covered = false;     // and this node and the service
    bool all_interfaces = false;
    std::set<std::string> interfaces;  // unless all
    std::int32_t preference = 0;       // weights of the preferences that this node meets
  };

  [[nodiscard]] Coverage coverage(const std::string& pool, const Service& service) const {
    Coverage coverage;
    for (const L2Advertisement& advertisement : objects_.advertisements) {
      if (!names_pool(advertisement, pool)) continue;
      coverage.advertised = true;
      if (!advertisement.node_selectors.empty() && !any_matches(advertisement.node_selectors, labels_)) continue;
      if (!advertisement.service_selectors.empty() && !any_matches(advertisement.service_selectors, service.labels))
        continue;
      coverage.covered = true;
      coverage.all_interfaces |= advertisement.interfaces.empty();
      coverage.interfaces.insert(advertisement.interfaces.begin(), advertisement.interfaces.end());
      for (const PreferredNodes& preferred : advertisement.preferred_nodes)
        if (preferred.preference.matches(labels_)) coverage.preference += preferred.weight;
    }
    return coverage;
  }

  [[nodiscard]] bool advertised(const std::string& pool) const {
    return std::any_of(objects_.advertisements.begin(), objects_.advertisements.end(),
                       [&](const auto& advertisement) { return names_pool(advertisement, pool); });
  }

  [[nodiscard]] bool known_pool(const std::string& name) const { return pools_.contains(name); }

 private:
  [[nodiscard]] bool names_pool(const L2Advertisement& advertisement, const std::string& name) const {
    if (advertisement.pools.empty() && advertisement.pool_selectors.empty()) return true;
    if (std::find(advertisement.pools.begin(), advertisement.pools.end(), name) != advertisement.pools.end())
      return true;
    const auto pool = pools_.find(name);
    return pool != pools_.end() && any_matches(advertisement.pool_selectors, pool->second->labels);
  }

  const Objects& objects_;
  const Machine& machine_;
  const Node* node_ = nullptr;
  Labels labels_;  // of this node
  std::map<std::string, const Pool*> pools_;
};

// ---- the whole ---------------------------------------------------------------------------------------------------

class Decider {
 public:
  Decider(const Objects& objects, const Assignments& held, const Machine& machine,
          const std::map<Address, std::string>& conflicts, const PeerFacts& peers, DecideMemory& memory)
      : objects_(objects),
        held_(held),
        machine_(machine),
        conflicts_(conflicts),
        peers_(peers),
        memory_(memory),
        own_uses_(own_uses(machine)),
        advertising_(objects, machine),
        slices_(objects.slices) {}

  Desired run(const std::map<ObjectName, std::string>& refusals) {
    desired_.links = machine_.links;
    desired_.pods.reserve(machine_.places.size());
    for (const auto& [address, place] : machine_.places)
      if (place.kind == Place::Kind::pod) desired_.pods.append(address, place.veth_ifindex);
    desired_.peers = peers_.peers;
    desired_.refusals = refusals;
    gather();
    std::set<Address> vips;
    for (const auto& [address, users] : users_) vips.insert(vips.end(), address);
    memory_.see(machine_, vips, desired_.peers);
    for (const auto& [address, users] : users_) {
      DesiredVip vip = describe(address, users);
      const std::string taken = obstacle_to_serving(address);
      std::string unserved = "no port";  // why no backend takes flows; empty: one does
      if (taken.empty()) {
        for (const ServicePointer& service : users.services) serve(service, address, vips, unserved);
      }
      decide_eligibility(vip, users, taken, unserved);
      decide_ownership(vip, taken);
      desired_.vips.push_back(std::move(vip));
    }
    memory_.forget_unused();
    desired_.services.sort([](const auto& a, const auto& b) { return std::tie(a.name, a.vip) < std::tie(b.name, b.vip); });
    warn_about_pools();
    std::sort(desired_.warnings.begin(), desired_.warnings.end());
    desired_.warnings.erase(std::unique(desired_.warnings.begin(), desired_.warnings.end()), desired_.warnings.end());
    return std::move(desired_);
  }

 private:
  using ServicePointer = DecideMemory::ServicePointer;
  // Of one VIP, by name; `held` is the first one's.
  struct Users {
    std::vector<ServicePointer> services;
    const Assignment* held = nullptr;
  };

  void gather() {
    std::vector<ServicePointer> services = objects_.services.pointers();
    const auto by_name = [](const ServicePointer& a, const ServicePointer& b) { return a->name < b->name; };
    if (!std::is_sorted(services.begin(), services.end(), by_name)) std::sort(services.begin(), services.end(), by_name);
    auto service = services.begin();
    for (const auto& [name, assignment] : held_) {
      while (service != services.end() && (*service)->name < name) ++service;
      if (service == services.end()) break;
      if ((*service)->name != name) continue;
      for (const Address& address : assignment.addresses) {
        Users& users = users_[address];
        users.services.push_back(*service);
        if (users.held == nullptr) users.held = &assignment;
      }
    }
  }

  [[nodiscard]] std::string obstacle_to_serving(const Address& address) const {
    if (const auto conflict = conflicts_.find(address); conflict != conflicts_.end()) return conflict->second;
    const auto own = own_uses_.find(address);
    return own == own_uses_.end() ? "" : own->second;
  }

  DesiredVip describe(const Address& address, const Users& users) {
    DesiredVip vip;
    vip.address = address;
    const Service& first = *users.services.front();
    vip.pool = users.held->pool;
    vip.unknown_ports = first.unknown_ports;
    if (const auto over = machine_.taken_over.find(address); over != machine_.taken_over.end()) {
      vip.taken_over = true;
      vip.continues = over->second.continues;
      if (over->second.home == machine_.node_name) vip.preference = kHome;
    }
    for (const ServicePointer& service : users.services) {
      vip.services.push_back(service->name);
      if (service->unknown_ports == vip.unknown_ports) continue;
      warn(*service, "shares " + address.text() + " with " + first.name.text() +
                         ", whose xdp-lb.io/unknown-ports counts for both");
    }
    if (vip.unknown_ports == UnknownPorts::fall_back && !machine_.kube_proxy) {
      warn(first, "unknown ports of " + address.text() +
                               " fall back to the kernel, but no kube-proxy was found that serves them there");
    }
    return vip;
  }

  // Clears `unserved` when a backend takes flows, else says why not: each of several services of a VIP may.
  void serve(const ServicePointer& service, const Address& vip, const std::set<Address>& vips, std::string& unserved) {
    const auto slices = slices_.of(service->name);
    const Served* served = memory_.find(service, vip, slices);
    if (served == nullptr) served = &memory_.keep(service, vip, slices, find_out(*service, vip, vips));
    for (const std::string& warning : served->warnings) desired_.warnings.push_back(warning);
    desired_.services.share(served->desired);
    if (!unserved.empty() && !service->ports.empty()) unserved = served->unserved;
  }

  Served find_out(const Service& service, const Address& vip, const std::set<Address>& vips) {
    Served served;
    served.unserved = "no port";
    DesiredService desired;
    desired.name = service.name;
    desired.vip = vip;
    desired.affinity_s = service.affinity_s;
    desired.source_ranges = service.source_ranges;
    desired.policy = service.policy;
    desired.health = service.health;
    std::set<std::string> no_veth;
    std::set<std::string> left_out;
    for (const ServicePort& port : service.ports) {
      PortBackends found = find_backends(service, port, vip.family(), slices_, machine_, vips, desired_.peers);
      if (!served.unserved.empty())
        served.unserved = found.empty_reason.empty() ? "" : service.name.text() + ": " + found.empty_reason;
      left_out.insert(found.left_out.begin(), found.left_out.end());
      for (const DesiredBackend& backend : found.backends) {
        if (service.path == Path::fast && backend.kernel_path) no_veth.insert(backend.address.text());
      }
      desired.ports.push_back({port.port, port.protocol, std::move(found.backends), std::move(found.empty_reason)});
    }
    if (!no_veth.empty()) {
      served.warnings.push_back(
          about(service, "asks for the fast path, but no veth was found for " + list(no_veth) + ": kernel path"));
    }
    warn_about_left_out(service, left_out, served.warnings);
    if (const std::string denied = why_family_is_denied(service, vip.family()); !denied.empty())
      served.warnings.push_back(about(service, denied));
    served.desired = std::make_shared<const DesiredService>(std::move(desired));
    return served;
  }

  static void warn_about_left_out(const Service& service, const std::set<std::string>& left_out,
                                  std::vector<std::string>& warnings) {
    constexpr std::size_t told = 3;
    std::size_t count = 0;
    for (const std::string& why : left_out) {
      if (++count > told) break;
      warnings.push_back(about(service, "endpoint " + why));
    }
    if (count > told)
      warnings.push_back(about(service, "endpoints: " + std::to_string(left_out.size() - told) + " more are left out"));
  }

  void decide_eligibility(DesiredVip& vip, const Users& users, const std::string& taken, const std::string& unserved) {
    vip.ranked_by = users.held->addresses.front();
    std::vector<const Link*> links;
    const std::string no_link = choose_links(vip, users, links);
    for (const Link* link : links) vip.links.push_back(link->l3_name);
    for (const std::string& obstacle : {taken, advertising_.node_obstacle(), no_link,
                                        unserved.empty() ? unserved : "nothing serves it: " + unserved,
                                        reserved(vip.address)}) {
      vip.obstacle = obstacle;
      if (!obstacle.empty()) return;
    }
    vip.eligible = true;
  }

  // Connections that are open come in at the node that MetalLB announced it from, and only that one's kube-proxy knows them.
  [[nodiscard]] std::string reserved(const Address& vip) const {
    const auto over = machine_.taken_over.find(vip);
    if (over == machine_.taken_over.end() || !over->second.reserved) return {};
    const bool there = std::any_of(desired_.peers.begin(), desired_.peers.end(), [&](const DesiredPeer& peer) {
      return peer.alive && peer.name == over->second.home;
    });
    if (!there) return {};
    return "it is being taken over by " + over->second.home + ", from where MetalLB announced it";
  }

  void decide_ownership(DesiredVip& vip, const std::string& taken) {
    const std::set<std::string> links(vip.links.begin(), vip.links.end());
    if (peers_.alone) {
      vip.owned = vip.eligible;
      vip.owner = vip.owned ? machine_.node_name : "";
      vip.reason = vip.owned ? "this node is the only one; announced on " + list(links) : vip.obstacle;
      if (!vip.owned) vip.links.clear();
      return;
    }
    const auto holding = peers_.holdings.find(vip.address);
    if (holding == peers_.holdings.end()) {
      vip.reason = vip.obstacle.empty() ? "nothing is settled yet between this node and its peers" : vip.obstacle;
      return;
    }
    // What must not be served must not be answered for, whatever was claimed before.
    vip.owned = holding->second.owned && taken.empty();
    vip.claim_epoch = holding->second.claim_epoch;
    vip.owner = holding->second.owner;
    vip.reason = holding->second.owned && !taken.empty() ? taken : holding->second.reason;
  }

  // The links on which the VIP is announced: those that every service's advertisements allow, are up, and hold the
  // address in a subnet. Or why there is none. Adds up the VIP's preference.
  std::string choose_links(DesiredVip& vip, const Users& users, std::vector<const Link*>& links) const {
    std::vector<Advertising::Coverage> coverages;
    for (const ServicePointer& service : users.services) {
      const Advertising::Coverage coverage = advertising_.coverage(vip.pool, *service);
      if (!coverage.advertised)
        return "no L2Advertisement names pool " + vip.pool + ": nobody announces its addresses";
      if (!coverage.covered) {
        return "no L2Advertisement of pool " + vip.pool + " selects node " + machine_.node_name + " and service " +
               service->name.text();
      }
      vip.preference += coverage.preference;
      coverages.push_back(coverage);
    }
    if (machine_.links.empty()) return "xdp-lb is attached to no link: xdp-lb attach IFACE";
    std::set<std::string> subnets;
    std::set<std::string> not_named;
    std::set<std::string> down;
    for (const Link& link : machine_.links) {
      const bool inside = std::any_of(link.subnets.begin(), link.subnets.end(),
                                      [&](const Prefix& subnet) { return subnet.contains(vip.address); });
      const bool named = std::all_of(coverages.begin(), coverages.end(), [&](const auto& coverage) {
        return coverage.all_interfaces || coverage.interfaces.contains(link.l3_name);
      });
      if (!inside) {
        for (const Prefix& subnet : link.subnets) {
          if (subnet.address.family() == vip.address.family()) subnets.insert(link.l3_name + " " + subnet.text());
        }
      } else if (!named) {
        not_named.insert(link.l3_name);
      } else if (!link.up) {
        down.insert(link.l3_name);
      } else {
        links.push_back(&link);
      }
    }
    if (!links.empty()) return {};
    if (!down.empty()) return "link " + list(down) + " is down";
    if (!not_named.empty()) {
      return "the L2Advertisements of pool " + vip.pool + " name other interfaces than " + list(not_named);
    }
    const std::string family = vip.address.family() == Family::ipv4 ? "IPv4" : "IPv6";
    return vip.address.text() + " is outside every subnet of the attached links (" +
           (subnets.empty() ? "none has an " + family + " address" : list(subnets)) +
           "): nobody on them would ask for it";
  }

  void warn_about_pools() {
    for (const Pool& pool : objects_.pools) {
      if (advertising_.advertised(pool.name.name)) continue;
      desired_.warnings.push_back("IPAddressPool " + pool.name.name +
                                  ": no L2Advertisement names it: nobody announces its addresses");
    }
    for (const L2Advertisement& advertisement : objects_.advertisements) {
      for (const std::string& pool : advertisement.pools) {
        if (advertising_.known_pool(pool)) continue;
        desired_.warnings.push_back("L2Advertisement " + advertisement.name.name + ": unknown pool \"" + pool + "\"");
      }
    }
  }

  static std::string about(const Service& service, const std::string& what) {
    return "Service " + service.name.text() + ": " + what;
  }
  void warn(const Service& service, const std::string& what) { desired_.warnings.push_back(about(service, what)); }

  const Objects& objects_;
  const Assignments& held_;
  const Machine& machine_;
  const std::map<Address, std::string>& conflicts_;
  const PeerFacts& peers_;
  DecideMemory& memory_;
  const std::map<Address, std::string> own_uses_;
  Advertising advertising_;
  SlicesByService slices_;
  std::map<Address, Users> users_;
  Desired desired_;
};

}  // namespace

std::vector<Address> backend_addresses(const Objects& objects, const std::string& node_name) {
  std::set<Address> addresses;
  for (const EndpointSlice& slice : objects.slices) {
    for (const Endpoint& endpoint : slice.endpoints)
      if (endpoint.node.empty() || endpoint.node == node_name) addresses.insert(endpoint.addresses.begin(), endpoint.addresses.end());
  }
  return {addresses.begin(), addresses.end()};
}

std::map<Address, std::string> own_uses(const Machine& machine) {
  std::map<Address, std::string> uses;
  for (const Link& link : machine.links) {
    for (const std::optional<Address>& gateway : {link.gateway4, link.gateway6}) {
      if (gateway)
        uses[*gateway] = gateway->text() + " is the gateway of link " + link.l3_name + ": take it out of the pool";
    }
  }
  for (const Address& address : machine.own_addresses) {
    uses.try_emplace(address, address.text() + " is an address of this node itself: take it out of the pool");
  }
  return uses;
}

std::string why_family_is_denied(const Service& service, Family family) {
  const bool any = std::any_of(service.source_ranges.begin(), service.source_ranges.end(),
                               [&](const Prefix& range) { return range.address.family() == family; });
  if (any || service.source_ranges.empty()) return {};
  const std::string name = family == Family::ipv4 ? "IPv4" : "IPv6";
  return "loadBalancerSourceRanges has no " + name + " range: every " + name + " client is denied";
}

Desired decide(const Objects& objects, const Assignments& held, const Machine& machine,
               const std::map<ObjectName, std::string>& refusals, const std::map<Address, std::string>& conflicts,
               const PeerFacts& peers, DecideMemory* memory) {
  DecideMemory own;
  return Decider(objects, held, machine, conflicts, peers, memory != nullptr ? *memory : own).run(refusals);
}

}  // namespace xlb
