// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "userspace/cli/command.hpp"
#include "userspace/config/kubeconfig.hpp"
#include "userspace/daemon/daemon.hpp"
#include "userspace/daemon/memory.hpp"

namespace xlb {

namespace {

struct RunArguments {
  bool fast = false;
  std::string echo_interval, fail_back_delay, lease;
  unsigned misses = ClusterSettings{}.misses;
  std::string attach;
  AttachMode mode = AttachMode::automatic;
  std::string table_sizes;
  bool in_cluster = false;
  bool standby = false;
  std::string kubeconfig, ns, load_balancer_class, pod_name, pod_uid;
};

Result<ClusterSettings> cluster_settings(const RunArguments& arguments) {
  ClusterSettings settings = arguments.fast ? ClusterSettings::fast() : ClusterSettings{};
  settings.misses = arguments.misses;
  const std::tuple<const char*, const std::string&, std::chrono::nanoseconds&> times[] = {
      {"--echo-interval", arguments.echo_interval, settings.echo_interval},
      {"--fail-back-delay", arguments.fail_back_delay, settings.fail_back_delay},
      {"--lease", arguments.lease, settings.lease}};
  for (const auto& [option, text, time] : times) {
    if (text.empty()) continue;
    auto parsed = parse_duration(text);
    if (!parsed) return parsed.error().in(option);
    time = *parsed;
  }
  const std::vector<std::string> wrong = validate(settings);
  if (wrong.empty()) return settings;
  std::string all;
  for (const std::string& sentence : wrong) all += (all.empty() ? "" : "; ") + sentence;
  return Error{all};
}

// Absent: no API server was asked for.
Result<std::optional<KubernetesSettings>> kubernetes_settings(const Context& context, const RunArguments& arguments) {
  if (!arguments.in_cluster && arguments.kubeconfig.empty()) {
    if (!arguments.load_balancer_class.empty())
      return Error{"--load-balancer-class is about Services of an API server: say --in-cluster or --kubeconfig FILE too"};
    if (arguments.standby) return Error{"--standby is about Services of an API server: say --in-cluster or --kubeconfig FILE too"};
    return std::optional<KubernetesSettings>();
  }
  auto credentials = arguments.in_cluster ? in_cluster_credentials() : read_kubeconfig(arguments.kubeconfig);
  if (!credentials) return credentials.error();
  KubernetesSettings settings;
  settings.server.ns = !arguments.ns.empty() ? arguments.ns : credentials->ns.empty() || credentials->ns == "default" ? "metallb-system" : credentials->ns;
  settings.server.node = context.settings.node;
  if (!arguments.in_cluster) settings.server.again = [file = arguments.kubeconfig] { return read_kubeconfig(file); };
  settings.credentials = std::move(*credentials);
  settings.writer = {settings.server.ns, context.settings.node, arguments.pod_name, arguments.pod_uid};
  settings.load_balancer_class = arguments.load_balancer_class;
  settings.standby = arguments.standby;
  return std::optional(std::move(settings));
}

int run(const Context& context, const RunArguments& arguments) {
  auto times = cluster_settings(arguments);
  if (!times) return usage(times.error().in("run"));
  auto sizes = table_sizes_argument(arguments.table_sizes);
  if (!sizes) return usage(sizes.error().in("run"));
  if (!sizes->empty() && arguments.attach.empty())
    return usage(Error{"run: --table-sizes is about the tables that --attach makes: say --attach IFACE too"});
  if (auto allowed = require_capabilities("run"); !allowed) return fail(allowed.error());
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  auto kubernetes = kubernetes_settings(context, arguments);
  if (!kubernetes) return usage(kubernetes.error().in("run"));
  const Log log(context.log_level, context.log_format);
  if (!arguments.attach.empty()) {
    auto interface = named_interface(context, "run", arguments.attach);
    if (!interface) return fail(interface.error().in("run --attach " + arguments.attach));
    // The daemon's first pass knows better than the disk what the API server declares.
    PassOptions options;
    options.pass_follows = true;
    auto outcome = change(context, "run --attach " + *interface, AttachWish{*interface, arguments.mode, std::nullopt, *sizes}, options);
    if (!outcome) return fail(outcome.error());
    if (outcome->link)
      log.say(Severity::info, "attached",
              {{"interface", outcome->link->interface}, {"mode", attach_mode_text(outcome->link->mode)}, {"reason", outcome->link->reason}});
  }
  auto edges = open_edges(context.settings);
  if (!edges) return fail(edges.error().in("run"));
  auto locked = lock_memory();
  if (!locked) return fail(locked.error().in("run"));
  log.say(Severity::debug, *locked ? "memory locked" : "memory not locked");
  auto daemon = Daemon::start(context.settings, *times, std::move(*kubernetes), std::move(*edges), log);
  if (!daemon) return fail(daemon.error().in("run"));
  if (auto ended = (*daemon)->run(); !ended) return fail(ended.error().in("run"));
  return kDone;
}

}  // namespace

void add_run(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("run", "The daemon: follows manifests and the machine, announces VIPs, serves the control socket");
  auto arguments = std::make_shared<RunArguments>();
  add_choice(*command, context, "--profile", "How soon a dead peer is noticed: default (30 ms x 3) or fast (10 ms x 3)",
             {{"default", 0}, {"fast", 1}}, [arguments](int fast) { arguments->fast = fast != 0; })
      ->envname("XDP_LB_PROFILE");
  command->add_option("--echo-interval", arguments->echo_interval, "An echo to each peer every so often (30ms)")
      ->envname("XDP_LB_ECHO_INTERVAL");
  command->add_option("--echo-misses", arguments->misses, "A peer is lost after so many intervals without an echo (3)")
      ->envname("XDP_LB_ECHO_MISSES");
  command->add_option("--fail-back-delay", arguments->fail_back_delay,
                      "A better placed node gets a VIP back when it has been up for so long (30s)")
      ->envname("XDP_LB_FAIL_BACK_DELAY");
  command->add_option("--lease", arguments->lease, "The programs answer for so long without the daemon (5s)")
      ->envname("XDP_LB_LEASE");
  command->add_option("--attach", arguments->attach, "First attach to this interface (auto: the one with the default route), if it is not attached yet")
      ->envname("XDP_LB_ATTACH")
      ->type_name("IFACE|auto");
  add_mode(*command, context, [arguments](AttachMode mode) { arguments->mode = mode; });
  add_table_sizes(*command, arguments->table_sizes);
  auto* in_cluster = command->add_flag("--in-cluster", arguments->in_cluster,
                                       "Follow the API server of the cluster that this runs in, by the Pod's service account");
  command->add_option("--kubeconfig", arguments->kubeconfig, "Follow the API server that this kubeconfig is for (k3s: /etc/rancher/k3s/k3s.yaml)")
      ->excludes(in_cluster)
      ->envname("XDP_LB_KUBECONFIG")
      ->type_name("FILE");
  command->add_option("--namespace", arguments->ns,
                      "Where pools, advertisements and Leases are (default: the credentials' namespace, or metallb-system)")
      ->envname("POD_NAMESPACE");
  command->add_option("--load-balancer-class", arguments->load_balancer_class, "Only Services of this class (default: those without one)")
      ->envname("XDP_LB_LOAD_BALANCER_CLASS");
  command->add_flag("--standby", arguments->standby,
                    "Beside a MetalLB that is to be replaced: give nothing out, serve only what `xdp-lb migrate` has taken over")
      ->envname("XDP_LB_STANDBY");
  command->add_option("--pod-name", arguments->pod_name, "The Pod that this is, which owns what it reports")->envname("POD_NAME");
  command->add_option("--pod-uid", arguments->pod_uid, "Its UID")->envname("POD_UID");
  command->add_option("--metrics", context.settings.metrics,
                      "Where /metrics is served to Prometheus (default: " + std::string(kMetrics) + ", where that is free)")
      ->envname("XDP_LB_METRICS")
      ->type_name("ADDRESS:PORT|off");
  command->callback([&context, arguments] { context.action = [&context, arguments] { return run(context, *arguments); }; });
}

}  // namespace xlb
