// SPDX-License-Identifier: Apache-2.0
// The command tree as text: completion for shells and docs/cli.md, both from the one description that also parses.
#pragma once

#include <string>

#include "userspace/cli/command.hpp"

namespace xlb {

std::string bash_completion(const CLI::App& app, const Context& context);
std::string zsh_completion(const CLI::App& app, const Context& context);
std::string fish_completion(const CLI::App& app, const Context& context);
std::string cli_document(const CLI::App& app);
std::string verdicts_document();

}  // namespace xlb
