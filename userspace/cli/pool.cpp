// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iostream>

#include "userspace/cli/command.hpp"
#include "userspace/cli/view.hpp"

namespace xlb {

namespace {

constexpr const char* kPoolNamespace = "metallb-system";

struct PoolArguments {
  std::string name;
  std::vector<std::string> ranges;
  std::vector<std::string> interfaces;
  bool no_auto_assign = false;
  bool avoid_buggy_ips = false;
};

int declare_pool(const Context& context, const PoolArguments& arguments) {
  Pool pool;
  pool.name = {kPoolNamespace, arguments.name};
  pool.auto_assign = !arguments.no_auto_assign;
  pool.avoid_buggy_ips = arguments.avoid_buggy_ips;
  // The text is what counts: it is parsed where manifests are parsed, with the same words of refusal.
  for (const std::string& range : arguments.ranges) pool.ranges.push_back({{}, {}, range});
  L2Advertisement advertisement;
  advertisement.name = {kPoolNamespace, arguments.name};
  advertisement.pools = {arguments.name};
  advertisement.interfaces = arguments.interfaces;
  const std::string source = "pool " + arguments.name;
  return changed(change(context, "pool add " + arguments.name,
                        ApplyRequest{{{source, to_yaml(pool)}, {source, to_yaml(advertisement)}}}));
}

int remove_pool(const Context& context, const std::string& name) {
  const std::string doing = "pool rm " + name;
  auto manifests = read_manifests(context.settings.manifests());
  if (!manifests) return fail(manifests.error().in(doing));
  const Objects& objects = manifests->objects;
  const auto pool = std::find_if(objects.pools.begin(), objects.pools.end(), [&](const Pool& entry) { return entry.name.name == name; });
  if (pool == objects.pools.end()) return fail(Error{doing + ": there is no such pool: see xdp-lb pool ls"});
  DeleteRequest request{{{"IPAddressPool", pool->name}}};
  // Advertisements that speak of nothing else would speak of nothing at all.
  for (const L2Advertisement& advertisement : objects.advertisements)
    if (advertisement.pools == std::vector<std::string>{name} && advertisement.pool_selectors.empty())
      request.objects.push_back({"L2Advertisement", advertisement.name});
  return changed(change(context, doing, std::move(request)));
}

void print_pools(const Context& context, const Json& pools) {
  Table table({{"NAME"}, {"ADDRESSES"}, {"TOTAL", false, true}, {"ASSIGNED", false, true}, {"AVAILABLE", false, true},
               {"AUTO ASSIGN", true}, {"AVOID BUGGY IPS", true}});
  for (const Json& pool : pools) {
    const auto figure = [&](const char* key) { return pool.at(key).dump(); };
    table.row({pool.at("name").get<std::string>(), joined(pool.at("addresses"), ","), figure("total"), figure("assigned"),
               figure("available"), figure("auto_assign"), figure("avoid_buggy_ips")});
  }
  if (table.empty()) {
    std::cerr << "No pools: xdp-lb pool add NAME RANGE\n";
    return;
  }
  table.print(std::cout, context.wide(), colour_wanted());
}

// Pools are declared in files: neither kernel nor daemon is asked, so this also works before anything is attached.
Result<Observation> declared(const Context& context) {
  auto manifests = read_manifests(context.settings.manifests());
  if (!manifests) return manifests.error();
  auto state = read_state(context.settings.state_file());
  if (!state) return state.error();
  Observation seen;
  seen.objects = std::move(manifests->objects);
  seen.state = std::move(*state);
  return seen;
}

int list_pools(const Context& context) {
  auto seen = declared(context);
  if (!seen) return fail(seen.error().in("pool ls"));
  const Json pools = pools_json(*seen);
  if (context.document())
    print_document(std::cout, pools, context.output);
  else
    print_pools(context, pools);
  return kDone;
}

int show_pool(const Context& context, const std::string& name) {
  auto seen = declared(context);
  if (!seen) return fail(seen.error().in("pool show " + name));
  for (const Pool& pool : seen->objects.pools) {
    if (pool.name.name != name) continue;
    const Json json = pool_json(*seen, pool);
    if (context.document()) {
      print_document(std::cout, json, context.output);
      return kDone;
    }
    print_pools(context, Json::array({json}));
    Table holders({{"ADDRESS"}, {"SERVICE"}});
    for (const Json& holder : json.at("holders"))
      holders.row({holder.at("address").get<std::string>(), holder.at("service").get<std::string>()});
    if (!holders.empty()) {
      std::cout << "\n";
      holders.print(std::cout, context.wide(), colour_wanted());
    }
    return kDone;
  }
  return fail(Error{"pool show " + name + ": there is no such pool: see xdp-lb pool ls"});
}

}  // namespace

void add_pool(CLI::App& app, Context& context) {
  auto* noun = app.add_subcommand("pool", "Addresses that may be given to services");
  noun->require_subcommand(1);
  auto arguments = std::make_shared<PoolArguments>();

  auto* verb = noun->add_subcommand("add", "Declare a pool, and that it is announced (IPAddressPool and L2Advertisement)");
  verb->add_option("NAME", arguments->name, "Name of the pool")->required();
  verb->add_option("RANGE", arguments->ranges, "192.168.0.200-192.168.0.250, 192.168.0.200/29 or fd00::200/125")->required();
  verb->add_option("--interface", arguments->interfaces, "Announce on this interface only; may be given more than once")
      ->type_name("IFACE")
      ->allow_extra_args(false);
  verb->add_flag("--no-auto-assign", arguments->no_auto_assign, "Give addresses only to services that ask for this pool");
  verb->add_flag("--avoid-buggy-ips", arguments->avoid_buggy_ips, "Leave out IPv4 addresses that end in .0 or .255");
  verb->callback([&context, arguments] { context.action = [&context, arguments] { return declare_pool(context, *arguments); }; });

  verb = noun->add_subcommand("rm", "Take a pool away; services that held its addresses get others, or none");
  verb->add_option("NAME", arguments->name, "Name of the pool")->required();
  verb->callback([&context, arguments] { context.action = [&context, arguments] { return remove_pool(context, arguments->name); }; });

  verb = noun->add_subcommand("ls", "List the pools and how full they are");
  add_output(*verb, context);
  verb->callback([&context] { context.action = [&context] { return list_pools(context); }; });

  verb = noun->add_subcommand("show", "Show a pool and who holds its addresses");
  verb->add_option("NAME", arguments->name, "Name of the pool")->required();
  add_output(*verb, context);
  verb->callback([&context, arguments] { context.action = [&context, arguments] { return show_pool(context, arguments->name); }; });
}

}  // namespace xlb
