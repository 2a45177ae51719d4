// SPDX-License-Identifier: Apache-2.0
#include <iostream>

#include "userspace/cli/command.hpp"
#include "userspace/cli/view.hpp"
#include "userspace/daemon/clock.hpp"

namespace xlb {

namespace {

std::string endpoint(const Json& flow, const char* address, const char* port) {
  const auto text = flow.at(address).get<std::string>();
  if (text.empty()) return "";
  return (text.find(':') == std::string::npos ? text : "[" + text + "]") + ":" + flow.at(port).dump();
}

void print_flows(const Json& flows, bool wide) {
  Table table({{"CLIENT"}, {"VIP"}, {"PROTOCOL"}, {"BACKEND"}, {"STATE"}, {"IDLE", false, true}, {"PATH", true}, {"SERVICE", true}});
  for (const Json& flow : flows)
    table.row({endpoint(flow, "client", "client_port"), endpoint(flow, "vip", "vip_port"), flow.at("protocol").get<std::string>(),
               endpoint(flow, "backend", "backend_port"), flow.at("state").get<std::string>(), flow.at("idle_seconds").dump() + "s",
               flow.at("path").get<std::string>(), flow.at("service").get<std::string>()});
  if (table.empty())
    std::cerr << "No flows\n";
  else
    table.print(std::cout, wide, colour_wanted());
}

Result<Json> read_flows(Reconciler& node, const FlowFilter& filter) {
  auto seen = node.look();
  if (!seen) return seen.error();
  if (seen->attached.empty()) return Error{"nothing is attached, so there are no flows: xdp-lb attach IFACE"};
  auto judged = node.judge(*seen);
  if (!judged) return judged.error();
  auto rows = node.edges().data_plane->flows();
  if (!rows) return rows.error();
  return flows_json(*seen, *judged, *rows, filter, monotonic_ns());
}

int flows(const Context& context, const std::string& vip, const std::string& client, bool all) {
  FlowFilter filter;
  filter.all = all;
  const auto take = [](const char* option, const std::string& text, std::optional<Address>& into) -> Result<void> {
    if (text.empty()) return {};
    auto address = address_option(option, text);
    if (!address) return address.error();
    into = *address;
    return {};
  };
  if (auto taken = take("--vip", vip, filter.vip); !taken) return usage(taken.error());
  if (auto taken = take("--client", client, filter.client); !taken) return usage(taken.error());
  auto node = open_node(context, "flows");
  if (!node) return fail(node.error());
  auto json = read_flows(**node, filter);
  if (!json) return fail(json.error().in("flows"));
  if (context.document())
    print_document(std::cout, *json, context.output);
  else
    print_flows(*json, context.wide());
  return kDone;
}

}  // namespace

void add_flows(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("flows", "Who is connected to what");
  auto vip = std::make_shared<std::string>(), client = std::make_shared<std::string>();
  auto all = std::make_shared<bool>(false);
  command->add_option("--vip", *vip, "Only flows to this VIP")->type_name("ADDRESS");
  command->add_option("--client", *client, "Only flows of this client")->type_name("ADDRESS");
  command->add_flag("--all", *all, "Also entries whose lifetime is over");
  add_output(*command, context);
  command->callback([&context, vip, client, all] {
    context.action = [&context, vip, client, all] { return flows(context, *vip, *client, *all); };
  });
}

}  // namespace xlb
