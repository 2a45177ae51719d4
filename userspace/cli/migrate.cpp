// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <csignal>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "userspace/cli/cluster_client.hpp"
#include "userspace/cli/command.hpp"
#include "userspace/cli/render.hpp"
#include "userspace/config/kubeconfig.hpp"
#include "userspace/core/migration.hpp"
#include "userspace/daemon/clock.hpp"
#include "userspace/kube/kinds.hpp"
#include "userspace/kube/migration.hpp"
#include "userspace/kube/writes.hpp"

namespace xlb {

namespace {

using namespace std::chrono_literals;

constexpr auto kControllerEnds = 60'000ms;
constexpr auto kSeen = 15'000ms;  // what was written comes back by a watch
// Those that xdp-lb reads and writes; the others are MetalLB's alone.
constexpr const char* kDefinitions[] = {"ipaddresspools", "l2advertisements", "servicel2statuses", "configurationstates"};

volatile std::sig_atomic_t interrupted = 0;

struct MigrateArguments {
  std::string kubeconfig, metallb_ns = "metallb-system", ns, patience = "30s";
  bool yes = false, undo = false;
};

// A failure is undone, an interruption is not: the next run goes on.
struct Failure {
  Error error;
  bool interrupted = false;
};
using Step = std::optional<Failure>;

Failure failure(std::string sentence) {
  return {Error{std::move(sentence)}, interrupted != 0};
}

std::string users_of(const AddressLease& lease) {
  std::string text;
  for (const AddressUser& user : lease.users) text += (text.empty() ? "" : ", ") + user.service.text();
  return text;
}

std::string nodes(std::size_t count) {
  return std::to_string(count) + (count == 1 ? " node" : " nodes");
}

// ---- reading -----------------------------------------------------------------------------------------------------

Result<std::vector<MigratingPod>> pods(ClusterClient& cluster, const std::vector<Workload>& of) {
  std::vector<MigratingPod> found;
  for (const Workload& workload : of) {
    auto items = cluster.list(pods_of(workload.name.ns, workload.selector), {"metadata.managedFields", "spec.volumes", "spec.tolerations"});
    if (!items) return items.error();
    for (const TreeNode& item : *items) found.push_back(read_migrating_pod(item));
  }
  return found;
}

Result<void> read_workloads(ClusterClient& cluster, MigrationFacts& facts, const std::string& ns) {
  const LeaveOut leave_out{"metadata.managedFields", "status"};
  auto deployments = cluster.list(deployments_of(facts.metallb_ns), leave_out);
  if (!deployments) return deployments.error();
  for (const TreeNode& item : *deployments)
    if (Workload read = read_workload(item); is_metallb(read, "controller")) facts.controllers.push_back(std::move(read));
  auto sets = cluster.list(daemonsets_of(facts.metallb_ns), leave_out);
  if (!sets) return sets.error();
  for (const TreeNode& item : *sets)
    if (Workload read = read_workload(item); is_metallb(read, "speaker")) facts.speakers.push_back(std::move(read));
  auto own = cluster.list(daemonsets_of(ns), leave_out);
  if (!own) return own.error();
  for (const TreeNode& item : *own)
    if (Workload read = read_workload(item); is_xdp_lb(read)) facts.daemons.push_back(std::move(read));
  auto speakers = pods(cluster, facts.speakers);
  if (!speakers) return speakers.error();
  facts.speaker_pods = std::move(*speakers);
  auto daemons = pods(cluster, facts.daemons);
  if (!daemons) return daemons.error();
  facts.daemon_pods = std::move(*daemons);
  return {};
}

Result<void> read_metallb(ClusterClient& cluster, MigrationFacts& facts) {
  for (const ApiKind kind : {ApiKind::pools, ApiKind::advertisements, ApiKind::l2_statuses}) {
    const ApiKindInfo& info = about(kind);
    auto items = cluster.list(collection(kind, facts.metallb_ns, {}), info.leave_out);
    if (!items) return items.error();
    for (const TreeNode& item : *items) {
      auto read = read_api_object(kind, item);
      if (!read) return read.error();
      if (!read->unreadable.empty()) facts.unreadable.push_back(read->unreadable);
      using std::shared_ptr;
      if (const auto* pool = std::get_if<shared_ptr<const ReadPool>>(&read->value)) facts.metallb.pools.push_back((*pool)->pool);
      if (const auto* one = std::get_if<shared_ptr<const L2Advertisement>>(&read->value)) facts.metallb.advertisements.push_back(**one);
      if (const auto* status = std::get_if<shared_ptr<const ApiL2Status>>(&read->value)) {
        if (!facts.announced) facts.announced.emplace();
        (*facts.announced)[(*status)->service] = (*status)->node;
      }
    }
  }
  for (const auto& [version, resource, name] : {std::tuple{"v1beta2", "bgppeers", "BGPPeer"}, std::tuple{"v1beta1", "bgpadvertisements", "BGPAdvertisement"}}) {
    auto items = cluster.list(metallb_objects(version, facts.metallb_ns, resource), {"spec", "status"});
    if (!items) return items.error();
    for (const TreeNode& item : *items) facts.bgp.push_back(name + (" " + facts.metallb_ns + "/") + text_at(item, {"metadata", "name"}));
  }
  for (const char* resource : kDefinitions) {
    auto items = cluster.list(definition_named(std::string(resource) + ".metallb.io"), {"spec", "status"});
    if (!items) return items.error();
    for (const TreeNode& item : *items) facts.definitions.push_back(read_definition(item));
  }
  return {};
}

// Which namespace is ours is only known when the DaemonSet is found.
Result<std::string> own_namespace(const ApiCredentials& credentials, const MigrateArguments& arguments) {
  if (!arguments.ns.empty()) return arguments.ns;
  auto cluster = ClusterClient::connect(credentials, arguments.metallb_ns, [] { return interrupted != 0; });
  if (!cluster) return cluster.error();
  auto sets = cluster->list(daemonsets_of({}), {"metadata.managedFields", "status"});
  if (!sets) return sets.error();
  if (sets->empty()) return arguments.metallb_ns;
  const std::string ns = text_at(sets->front(), {"metadata", "namespace"});
  for (const TreeNode& other : *sets)
    if (text_at(other, {"metadata", "namespace"}) != ns)
      return Error{"xdp-lb is installed in " + ns + " and in " + text_at(other, {"metadata", "namespace"}) + ": say which with --namespace"};
  return ns;
}

Result<MigrationFacts> gather(ClusterClient& cluster, const std::string& metallb_ns, const std::string& ns) {
  MigrationFacts facts;
  facts.metallb_ns = metallb_ns;
  facts.own_ns = ns;
  if (auto read = read_workloads(cluster, facts, ns); !read) return read.error();
  if (auto read = read_metallb(cluster, facts); !read) return read.error();
  auto state = cluster.state();
  if (!state) return state.error();
  facts.state = **state;
  return facts;
}

// ---- showing -----------------------------------------------------------------------------------------------------

void show(const MigrationFacts& facts, const MigrationPlan& plan) {
  if (plan.controller && facts.speakers.size() == 1)
    std::cout << "MetalLB in " << facts.metallb_ns << ": controller " << plan.controller->name.name << ", speaker on "
              << nodes(facts.speaker_pods.size()) << "\n";
  if (facts.daemons.size() == 1)
    std::cout << "xdp-lb in " << facts.own_ns << ": " << facts.daemons.front().name.name << " on " << nodes(facts.daemon_pods.size()) << "\n";
  for (const std::string& note : plan.notes) std::cout << "Note: " << note << "\n";
}

void show_steps(const MigrationFacts& facts, const MigrationPlan& plan) {
  std::cout << "\nIn this order:\n";
  int number = 0;
  const auto step = [&] { return "  " + std::to_string(++number) + ". "; };
  for (const Definition& definition : plan.adopt)
    std::cout << step() << "keep the definition " << definition.name << " when helm uninstalls " << definition.release << "\n";
  for (const ObjectName& pool : plan.copy_pools) std::cout << step() << "copy IPAddressPool " << pool.text() << " into " << facts.own_ns << "\n";
  for (const ObjectName& one : plan.copy_advertisements)
    std::cout << step() << "copy L2Advertisement " << one.text() << " into " << facts.own_ns << "\n";
  if (plan.stopped)
    std::cout << step() << "Deployment " << plan.controller->name.text() << " is scaled to 0 already\n";
  else
    std::cout << step() << "scale Deployment " << plan.controller->name.text() << " from " << plan.controller->replicas
              << " to 0: no address changes from then on\n";
  std::cout << step() << "take over, one after the other, each announced by a node of xdp-lb before the next:\n";
  Table table({{"VIP"}, {"SERVICES"}, {"POOL"}, {"METALLB'S NODE"}, {"XDP-LB'S NODE"}});
  for (const VipTakeover& vip : plan.vips)
    table.row({vip.lease.address.text(), users_of(vip.lease), vip.pool, vip.from, vip.taken_by});
  if (plan.vips.empty()) std::cout << "     no Service has an address\n";
  table.print(std::cout, false, colour_wanted());
}

void show_next(const MigrationPlan& plan) {
  std::cout << "\nThen, one after the other:\n";
  for (const std::string& command : plan.next) std::cout << "  " << command << "\n";
}

Json names(const std::vector<ObjectName>& objects) {
  Json list = Json::array();
  for (const ObjectName& name : objects) list.push_back(name.text());
  return list;
}

// The same for programs.
Json plan_document(const MigrationFacts& facts, const MigrationPlan& plan) {
  Json definitions = Json::array(), vips = Json::array(), controller;
  for (const Definition& definition : plan.adopt) definitions.push_back({{"name", definition.name}, {"release", definition.release}});
  if (plan.controller)
    controller = {{"name", plan.controller->name.text()}, {"replicas", plan.controller->replicas}, {"stopped", plan.stopped}};
  for (const VipTakeover& vip : plan.vips) {
    Json services = Json::array();
    for (const AddressUser& user : vip.lease.users) services.push_back(user.service.text());
    vips.push_back({{"vip", vip.lease.address.text()},
                    {"services", services},
                    {"pool", vip.pool},
                    {"from", vip.from},
                    {"to", vip.taken_by},
                    {"taken_over", vip.claimed}});
  }
  return {{"metallb_namespace", facts.metallb_ns},
          {"namespace", facts.own_ns},
          {"refusals", plan.refusals},
          {"notes", plan.notes},
          {"keep_definitions", definitions},
          {"copy_pools", names(plan.copy_pools)},
          {"copy_advertisements", names(plan.copy_advertisements)},
          {"controller", controller},
          {"vips", vips},
          {"next", plan.next}};
}

// ---- doing -------------------------------------------------------------------------------------------------------

class Migration {
 public:
  Migration(ClusterClient& cluster, MigrationFacts facts, std::chrono::milliseconds patience)
      : cluster_(cluster), facts_(std::move(facts)), writer_{facts_.own_ns, "xdp-lb migrate", {}, {}}, patience_(patience) {}

  Step carry_out(const MigrationPlan& plan) {
    if (auto failed = prepare(plan)) return failed;
    if (!plan.stopped)
      if (auto failed = stop(*plan.controller)) return failed;
    // What the controller did at the end is in force now.
    auto facts = gather(cluster_, facts_.metallb_ns, facts_.own_ns);
    if (!facts) return failure(facts.error().text);
    facts_ = std::move(*facts);
    const MigrationPlan now = plan_migration(facts_);
    if (!now.refusals.empty()) return failure(now.refusals.front());
    for (const VipTakeover& vip : now.vips)
      if (auto failed = take(vip)) return failed;
    return std::nullopt;
  }

  // Of this run and of earlier ones.
  Result<void> undo() {
    auto facts = gather(cluster_, facts_.metallb_ns, facts_.own_ns);
    if (!facts) return facts.error();
    const UndoPlan plan = plan_undo(*facts);
    if (!plan.refusals.empty()) return Error{plan.refusals.front()};
    if (plan.leases.empty() && !plan.controller) {
      std::cout << "Nothing is to be undone.\n";
      return {};
    }
    for (const auto& [name, identity] : plan.leases) {
      ApiIdentity whichever{identity.uid, {}, false};  // nodes write into it at any moment
      const ApiAnswer answer = cluster_.ask(remove_lease(writer_, name, whichever));
      if (!answer.good() && !answer.gone()) return Error{answer.error + ": run it again with --undo"};
      std::cout << "given back: " << name.substr(4) << "\n";
    }
    if (plan.controller) {
      const ApiAnswer answer = cluster_.ask(start_controller(*plan.controller, plan.replicas));
      if (!answer.good()) return Error{answer.error + ": run it again with --undo"};
      std::cout << "Deployment " << plan.controller->name.text() << " is scaled to " << plan.replicas << " again\n";
    }
    std::cout << "MetalLB serves as before; connections that were opened meanwhile may break. Definitions stay kept, copied pools stay.\n";
    return {};
  }

 private:
  Step prepare(const MigrationPlan& plan) {
    const auto& labels = facts_.daemons.front().labels;
    const auto release = labels.find("app.kubernetes.io/instance");
    for (const Definition& definition : plan.adopt) {
      const ApiAnswer answer = cluster_.ask(
          keep_definition(definition.name, release == labels.end() ? facts_.daemons.front().name.name : release->second, facts_.own_ns));
      if (!answer.good()) return failure(answer.error);
      std::cout << "kept: " << definition.name << "\n";
    }
    // As long as the controller is there, which is asked about them.
    for (const ObjectName& pool : plan.copy_pools)
      if (auto failed = copy(pool, "ipaddresspools")) return failed;
    for (const ObjectName& one : plan.copy_advertisements)
      if (auto failed = copy(one, "l2advertisements")) return failed;
    const bool seen = cluster_.until([&](const ApiState& state) {
      return all_there(plan.copy_pools, state.objects.pools) && all_there(plan.copy_advertisements, state.objects.advertisements);
    }, kSeen);
    return seen ? Step() : failure("the copies of the pools are not seen");
  }

  template <typename Object>
  static bool all_there(const std::vector<ObjectName>& copied, const std::vector<Object>& objects) {
    return std::all_of(copied.begin(), copied.end(), [&](const ObjectName& name) {
      return std::any_of(objects.begin(), objects.end(), [&](const Object& object) { return object.name.name == name.name; });
    });
  }

  Step copy(const ObjectName& name, const std::string& resource) {
    const ApiAnswer there = cluster_.ask(read_metallb_object(name, resource));
    if (!there.good()) return failure(there.error);
    const ApiAnswer answer = cluster_.ask(copy_metallb_object(there.body, resource, facts_.own_ns));
    if (!answer.good() && !answer.conflict()) return failure(answer.error);
    std::cout << "copied: " << resource << " " << name.text() << "\n";
    return std::nullopt;
  }

  Step stop(const Workload& controller) {
    const ApiAnswer answer = cluster_.ask(stop_controller(controller));
    if (!answer.good()) return failure(answer.error);
    const auto end = std::chrono::steady_clock::now() + kControllerEnds;
    for (;;) {
      auto left = pods(cluster_, {controller});
      if (!left) return failure(left.error().text);
      if (left->empty()) break;
      if (interrupted != 0) return failure("interrupted");
      if (std::chrono::steady_clock::now() > end) return failure("Pod " + left->front().name + " of MetalLB's controller does not end within 60 s");
      (void)cluster_.until([](const ApiState&) { return false; }, 250ms);
    }
    std::cout << "stopped: Deployment " << controller.name.text() << "\n";
    return std::nullopt;
  }

  [[nodiscard]] std::string taken_by(const ApiState& state, const std::string& lease) const {
    const auto found = state.leases->find(lease);
    if (found == state.leases->end()) return {};
    const auto by = found->second.annotations.find(kAnnouncedByAnnotation);
    return by == found->second.annotations.end() ? std::string() : by->second;
  }

  // Without its effect nobody goes on to the next.
  Step take(const VipTakeover& vip) {
    const std::string name = address_lease_name(vip.lease.address);
    const std::string what = vip.lease.address.text() + " of " + users_of(vip.lease);
    if (interrupted != 0) return failure("interrupted before " + what);
    if (!vip.claimed) {
      ApiLease lease = address_lease_object(vip.lease);
      if (!vip.from.empty()) lease.annotations[kTakenOverByAnnotation] = vip.from;
      const ApiAnswer answer = cluster_.ask(write_lease(writer_, name, lease, wall_us()));
      if (!answer.good()) return failure(what + ": " + answer.error);
    }
    const auto taken = [&](const ApiState& state) { return !taken_by(state, name).empty(); };
    if (vip.announced && !vip.from.empty() && !cluster_.until(taken, patience_ / 2)) {
      if (interrupted != 0) return failure("interrupted at " + what);
      // Connections through that node break then, but the address is served.
      const auto state = cluster_.state();
      const auto lease = state ? (*state)->leases->find(name) : std::map<std::string, ApiLease>::const_iterator();
      if (!state || lease == (*state)->leases->end()) return failure(what + ": its Lease " + name + " is gone");
      (void)cluster_.ask(annotate_lease(writer_, name, lease->second.identity, {{kTakenOverByAnnotation, ""}}));
    }
    if (vip.announced && !cluster_.until(taken, patience_)) {
      if (interrupted != 0) return failure("interrupted at " + what);
      return failure(what + ": no node has taken it; `xdp-lb why " + vip.lease.address.text() + "` on the nodes says why");
    }
    const auto state = cluster_.state();
    if (!state) return failure(state.error().text);
    for (const AddressUser& user : vip.lease.users) {
      const auto service = (*state)->services->find(user.service);
      if (service == (*state)->services->end()) continue;  // deleted meanwhile: its Lease goes when xdp-lb leaves standby
      const auto& shown = service->second.ingress;
      if (std::find(shown.begin(), shown.end(), vip.lease.address) == shown.end())
        return failure(what + ": somebody has taken it out of the status of " + user.service.text());
    }
    const std::string by = taken_by(**state, name);
    std::cout << "taken over: " << vip.lease.address.text() << "  " << users_of(vip.lease)
              << (by.empty() ? "  (announced by nobody, as before)"
                  : by == vip.from || vip.from.empty()
                      ? "  on " + by
                      : "  on " + by + ", before on " + vip.from + ": connections that were open may break")
              << std::endl;  // each as it happens
    return std::nullopt;
  }

  ClusterClient& cluster_;
  MigrationFacts facts_;
  ApiWriter writer_;
  std::chrono::milliseconds patience_;
};

int migrate(const MigrateArguments& arguments, const Context& context) {
  const std::string doing = "migrate";
  if (context.document() && (arguments.yes || arguments.undo))
    return usage(Error{doing + ": -o json and yaml print the plan; " + (arguments.undo ? "--undo" : "--yes") +
                       " says what it does as it does it: leave -o out"});
  auto patience = parse_duration(arguments.patience);
  if (!patience) return usage(patience.error().in(doing + ": --patience"));
  if (arguments.kubeconfig.empty())
    return usage(Error{doing + ": which cluster? --kubeconfig FILE, or KUBECONFIG (k3s: /etc/rancher/k3s/k3s.yaml)"});
  auto credentials = read_kubeconfig(arguments.kubeconfig);
  if (!credentials) return fail(credentials.error().in(doing));
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  for (const int signal : {SIGINT, SIGTERM}) sigaction(signal, &action, nullptr);

  auto ns = own_namespace(*credentials, arguments);
  if (!ns) return fail(ns.error().in(doing));
  auto cluster = ClusterClient::connect(*credentials, *ns, [] { return interrupted != 0; });
  if (!cluster) return fail(cluster.error().in(doing));
  auto facts = gather(*cluster, arguments.metallb_ns, *ns);
  if (!facts) return fail(facts.error().in(doing));
  if (arguments.undo) {
    Migration migration(*cluster, std::move(*facts), *patience);
    if (auto undone = migration.undo(); !undone) return fail(undone.error().in(doing + " --undo"));
    return kDone;
  }
  const MigrationPlan plan = plan_migration(*facts);
  if (context.document()) {
    print_document(std::cout, plan_document(*facts, plan), context.output);
    return plan.refusals.empty() ? kDone : kFailed;
  }
  show(*facts, plan);
  if (!plan.refusals.empty()) {
    for (const std::string& refusal : plan.refusals) std::cerr << "xdp-lb: migrate: " << refusal << "\n";
    std::cerr << "Nothing was changed.\n";
    return kFailed;
  }
  show_steps(*facts, plan);
  if (!arguments.yes) {
    show_next(plan);
    std::cout << "\nNothing was changed. Do it: the same with --yes\n";
    return kDone;
  }
  std::cout << "\n" << std::flush;
  Migration migration(*cluster, std::move(*facts), *patience);
  const Step failed = migration.carry_out(plan);
  if (!failed) {
    show_next(plan);
    return kDone;
  }
  if (failed->interrupted) {
    std::cerr << "xdp-lb: migrate: " << failed->error.text << ": what was taken over stays so. Go on: the same command; take it back: --undo\n";
    return kFailed;
  }
  std::cerr << "xdp-lb: migrate: " << failed->error.text << "\nUndoing it:\n";
  if (auto undone = migration.undo(); !undone) return fail(undone.error().in(doing + ", undoing"));
  return kFailed;
}

}  // namespace

void add_migrate(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("migrate", "Takes the VIPs of a running MetalLB over, one by one; without --yes it only says how");
  auto arguments = std::make_shared<MigrateArguments>();
  command->add_option("--kubeconfig", arguments->kubeconfig, "Of somebody who may change MetalLB's Deployment and definitions")
      ->envname("KUBECONFIG")
      ->type_name("FILE");
  command->add_option("--metallb-namespace", arguments->metallb_ns, "Where MetalLB is (metallb-system)");
  command->add_option("--namespace", arguments->ns, "Where xdp-lb is (default: where its DaemonSet is found)");
  command->add_option("--patience", arguments->patience, "A VIP that no node has taken within that time is a failure (30s)");
  auto* yes = command->add_flag("--yes", arguments->yes, "Do it; what fails is undone");
  command->add_flag("--undo", arguments->undo, "Give everything back to MetalLB")->excludes(yes);
  add_output(*command, context);
  command->callback([&context, arguments] { context.action = [&context, arguments] { return migrate(*arguments, context); }; });
}

}  // namespace xlb
