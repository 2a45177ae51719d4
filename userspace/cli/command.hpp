// SPDX-License-Identifier: Apache-2.0
// What every command shares: the global options, how a change reaches this node, and how success and failure are said.
#pragma once

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "loader/data_plane.hpp"
#include "userspace/cli/render.hpp"
#include "userspace/daemon/log.hpp"
#include "userspace/daemon/reconciler.hpp"
#include "userspace/daemon/request.hpp"

namespace xlb {

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

struct Context {
  Settings settings;
  Severity log_level = Severity::info;
  LogFormat log_format = LogFormat::text;
  OutputFormat output = OutputFormat::table;
  std::function<int()> action;                                       // of the command that was parsed
  std::map<const CLI::Option*, std::vector<std::string>> choices;    // for completion
  [[nodiscard]] bool document() const { return output == OutputFormat::json || output == OutputFormat::yaml; }
  [[nodiscard]] bool wide() const { return output == OutputFormat::wide; }
};

// The whole tree. One function a noun adds its commands; completion and docs read the tree.
void build_commands(CLI::App& app, Context& context);
void add_attach(CLI::App& app, Context& context);     // attach, detach, upgrade
void add_run(CLI::App& app, Context& context);
void add_manifests(CLI::App& app, Context& context);  // apply, delete, check
void add_pool(CLI::App& app, Context& context);
void add_service(CLI::App& app, Context& context);
void add_peer(CLI::App& app, Context& context);
void add_cluster(CLI::App& app, Context& context);    // why, drain, undrain
void add_migrate(CLI::App& app, Context& context);
void add_status(CLI::App& app, Context& context);
void add_stats(CLI::App& app, Context& context);
void add_flows(CLI::App& app, Context& context);
void add_trace(CLI::App& app, Context& context);
void add_completion(CLI::App& app, Context& context);  // completion, version, docs

// An option with a fixed set of words.
CLI::Option* add_choice(CLI::App& command, Context& context, const std::string& names, const std::string& description,
                        const std::vector<std::pair<std::string, int>>& words, std::function<void(int)> chosen);
void add_output(CLI::App& command, Context& context);
void add_mode(CLI::App& command, Context& context, std::function<void(AttachMode)> chosen);
void add_table_sizes(CLI::App& command, std::string& text);
// What was said there; nothing: nothing.
Result<TableSizes> table_sizes_argument(const std::string& text);
// "auto" becomes the interface that it means here.
Result<std::string> named_interface(const Context& context, const std::string& doing, const std::string& name);

int fail(const Error& error);   // "xdp-lb: …" on standard error
int usage(const Error& error);
void warn(const std::string& warning);

// Opens this node for reading: needs the same rights as changing, because the pinned maps are root's.
Result<std::unique_ptr<Reconciler>> open_node(const Context& context, const std::string& doing);
// What the daemon answers; nothing: none runs.
Result<std::optional<Answer>> ask(const Context& context, const std::string& doing, Demand demand);
// What it says of the cluster (cluster_document.hpp). null: no daemon runs, it keeps no peers, or it does not know this.
Result<Json> ask_cluster(const Context& context, const std::string& doing, Demand demand);
// Through the daemon where one runs, else on the spot. `touches_kernel`: refuse early without the capabilities.
Result<Outcome> change(const Context& context, const std::string& doing, Demand demand, const PassOptions& options = PassOptions{});
// What the outcome means, in sentences; warnings on standard error.
void tell(const Outcome& outcome);
int changed(const Result<Outcome>& outcome);  // tell or fail

Result<Address> address_option(const std::string& option, const std::string& text);
Result<std::chrono::milliseconds> parse_duration(const std::string& text);  // "30s", "2m", "500ms", "30"
Result<NamedText> read_document(const std::string& file);                    // "-": standard input

}  // namespace xlb
