// SPDX-License-Identifier: Apache-2.0
#include <iostream>
#include <utility>

#include "userspace/cli/command.hpp"
#include "userspace/cli/peer_table.hpp"
#include "userspace/cli/service_table.hpp"
#include "userspace/cli/view.hpp"
#include "userspace/daemon/clock.hpp"

namespace xlb {

namespace {

void print_status(const Json& status, bool wide) {
  const bool colour = colour_wanted();
  std::cout << "Node " << status.at("node").get<std::string>() << (status.at("draining").get<bool>() ? ", draining" : "") << "\n\n";

  Table links({{"LINK"}, {"MODE"}, {"PROGRAMS"}, {"REASON", true}});
  for (const Json& link : status.at("links"))
    links.row({link.at("name").get<std::string>(), link.at("mode").get<std::string>(), joined(link.at("programs"), ","),
               link.at("reason").get<std::string>()});
  if (links.empty())
    std::cout << "Nothing is attached: xdp-lb attach IFACE\n";
  else
    links.print(std::cout, wide, colour);
  if (const Json& attempt = status.at("try"); !attempt.is_null()) {
    if (attempt.at("over").get<bool>())
      std::cout << "The trial is over: everything passes untouched. To use it: xdp-lb attach IFACE; to remove it: xdp-lb detach IFACE\n";
    else
      std::cout << "On trial for " << attempt.at("seconds_left").dump() << " s more. To keep it: xdp-lb attach IFACE\n";
  }

  Table vips({{"VIP"}, {"POOL"}, {"OWNER"}, {"SERVICES"}, {"REASON", true}});
  for (const Json& vip : status.at("vips"))
    vips.row({vip.at("address").get<std::string>(), vip.at("pool").get<std::string>(),
              Cell(vip.at("owner").get<std::string>(), vip.at("owner") == "" ? Tone::bad : Tone::good),
              joined(vip.at("services"), ","), vip.at("reason").get<std::string>()});
  if (!vips.empty()) {
    std::cout << "\n";
    vips.print(std::cout, wide, colour);
  }

  if (!status.at("peers").empty()) {
    std::cout << "\n";
    print_peers(std::cout, status.at("peers"), wide);
  }

  if (!status.at("services").empty()) {
    std::cout << "\n";
    print_services(std::cout, status.at("services"), wide);
    std::cout << "\n";
    print_backends(std::cout, status.at("services"), wide);
    bool first = true;
    for (const Json& service : status.at("services")) {
      if (!service.at("vip").get<std::string>().empty()) continue;
      std::cout << (std::exchange(first, false) ? "\n" : "") << service.at("name").get<std::string>()
                << " has no address: " << service.at("reason").get<std::string>() << "\n";
    }
  }
  for (const Json& conflict : status.at("conflicts"))
    std::cout << "\nNot given to any service: " << conflict.at("reason").get<std::string>() << "\n";
  if (const auto pending = status.at("pending_edits").get<std::size_t>(); pending != 0)
    warn("the tables are " + std::to_string(pending) + " edits behind what is declared: `xdp-lb run`, or any command that changes something, catches up");
  for (const Json& warning : status.at("warnings")) warn(warning.get<std::string>());
}

int status(const Context& context) {
  auto node = open_node(context, "status");
  if (!node) return fail(node.error());
  auto seen = (*node)->look();
  if (!seen) return fail(seen.error().in("status"));
  auto judged = (*node)->judge(*seen);
  if (!judged) return fail(judged.error().in("status"));
  auto cluster = ask_cluster(context, "status", ClusterRequest{});
  if (!cluster) warn(cluster.error().text);  // the tables can be shown all the same
  const Json json = status_json(*seen, *judged, cluster ? *cluster : Json(), monotonic_ns());
  if (context.document())
    print_document(std::cout, json, context.output);
  else
    print_status(json, context.wide());
  return kDone;
}

}  // namespace

void add_status(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("status", "Links and modes, VIPs and owners, peers, services and backends on one screen");
  add_output(*command, context);
  command->callback([&context] { context.action = [&context] { return status(context); }; });
}

}  // namespace xlb
