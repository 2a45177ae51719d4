// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <iostream>
#include <thread>

#include "userspace/cli/command.hpp"
#include "userspace/cli/view.hpp"

namespace xlb {

namespace {

std::uint64_t figure(const Json& json, const char* key) { return json.at(key).get<std::uint64_t>(); }

// Difference of two readings of one counter a second; an upgrade never sets them back, a new attach does.
std::string rate(std::uint64_t now, std::uint64_t before, double seconds) {
  if (now < before || seconds <= 0) return "-";
  return std::to_string(static_cast<std::uint64_t>(static_cast<double>(now - before) / seconds));
}

const Json* find_service(const Json& stats, const Json& name) {
  for (const Json& service : stats.at("services"))
    if (service.at("name") == name) return &service;
  return nullptr;
}

void print_stats(const Json& stats, const Json* before, double seconds, bool wide) {
  std::vector<Column> columns{{"VERDICT"}, {"OUTCOME"}, {"PACKETS", false, true}, {"BYTES", false, true}};
  if (before) columns.push_back({"PACKETS/S", false, true});
  Table verdicts(columns);
  for (const auto& [name, counter] : stats.at("verdicts").items()) {
    if (figure(counter, "packets") == 0 && !wide) continue;
    std::vector<Cell> row{name, counter.at("outcome").get<std::string>(), counter.at("packets").dump(), counter.at("bytes").dump()};
    if (before) row.emplace_back(rate(figure(counter, "packets"), figure(before->at("verdicts").at(name), "packets"), seconds));
    verdicts.row(std::move(row));
  }
  if (verdicts.empty())
    std::cout << "No packet for a VIP yet\n";
  else
    verdicts.print(std::cout, wide, colour_wanted());

  columns = {{"SERVICE"}, {"PACKETS", false, true}, {"BYTES", false, true}, {"FLOWS", false, true}};
  if (before) columns.insert(columns.end(), {{"PACKETS/S", false, true}, {"BITS/S", false, true}, {"FLOWS/S", false, true}});
  Table services(columns);
  for (const Json& service : stats.at("services")) {
    std::vector<Cell> row{service.at("name").get<std::string>(), service.at("packets").dump(), service.at("bytes").dump(), service.at("flows").dump()};
    if (before) {
      const Json* old = find_service(*before, service.at("name"));
      const auto was = [&](const char* key) { return old ? figure(*old, key) : 0; };
      row.emplace_back(rate(figure(service, "packets"), was("packets"), seconds));
      row.emplace_back(rate(figure(service, "bytes") * 8, was("bytes") * 8, seconds));
      row.emplace_back(rate(figure(service, "flows"), was("flows"), seconds));
    }
    services.row(std::move(row));
  }
  if (services.empty()) return;
  std::cout << "\n";
  services.print(std::cout, wide, colour_wanted());
}

Result<Json> read_stats(Reconciler& node) {
  auto seen = node.look();
  if (!seen) return seen.error();
  if (seen->attached.empty()) return Error{"nothing is attached, so nothing is counted: xdp-lb attach IFACE"};
  auto judged = node.judge(*seen);
  if (!judged) return judged.error();
  auto counters = node.edges().data_plane->counters();
  if (!counters) return counters.error();
  return stats_json(*seen, *judged, *counters);
}

int stats(const Context& context, bool watch, const std::string& interval) {
  auto every = parse_duration(interval);
  if (!every) return usage(every.error().in("--interval"));
  auto node = open_node(context, "stats");
  if (!node) return fail(node.error());
  std::optional<Json> before;
  auto read_at = std::chrono::steady_clock::now();
  for (;;) {
    auto now = read_stats(**node);
    if (!now) return fail(now.error().in("stats"));
    const auto before_at = std::exchange(read_at, std::chrono::steady_clock::now());
    if (context.output == OutputFormat::json && watch)
      std::cout << now->dump() << std::endl;  // one reading a line
    else if (context.document())
      print_document(std::cout, *now, context.output);
    else {
      if (watch && colour_wanted()) std::cout << "\033[H\033[2J";
      print_stats(*now, before ? &*before : nullptr, std::chrono::duration<double>(read_at - before_at).count(), context.wide());
    }
    std::cout.flush();
    if (!watch) return kDone;
    if (!std::cout) return kDone;  // the reader has gone
    before = std::move(*now);
    std::this_thread::sleep_for(*every);
    if (!context.document()) std::cout << (colour_wanted() ? "" : "\n");
  }
}

}  // namespace

void add_stats(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand("stats", "Packets and bytes by verdict and by service; -o wide also shows what is zero");
  auto watch = std::make_shared<bool>(false);
  auto interval = std::make_shared<std::string>("1s");
  command->add_flag("-w,--watch", *watch, "Again and again, with rates");
  command->add_option("--interval", *interval, "Time between two readings (default 1s)")->type_name("TIME");
  add_output(*command, context);
  command->callback([&context, watch, interval] {
    context.action = [&context, watch, interval] { return stats(context, *watch, *interval); };
  });
}

}  // namespace xlb
