// SPDX-License-Identifier: Apache-2.0
#include <csignal>
#include <exception>
#include <iostream>

#include "userspace/cli/command.hpp"

int main(int argc, char** argv) {
  // A reader that goes away (`| head`) is an end, not a crash.
  std::signal(SIGPIPE, SIG_IGN);
  xlb::Context context;
  CLI::App app("Layer-4 load balancer for a LAN: answers for VIPs and hands their flows to backends", "xdp-lb");
  xlb::build_commands(app, context);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& shown) {
    return app.exit(shown);  // --help
  } catch (const CLI::ParseError& wrong) {
    std::cerr << "xdp-lb: " << wrong.what() << "\nTry: xdp-lb --help\n";
    return xlb::kUsage;
  }
  try {
    return context.action();
  } catch (const std::exception& problem) {
    // Nothing of ours throws: memory ran out, or a library did what it should not.
    return xlb::fail(xlb::Error{std::string("unexpected: ") + problem.what()});
  }
}
