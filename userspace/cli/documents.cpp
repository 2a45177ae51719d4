// SPDX-License-Identifier: Apache-2.0
// docs/cli.md and docs/verdicts.md.
#include <algorithm>

#include "userspace/cli/tree.hpp"
#include "userspace/core/verdict.hpp"

namespace xlb {

namespace {

// A table cell: bars would end it.
std::string cell(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '|' ? std::string("\\|") : std::string(1, c);
  return result;
}

std::string spelled(const CLI::Option& option) {
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  std::string text = joined(names, ", ");
  const bool takes_value = option.get_items_expected_max() > 0;
  const std::string type = option.get_type_name() == "TEXT" ? "NAME" : option.get_type_name();
  if (takes_value) text += " " + type;
  return text;
}

void options_table(const CLI::App& app, std::string& text) {
  std::string rows;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_positional() || option->get_group().empty() || option->get_single_name() == "help") continue;
    rows += "| `" + cell(spelled(*option)) + "` | ";
    if (!option->get_envname().empty()) rows += "`" + option->get_envname() + "`";
    rows += " | " + cell(option->get_description()) + (option->get_required() ? " (required)" : "") + " |\n";
  }
  if (!rows.empty()) text += "| option | environment | meaning |\n|---|---|---|\n" + rows + "\n";
}

std::string synopsis(const CLI::App& app, const std::string& path) {
  std::string text = "xdp-lb " + path;
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_positional()) continue;
    std::string word = option->get_single_name();
    if (option->get_items_expected_max() > 1) word += "...";
    text += option->get_required() ? " " + word : " [" + word + "]";
  }
  return text;
}

void commands(const CLI::App& app, const std::string& path, std::string& text) {
  for (const CLI::App* command : app.get_subcommands({})) {
    if (command->get_group().empty()) continue;
    const std::string full = path.empty() ? command->get_name() : path + " " + command->get_name();
    if (command->get_subcommands({}).empty()) {
      text += "## `" + synopsis(*command, full) + "`\n\n" + command->get_description() + ".\n\n";
      std::string positionals;
      for (const CLI::Option* option : command->get_options())
        if (option->get_positional()) positionals += "- `" + option->get_single_name() + "`: " + option->get_description() + "\n";
      if (!positionals.empty()) text += positionals + "\n";
      options_table(*command, text);
    }
    commands(*command, full, text);
  }
}

}  // namespace

std::string cli_document(const CLI::App& app) {
  std::string text =
      "<!-- Printed by `xdp-lb docs cli`: change the program, not this page. -->\n"
      "# The command line\n\n"
      "Reading opens the pinned tables and needs no daemon. Changing writes a manifest and brings the tables up to it: through "
      "the running daemon, or on the spot when none runs. A change is applied whole or not at all.\n\n"
      "Exit codes: 0 done, 1 failed (a sentence on standard error says what, where, why and what to do), 2 wrong usage. "
      "JSON output is a stable interface: see [schema/](schema/).\n\n"
      "## Global options\n\nThey may stand before or after the command.\n\n";
  options_table(app, text);
  commands(app, "", text);
  while (text.ends_with("\n\n")) text.pop_back();
  return text;
}

std::string verdicts_document() {
  std::string text =
      "<!-- Printed by `xdp-lb docs verdicts`: change maps/verdicts.def, not this page. -->\n"
      "# Verdicts\n\n"
      "What can happen to a packet, as `xdp-lb stats` counts it and `xdp-lb trace` prints it.\n\n"
      "Outcomes: *answer*: sent back by us; *forward*: handed on; *refuse*: told so; *drop*: it vanishes; *pass*: left to the "
      "kernel; *note*: noticed, and of no effect on any client.\n\n"
      "| verdict | outcome | meaning |\n|---|---|---|\n";
  for (const VerdictText& verdict : verdicts())
    text += std::string("| `") + verdict.name + "` | " + verdict.outcome + " | " + cell(verdict.text) + " |\n";
  return text;
}

}  // namespace xlb
