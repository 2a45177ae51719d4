// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "userspace/cli/command.hpp"
#include "userspace/daemon/lan_interface.hpp"

namespace xlb {

namespace {

struct AttachArguments {
  std::string interface;
  AttachMode mode = AttachMode::automatic;
  std::string try_for;
  std::string table_sizes;
  bool tried = false;  // --try was given: with an empty value it is a mistake, not a wish to attach for good
};

std::string mode_argument(AttachMode mode) {
  return mode == AttachMode::automatic ? "" : std::string(" --mode ") + attach_mode_text(mode);
}

void tell_link(const AttachedLink& link) {
  std::cout << link.interface << " is attached in " << attach_mode_text(link.mode) << " mode";
  if (!link.reason.empty()) std::cout << ": " << link.reason;
  std::cout << "\nPrograms: " << joined(link.programs, ", ") << "\n";
  if (link.mode == AttachMode::generic)
    warn("generic mode turns off receive offload (GRO) for everything that " + link.interface +
         " receives and copies packets that are short of headroom: --mode tc is faster");
}

int attach(const Context& context, const AttachArguments& arguments) {
  auto interface = named_interface(context, "attach", arguments.interface);
  if (!interface) return fail(interface.error().in("attach " + arguments.interface));
  auto sizes = table_sizes_argument(arguments.table_sizes);
  if (!sizes) return usage(sizes.error().in("attach"));
  AttachWish wish{*interface, arguments.mode, std::nullopt, std::move(*sizes)};
  if (arguments.tried) {
    auto time = parse_duration(arguments.try_for);
    if (!time) return usage(time.error().in("--try"));
    wish.try_for = *time;
  }
  auto outcome = change(context, "attach " + *interface, wish);
  if (!outcome) return fail(outcome.error());
  if (outcome->link) tell_link(*outcome->link);
  tell(*outcome);
  if (wish.try_for)
    std::cout << "On trial for " << arguments.try_for << ": then everything passes untouched again. To keep it:\n  xdp-lb attach "
              << *interface << mode_argument(arguments.mode) << "\n";
  return kDone;
}

int detach(const Context& context, const std::string& interface, bool all) {
  if (all == !interface.empty()) return usage(Error{"detach: name an interface, or say --all"});
  auto outcome = change(context, all ? "detach --all" : "detach " + interface, DetachRequest{interface});
  if (!outcome) return fail(outcome.error());
  tell(*outcome);
  if (all)
    std::cout << "Everything is detached\n";
  else
    std::cout << interface << " is detached\n";
  return kDone;
}

int upgrade(const Context& context) {
  auto outcome = change(context, "upgrade", UpgradeRequest{});
  if (!outcome) return fail(outcome.error());
  tell(*outcome);
  std::cout << "Programs replaced on " << joined(outcome->attached, ", ") << "; flows kept\n";
  return kDone;
}

}  // namespace

Result<std::string> named_interface(const Context& context, const std::string& doing, const std::string& name) {
  if (name != "auto") return name;
  if (auto allowed = require_capabilities(doing); !allowed) return allowed.error();
  auto edges = open_edges(context.settings);
  if (!edges) return edges.error();
  return lan_interface(*edges->netlink);
}

void add_mode(CLI::App& command, Context& context, std::function<void(AttachMode)> chosen) {
  add_choice(command, context, "--mode",
             "Native XDP besides tc where the driver has it (auto), or as said; generic costs receive offload and is never chosen by auto",
             {{"auto", static_cast<int>(AttachMode::automatic)},
              {"native", static_cast<int>(AttachMode::native)},
              {"tc", static_cast<int>(AttachMode::tc)},
              {"generic", static_cast<int>(AttachMode::generic)}},
             [chosen = std::move(chosen)](int mode) { chosen(static_cast<AttachMode>(mode)); });
}

void add_table_sizes(CLI::App& command, std::string& text) {
  command.add_option("--table-sizes", text,
                     "Entries of the tables that are made, where the defaults do not suit (backends=131072,slots=16777216); tables that are there keep theirs")
      ->type_name("TABLE=ENTRIES,...");
}

Result<TableSizes> table_sizes_argument(const std::string& text) {
  if (text.empty()) return TableSizes();
  auto sizes = parse_table_sizes(text);
  return sizes ? sizes : sizes.error().in("--table-sizes");
}

void add_attach(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("attach", "Load and pin the programs, attach them to an interface, put everything declared in force");
  auto arguments = std::make_shared<AttachArguments>();
  command->add_option("IFACE", arguments->interface, "Interface to the LAN: the NIC itself, not a VLAN device or a bridge port; auto: the one with the default route")
      ->required();
  add_mode(*command, context, [arguments](AttachMode mode) { arguments->mode = mode; });
  add_table_sizes(*command, arguments->table_sizes);
  const auto* trial = command->add_option("--try", arguments->try_for,
                      "Undo after this time (30s, 2m) unless attach is run again without --try: for machines reached by SSH only")
      ->type_name("TIME");
  command->callback([&context, arguments, trial] {
    arguments->tried = trial->count() > 0;
    context.action = [&context, arguments] { return attach(context, *arguments); };
  });

  command = app.add_subcommand("detach", "Take programs, pins, qdiscs and joined groups away again");
  auto interface = std::make_shared<std::string>();
  auto all = std::make_shared<bool>(false);
  command->add_option("IFACE", *interface, "Interface that was attached");
  command->add_flag("--all", *all, "Every interface, and whatever is left");
  command->callback([&context, interface, all] {
    context.action = [&context, interface, all] { return detach(context, *interface, *all); };
  });

  command = app.add_subcommand("upgrade", "Replace the programs by those of this xdp-lb under their links; flows are kept");
  command->callback([&context] { context.action = [&context] { return upgrade(context); }; });
}

}  // namespace xlb
