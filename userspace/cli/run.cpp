// SPDX-License-Identifier: Apache-2.0
#include <csignal>

#include "userspace/cli/command.hpp"
#include "userspace/daemon/daemon.hpp"

namespace xlb {

namespace {

int run(const Context& context) {
  if (auto allowed = require_capabilities("run"); !allowed) return fail(allowed.error());
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  auto edges = open_edges(context.settings);
  if (!edges) return fail(edges.error().in("run"));
  const Log log(context.log_level, context.log_format);
  auto daemon = Daemon::start(context.settings, std::move(*edges), log);
  if (!daemon) return fail(daemon.error().in("run"));
  if (auto ended = (*daemon)->run(); !ended) return fail(ended.error().in("run"));
  return kDone;
}

}  // namespace

void add_run(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("run", "The daemon: follows manifests and the machine, announces VIPs, serves the control socket");
  command->callback([&context] { context.action = [&context] { return run(context); }; });
}

}  // namespace xlb
