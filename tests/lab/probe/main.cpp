// SPDX-License-Identifier: Apache-2.0
// Clients that measure, for the lab's stories and tests/bench: fast enough to open a flow every millisecond, and on the
// kernel's own sockets. Prints one JSON object when it ends; exit code 1 and a sentence when something went wrong.
#include <sys/resource.h>

#include <cstdio>
#include <exception>
#include <iostream>

#include <CLI/CLI.hpp>

#include "tests/lab/probe/loop.hpp"
#include "tests/lab/probe/verbs.hpp"

int main(int argc, char** argv) {
  using namespace xlb::probe;
  CLI::App app{"Clients that measure, and the server they talk to"};
  app.require_subcommand(1);

  NewFlows flows;
  CLI::App* flows_verb = app.add_subcommand("flows", "opens one new flow after the other and tells which failed");
  flows_verb->add_option("--to", flows.to)->required();
  flows_verb->add_option("--port", flows.port);
  flows_verb->add_flag("--udp", flows.udp);
  flows_verb->add_option("--every-us", flows.every_us)->check(CLI::Range(100, 10'000'000));
  flows_verb->add_option("--timeout-ms", flows.timeout_ms)->check(CLI::Range(10, 60'000));
  flows_verb->add_option("--seconds", flows.seconds)->check(CLI::Range(0.1, 3600.0));

  Held held;
  CLI::App* held_verb = app.add_subcommand("hold", "holds connections, a byte there and back at intervals; tells which break");
  held_verb->add_option("--to", held.to)->required();
  held_verb->add_option("--port", held.port);
  held_verb->add_option("--connections", held.connections)->check(CLI::Range(1, 10'000));
  held_verb->add_option("--every-ms", held.every_ms)->check(CLI::Range(10, 60'000));
  held_verb->add_option("--grace-ms", held.grace_ms)->check(CLI::Range(0, 120'000));
  held_verb->add_option("--seconds", held.seconds)->check(CLI::Range(0.1, 3600.0));

  Asked asked;
  CLI::App* asked_verb = app.add_subcommand("ask", "asks by ARP for an address at intervals and tells who answered");
  asked_verb->add_option("--about", asked.about)->required();
  asked_verb->add_option("--sender", asked.sender)->required();
  asked_verb->add_option("--interface", asked.interface);
  asked_verb->add_option("--every-ms", asked.every_ms)->check(CLI::Range(1, 1000));
  asked_verb->add_option("--seconds", asked.seconds)->check(CLI::Range(0.1, 3600.0));

  Echo echo;
  CLI::App* echo_verb = app.add_subcommand("echo", "the server: its name, then everything back");
  echo_verb->add_option("--port", echo.port);
  echo_verb->add_option("--name", echo.name)->required();
  CLI11_PARSE(app, argc, argv);

  // A socket for each flow that is under way.
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  end_on_signals();
  try {
    nlohmann::json said;
    if (flows_verb->parsed()) said = run(flows);
    if (held_verb->parsed()) said = run(held);
    if (asked_verb->parsed()) said = run(asked);
    if (echo_verb->parsed()) said = run(echo);
    std::cout << said.dump() << '\n';
    return 0;
  } catch (const std::exception& problem) {
    std::fprintf(stderr, "xlb_lab_probe: %s\n", problem.what());
    return 1;
  }
}
