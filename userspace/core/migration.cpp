// SPDX-License-Identifier: Apache-2.0
#include "userspace/core/migration.hpp"

#include <algorithm>
#include <utility>

#include "userspace/core/allocator.hpp"
#include "userspace/core/declared_peers.hpp"
#include "userspace/core/pool.hpp"
#include "userspace/core/sources.hpp"
#include "userspace/core/text.hpp"

namespace xlb {
namespace {

// The value of "--option=value" or of "--option", "value".
std::string option(const std::vector<std::string>& arguments, const std::string& name) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i].starts_with(name + "=")) return arguments[i].substr(name.size() + 1);
    if (arguments[i] == name && i + 1 < arguments.size()) return arguments[i + 1];
  }
  return {};
}

bool standby(const std::vector<std::string>& arguments) {
  return std::find(arguments.begin(), arguments.end(), "--standby") != arguments.end();
}

std::string at(const std::map<std::string, std::string>& map, const std::string& key) {
  const auto found = map.find(key);
  return found == map.end() ? std::string() : found->second;
}

std::string listed(const std::set<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

// The number that an earlier run has noted; absent: none has.
std::optional<std::uint32_t> noted_replicas(const Workload& controller) {
  const std::string text = at(controller.annotations, kReplicasAnnotation);
  if (text.empty() || text.size() > 4 || text.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  return static_cast<std::uint32_t>(std::stoul(text));
}

class Planner {
 public:
  explicit Planner(const MigrationFacts& facts) : facts_(facts) {}

  MigrationPlan run() {
    find_metallb();
    find_daemons();
    refuse_other_modes();
    take_pools_over();
    choose_vips();
    adopt_definitions();
    say_next();
    return std::move(plan_);
  }

 private:
  void refuse(std::string sentence) { plan_.refusals.push_back(std::move(sentence)); }

  void find_metallb() {
    const std::string where = " in namespace " + facts_.metallb_ns + ": name MetalLB's with --metallb-namespace";
    if (facts_.controllers.size() != 1) {
      refuse((facts_.controllers.empty() ? "there is no" : "there is more than one") + std::string(" Deployment of MetalLB's controller") + where);
    } else {
      const Workload& controller = facts_.controllers.front();
      const auto noted = noted_replicas(controller);
      plan_.controller = controller;
      plan_.stopped = controller.replicas == 0 && noted;
      plan_.replicas = noted ? *noted : controller.replicas;
      if (controller.replicas == 0 && !noted)
        refuse("MetalLB's controller, Deployment " + controller.name.text() +
               ", is scaled to 0 already, and not by this command: scale it to 1, so that every Service has its address");
    }
    if (facts_.speakers.size() != 1)
      refuse((facts_.speakers.empty() ? "there is no" : "there is more than one") + std::string(" DaemonSet of MetalLB's speaker") + where);
  }

  void find_daemons() {
    if (facts_.daemons.size() != 1) {
      refuse(facts_.daemons.empty()
                 ? "there is no DaemonSet of xdp-lb in namespace " + facts_.own_ns + ": install the chart beside MetalLB, with --set standby=true"
                 : "there is more than one DaemonSet of xdp-lb in namespace " + facts_.own_ns);
      return;
    }
    const Workload& daemon = facts_.daemons.front();
    if (!standby(daemon.arguments)) {
      refuse("xdp-lb, DaemonSet " + daemon.name.text() + ", is not in standby: both would give addresses out: helm upgrade it with --set standby=true");
      return;
    }
    std::set<std::string> ready, late;
    for (const MigratingPod& pod : facts_.daemon_pods) {
      if (pod.ready && standby(pod.arguments))
        ready.insert(pod.node);
      else
        late.insert(pod.node.empty() ? "pod " + pod.name + " (on no node)" : pod.node);
    }
    if (!late.empty()) refuse("xdp-lb is not ready in standby on " + listed(late) + ": wait, or look at its Pods there");
    std::set<std::string> without;
    for (const MigratingPod& pod : facts_.speaker_pods)
      if (!pod.node.empty() && !ready.contains(pod.node) && !late.contains(pod.node)) without.insert(pod.node);
    if (!without.empty())
      refuse("MetalLB's speaker runs on " + listed(without) + ", and xdp-lb does not: nobody would keep it silent there");
    const std::string theirs = facts_.controllers.empty() ? "" : option(facts_.controllers.front().arguments, "--lb-class");
    class_ = option(daemon.arguments, "--load-balancer-class");
    if (theirs != class_)
      refuse("MetalLB serves Services of loadBalancerClass " + in_quotes(theirs) + ", xdp-lb those of " + in_quotes(class_) +
             ": give xdp-lb's chart the same loadBalancerClass");
  }

  void refuse_other_modes() {
    for (const std::string& object : facts_.bgp)
      refuse(object + ": MetalLB speaks BGP, and xdp-lb announces by ARP and neighbour discovery alone: delete it if it is of no use any more");
    for (const std::string& sentence : facts_.unreadable) refuse(sentence);
  }

  // Pools are read from our own namespace only.
  void take_pools_over() {
    objects_ = facts_.state.objects;
    if (facts_.metallb_ns == facts_.own_ns) return;
    plan_.copy_pools = take_over("IPAddressPool", facts_.metallb.pools, objects_.pools);
    plan_.copy_advertisements = take_over("L2Advertisement", facts_.metallb.advertisements, objects_.advertisements);
  }

  // Adds what is not there yet to `ours`; the names of those that are to be copied, in MetalLB's namespace.
  template <typename Object>
  std::vector<ObjectName> take_over(const std::string& kind, const std::vector<Object>& theirs, std::vector<Object>& ours) {
    std::vector<ObjectName> missing;
    std::map<std::string, Object> own;
    for (const Object& object : ours) own.emplace(object.name.name, object);
    for (const Object& object : theirs) {
      Object copy = object;
      copy.name.ns = facts_.own_ns;
      const auto there = own.find(object.name.name);
      if (there == own.end()) {
        missing.push_back(object.name);
        ours.push_back(std::move(copy));
      } else if (!(copy == there->second)) {
        refuse(kind + " " + there->second.name.text() + " is another one than MetalLB's " + object.name.text() +
               ": make them equal, or rename it");
      }
    }
    return missing;
  }

  [[nodiscard]] bool in_a_pool(const Address& address) const {
    return std::any_of(objects_.pools.begin(), objects_.pools.end(), [&](const Pool& pool) { return holds(pool, address); });
  }

  // Who is to have which address is what allocate() says of what the statuses show: the same question that the allocator will ask.
  void choose_vips() {
    if (auto valid = validate(objects_); !valid) return refuse(valid.error().text);
    Objects ours = objects_;
    ServiceClass(class_).keep(ours);
    Assignments held;
    std::map<ObjectName, const ApiService*> shown;
    ours.services.remove_if([&](const Service& service) {
      const auto api = facts_.state.services->find(service.name);
      if (service.type != "LoadBalancer" || !service.load_balancer_class.empty() || api == facts_.state.services->end()) return true;
      if (!api->second.contradiction.empty()) {
        refuse("Service " + service.name.text() + ": " + api->second.contradiction);
        return true;
      }
      if (api->second.identity.deleting) return true;
      if (api->second.ingress.empty()) {
        plan_.notes.push_back("Service " + service.name.text() + " has no address: it gets one when xdp-lb leaves standby");
        return true;
      }
      if (api->second.allocated_from.empty() &&
          std::none_of(api->second.ingress.begin(), api->second.ingress.end(), [&](const Address& a) { return in_a_pool(a); })) {
        refuse("Service " + service.name.text() + " shows " + api->second.ingress.front().text() +
               ", which is of no IPAddressPool: another load balancer runs here (k3s: start the servers with --disable servicelb)");
        return true;
      }
      held[service.name] = {api->second.ingress, api->second.allocated_from};
      shown[service.name] = &api->second;
      return false;
    });
    const Allocation allocation = allocate(ours, held, node_uses(objects_));
    std::map<Address, VipTakeover> vips;
    for (const auto& [name, api] : shown) {
      const auto kept = allocation.held.find(name);
      if (kept == allocation.held.end() || kept->second.addresses != api->ingress) {
        const auto why = allocation.refusals.find(name);
        refuse("Service " + name.text() + " would lose " + api->ingress.front().text() + ": " +
               (why != allocation.refusals.end() ? why->second : std::string("it is in no IPAddressPool that gives it to this Service")));
        continue;
      }
      for (const Address& address : api->ingress) {
        VipTakeover& vip = vips[address];
        vip.lease.address = address;
        vip.lease.taken_over = true;
        vip.lease.users.push_back({api->identity.uid, name});
        vip.pool = kept->second.pool;
        if (!facts_.announced) continue;
        const auto from = facts_.announced->find(name);
        if (from != facts_.announced->end()) vip.from = from->second;
        vip.announced = !vip.from.empty();
      }
    }
    for (auto& [address, vip] : vips) {
      look_for_lease(vip);
      if (!vip.announced)
        plan_.notes.push_back(address.text() + " is announced by nobody now (no advertisement, or no endpoint): it is claimed, and nobody is waited for");
      plan_.vips.push_back(std::move(vip));
    }
  }

  void look_for_lease(VipTakeover& vip) {
    const std::string name = address_lease_name(vip.lease.address);
    const auto there = facts_.state.leases->find(name);
    if (there == facts_.state.leases->end()) return;
    auto read = read_address_lease(name, there->second);
    if (!read) return refuse(read.error().text);
    const auto same = [](std::vector<AddressUser> a, std::vector<AddressUser> b) {
      std::sort(a.begin(), a.end());
      std::sort(b.begin(), b.end());
      return a == b;
    };
    if (!read->taken_over || !same(read->users, vip.lease.users))
      return refuse("Lease " + facts_.own_ns + "/" + name + " gives " + vip.lease.address.text() + " to " + read->users.front().service.text() +
                    " and is not of this migration: delete it, if nobody is served by it");
    vip.claimed = true;
    vip.taken_by = at(there->second.annotations, kAnnouncedByAnnotation);
  }

  // helm deletes what a chart brought, definitions included, and with a definition every object of its kind.
  void adopt_definitions() {
    for (const Definition& definition : facts_.definitions)
      if (!definition.release.empty() && !definition.kept) plan_.adopt.push_back(definition);
  }

  void say_next() {
    if (!plan_.refusals.empty() || facts_.daemons.empty() || !plan_.controller) return;
    const Workload& daemon = facts_.daemons.front();
    plan_.next.push_back("helm upgrade " + at(daemon.labels, "app.kubernetes.io/instance") + " charts/xdp-lb -n " + facts_.own_ns +
                         " --reuse-values --set standby=false");
    plan_.next.push_back("kubectl -n " + facts_.own_ns + " rollout status daemonset/" + daemon.name.name);
    const Workload& controller = *plan_.controller;
    const std::string release = at(controller.annotations, "meta.helm.sh/release-name");
    if (!release.empty()) {
      const std::string chart = at(controller.labels, "helm.sh/chart");
      const std::size_t dash = chart.rfind('-');
      const bool brings = std::any_of(facts_.definitions.begin(), facts_.definitions.end(),
                                      [](const Definition& definition) { return !definition.release.empty(); });
      if (brings)
        plan_.next.push_back("helm upgrade " + release + " metallb/metallb -n " + facts_.metallb_ns +
                             (dash == std::string::npos ? "" : " --version " + chart.substr(dash + 1)) +
                             " --reuse-values --set crds.enabled=false");
      plan_.next.push_back("helm uninstall " + release + " -n " + facts_.metallb_ns);
      return;
    }
    // Not by its manifest, which names the definitions and the namespace too.
    plan_.next.push_back("kubectl -n " + facts_.metallb_ns + " delete deployment/" + controller.name.name +
                         (facts_.speakers.empty() ? "" : " daemonset/" + facts_.speakers.front().name.name) +
                         " service/metallb-webhook-service --ignore-not-found");
    plan_.next.push_back("kubectl delete validatingwebhookconfiguration/metallb-webhook-configuration --ignore-not-found");
  }

  const MigrationFacts& facts_;
  MigrationPlan plan_;
  Objects objects_;    // as they are when pools are copied
  std::string class_;  // loadBalancerClass
};

}  // namespace

MigrationPlan plan_migration(const MigrationFacts& facts) {
  return Planner(facts).run();
}

UndoPlan plan_undo(const MigrationFacts& facts) {
  UndoPlan plan;
  for (const auto& [name, lease] : *facts.state.leases)
    if (address_of_lease_name(name) && lease.annotations.contains(kTakenOverAnnotation)) plan.leases[name] = lease.identity;
  for (const Workload& controller : facts.controllers) {
    const auto noted = noted_replicas(controller);
    if (!noted) continue;
    plan.controller = controller;
    plan.replicas = *noted;
  }
  const bool running = facts.daemons.size() == 1 && !standby(facts.daemons.front().arguments);
  if (running && !plan.leases.empty())
    plan.refusals.push_back("xdp-lb, DaemonSet " + facts.daemons.front().name.text() +
                            ", has left standby and would claim the addresses anew: helm upgrade it with --set standby=true first");
  if (facts.controllers.empty() && !plan.leases.empty())
    plan.refusals.push_back("there is no Deployment of MetalLB's controller in namespace " + facts.metallb_ns + ": nobody would serve what is given back");
  return plan;
}

}  // namespace xlb
