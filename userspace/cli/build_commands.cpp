// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <array>

#include "userspace/cli/command.hpp"

namespace xlb {

void build_commands(CLI::App& app, Context& context) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) == 0) context.settings.node = host.data();
  // As Kubernetes does: a Node's name has no capitals.
  for (char& letter : context.settings.node)
    if (letter >= 'A' && letter <= 'Z') letter = static_cast<char>(letter - 'A' + 'a');

  app.require_subcommand(1);
  app.fallthrough();
  Settings& settings = context.settings;
  const auto path = [&](const char* name, const char* variable, std::filesystem::path& into, const char* description) {
    app.add_option_function<std::string>(name, [&into](const std::string& value) { into = value; }, description)
        ->envname(variable)
        ->type_name("FOLDER");
  };
  app.add_option("--node", settings.node, "Name of this node (default: the host name)")->envname("XDP_LB_NODE");
  path("--config-dir", "XDP_LB_CONFIG_DIR", settings.config_dir, "Manifests and state (default: /etc/xdp-lb)");
  path("--run-dir", "XDP_LB_RUN_DIR", settings.run_dir, "Locks and the control socket (default: /run/xdp-lb)");
  app.add_option("--pin-dir", settings.pin_dir, "Where tables and programs are pinned, on a bpf file system (default: /sys/fs/bpf/xdp-lb)")
      ->envname("XDP_LB_PIN_DIR")
      ->type_name("FOLDER");
  app.add_option("--cgroup", settings.cgroup,
                 "Whose sockets reach VIPs from this node itself: a folder of cgroup2, or none (default: the root of cgroup2)")
      ->envname("XDP_LB_CGROUP")
      ->type_name("FOLDER|none");
  add_choice(app, context, "--log-level", "Least severity that `run` logs (default: info)",
             {{"debug", static_cast<int>(Severity::debug)},
              {"info", static_cast<int>(Severity::info)},
              {"warning", static_cast<int>(Severity::warning)},
              {"error", static_cast<int>(Severity::error)}},
             [&context](int level) { context.log_level = static_cast<Severity>(level); })
      ->envname("XDP_LB_LOG_LEVEL");
  add_choice(app, context, "--log-format", "Lines of `run` (default: text)",
             {{"text", static_cast<int>(LogFormat::text)}, {"json", static_cast<int>(LogFormat::json)}},
             [&context](int format) { context.log_format = static_cast<LogFormat>(format); })
      ->envname("XDP_LB_LOG_FORMAT");

  add_attach(app, context);
  add_run(app, context);
  add_manifests(app, context);
  add_pool(app, context);
  add_service(app, context);
  add_peer(app, context);
  add_status(app, context);
  add_cluster(app, context);
  add_migrate(app, context);
  add_stats(app, context);
  add_flows(app, context);
  add_trace(app, context);
  add_completion(app, context);
}

}  // namespace xlb
