// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iostream>

#include "userspace/cli/command.hpp"
#include "userspace/cli/peer_table.hpp"
#include "userspace/cli/view.hpp"
#include "userspace/core/declared_peers.hpp"
#include "userspace/peers/key.hpp"

namespace xlb {

namespace {

int declare_peer(const Context& context, const std::string& name, const std::vector<std::string>& addresses) {
  const std::string doing = "peer add " + name;
  if (auto allowed = require_capabilities(doing); !allowed) return fail(allowed.error());
  auto manifests = read_manifests(context.settings.manifests());
  if (!manifests) return fail(manifests.error().in(doing));
  const Objects& objects = manifests->objects;
  Node node;
  // Said again, it moves; what else was declared of it stays.
  for (const Node& declared : objects.nodes)
    if (declared.name == name) node = declared;
  node.name = name;
  node.addresses.clear();
  for (const std::string& text : addresses) {
    auto address = address_option("IP", text);
    if (!address) return usage(address.error().in(doing));
    node.addresses.push_back(*address);
  }
  auto netlink = Netlink::open();
  if (!netlink) return fail(netlink.error().in(doing));
  auto own = (*netlink)->own_addresses();
  if (!own) return fail(own.error().in(doing));
  Machine machine;
  machine.node_name = context.settings.node;
  machine.own_addresses = std::move(*own);
  if (auto fine = check_peer(node, objects, machine); !fine) return fail(fine.error().in(doing));
  const int done = changed(change(context, doing, ApplyRequest{{{"peer " + name, to_yaml(node)}}}));
  if (done == kDone && !std::filesystem::exists(context.settings.key_file()))
    warn("the nodes share no key yet, so whoever is on this LAN can speak in their names: xdp-lb peer key");
  return done;
}

int remove_peer(const Context& context, const std::string& name) {
  const std::string doing = "peer rm " + name;
  auto manifests = read_manifests(context.settings.manifests());
  if (!manifests) return fail(manifests.error().in(doing));
  const auto& nodes = manifests->objects.nodes;
  if (std::none_of(nodes.begin(), nodes.end(), [&](const Node& node) { return node.name == name; }))
    return fail(Error{doing + ": there is no such peer: see xdp-lb peer ls"});
  const int done = changed(change(context, doing, DeleteRequest{{{"Node", {"", name}}}}));
  if (done == kDone && std::filesystem::exists(context.settings.key_file()))
    std::cout << "While " << name
              << " holds the cluster's key it stays a peer: stop xdp-lb there, or change the key (xdp-lb peer key "
                 "--replace)\n";
  return done;
}

int list_peers(const Context& context) {
  auto manifests = read_manifests(context.settings.manifests());
  if (!manifests) return fail(manifests.error().in("peer ls"));
  auto cluster = ask_cluster(context, "peer ls", ClusterRequest{});
  if (!cluster) warn(cluster.error().text);  // what is declared can be shown all the same
  const Json peers = peers_json(manifests->objects, context.settings.node, cluster ? *cluster : Json());
  if (context.document())
    print_document(std::cout, peers, context.output);
  else if (peers.empty())
    std::cerr << "No peers: xdp-lb peer add NAME IP\n";
  else
    print_peers(std::cout, peers, context.wide());
  return kDone;
}

struct KeyArguments {
  bool replace = false;
  std::string import;
};

void tell_key(const std::string& what, const std::string& file, std::uint32_t fingerprint) {
  std::cout << what << ": " << file << ", fingerprint " << fingerprint_text(fingerprint)
            << "\n\nEvery node needs the same. To copy it to another one:\n  sudo cat " << file
            << " | ssh NODE sudo xdp-lb peer key --import -\n"
               "or type the line that is in the file at `xdp-lb peer key --import -` there. It is a secret: who has "
               "it is a peer.\n"
               "A daemon that runs takes it up within a minute; at once: systemctl reload xdp-lb\n";
}

int key(const Context& context, const KeyArguments& arguments) {
  const std::string doing = "peer key";
  const std::filesystem::path file = context.settings.key_file();
  auto known = read_key(file);
  // Whatever stands there is not guessed at, but may be put aside by who says so.
  if (!known && !arguments.replace) return fail(known.error().in(doing));
  const std::optional<ClusterKey> before = known ? *known : std::nullopt;
  Result<ClusterKey> fresh = Error{};
  if (!arguments.import.empty()) {
    auto text = read_document(arguments.import);
    if (!text) return fail(text.error().in(doing));
    fresh = parse_key(text->yaml);
  } else if (before && !arguments.replace) {
    fresh = *before;
  } else {
    fresh = make_key();
  }
  if (!fresh) return fail(fresh.error().in(doing));
  const std::uint32_t fingerprint = key_fingerprint(*fresh);
  if (before == *fresh) {
    tell_key("The key of this cluster", file.string(), fingerprint);
    return kDone;
  }
  if (auto made = make_folder(context.settings.config_dir); !made) return fail(made.error().in(doing));
  if (auto written = write_key(file, *fresh, arguments.replace); !written) return fail(written.error().in(doing));
  const std::string what = !arguments.import.empty() ? "Took the key in"
                           : before || !known        ? "Made another key"
                                                     : "Made a key";
  tell_key(what, file.string(), fingerprint);
  return kDone;
}

}  // namespace

void add_peer(CLI::App& app, Context& context) {
  auto* noun = app.add_subcommand("peer", "Other nodes that may answer for the VIPs");
  noun->require_subcommand(1);
  auto name = std::make_shared<std::string>();
  auto addresses = std::make_shared<std::vector<std::string>>();
  auto arguments = std::make_shared<KeyArguments>();

  auto* verb =
      noun->add_subcommand("add", "Declare another node (Node); said again with another address, it has moved");
  verb->add_option("NAME", *name, "Name of the node, as it calls itself (--node there; its host name by default)")
      ->required();
  verb->add_option("IP", *addresses, "Its address on the LAN; one a family")->required()->expected(1, 2);
  verb->callback([&context, name, addresses] {
    context.action = [&context, name, addresses] { return declare_peer(context, *name, *addresses); };
  });

  verb = noun->add_subcommand("rm", "Take a declared node away");
  verb->add_option("NAME", *name, "Name of the node")->required();
  verb->callback([&context, name] { context.action = [&context, name] { return remove_peer(context, *name); }; });

  verb = noun->add_subcommand("ls", "List the peers, and whether they are there");
  add_output(*verb, context);
  verb->callback([&context] { context.action = [&context] { return list_peers(context); }; });

  verb =
      noun->add_subcommand("key", "Make the key that the nodes share, where there is none, and say how to copy it");
  verb->add_flag("--replace", arguments->replace,
                 "Put another one in its place; until every node has it, nodes of the old and the new key do not "
                 "hear each other");
  verb->add_option("--import", arguments->import,
                   "Take it from a file, or - for standard input, instead of making one")
      ->type_name("FILE");
  verb->callback(
      [&context, arguments] { context.action = [&context, arguments] { return key(context, *arguments); }; });
}

}  // namespace xlb
