// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iostream>

#include "userspace/cli/command.hpp"
#include "userspace/cli/service_arguments.hpp"
#include "userspace/cli/service_table.hpp"
#include "userspace/cli/view.hpp"

namespace xlb {

namespace {

int declare_service(const Context& context, const ServiceArguments& arguments) {
  const std::string doing = "service add " + arguments.name;
  auto manifests = service_manifests(arguments);
  if (!manifests) return usage(manifests.error().in(doing));
  // Said again, a service is replaced. Slices of it by other names would go on listing backends that nobody named here.
  auto declared = read_manifests(context.settings.manifests());
  if (!declared) return fail(declared.error().in(doing));
  for (const EndpointSlice& slice : declared->objects.slices) {
    if (slice.name.ns != arguments.ns || slice.service != arguments.name) continue;
    const bool replaced = std::any_of(manifests->slices.begin(), manifests->slices.end(),
                                      [&](const EndpointSlice& made) { return made.name == slice.name; });
    if (!replaced)
      return fail(Error{doing + ": EndpointSlice " + slice.name.text() +
                        " lists other backends of it: remove the service first (xdp-lb service rm " + arguments.name + ")"});
  }
  const std::string source = "service " + arguments.name;
  ApplyRequest request{{{source, to_yaml(manifests->service)}}};
  for (const EndpointSlice& slice : manifests->slices) request.documents.push_back({source, to_yaml(slice)});
  return changed(change(context, doing, std::move(request)));
}

int remove_service(const Context& context, const std::string& ns, const std::string& name) {
  const std::string doing = "service rm " + name;
  auto manifests = read_manifests(context.settings.manifests());
  if (!manifests) return fail(manifests.error().in(doing));
  const ObjectName id{ns, name};
  const Objects& objects = manifests->objects;
  if (std::none_of(objects.services.begin(), objects.services.end(), [&](const Service& service) { return service.name == id; }))
    return fail(Error{doing + ": there is no service " + id.text() + ": see xdp-lb service ls"});
  DeleteRequest request{{{"Service", id}}};
  for (const EndpointSlice& slice : objects.slices)
    if (slice.name.ns == ns && slice.service == name) request.objects.push_back({"EndpointSlice", slice.name});
  return changed(change(context, doing, std::move(request)));
}

Result<Json> services(const Context& context, const std::string& doing) {
  auto node = open_node(context, doing);
  if (!node) return node.error();
  auto seen = (*node)->look();
  if (!seen) return seen.error().in(doing);
  auto judged = (*node)->judge(*seen);
  if (!judged) return judged.error().in(doing);
  return services_json(*seen, *judged);
}

int list_services(const Context& context) {
  auto json = services(context, "service ls");
  if (!json) return fail(json.error());
  if (context.document()) {
    print_document(std::cout, *json, context.output);
  } else if (json->empty()) {
    std::cerr << "No services: xdp-lb service add NAME --port 80:8000 --backend ADDRESS\n";
  } else {
    print_services(std::cout, *json, context.wide());
  }
  return kDone;
}

int show_service(const Context& context, const std::string& ns, const std::string& name) {
  const std::string doing = "service show " + name;
  auto json = services(context, doing);
  if (!json) return fail(json.error());
  Json found = Json::array();
  for (const Json& service : *json)
    if (service.at("name") == ns + "/" + name) found.push_back(service);
  if (found.empty()) return fail(Error{doing + ": there is no service " + ns + "/" + name + ": see xdp-lb service ls"});
  if (context.document()) {
    print_document(std::cout, found, context.output);
    return kDone;
  }
  print_services(std::cout, found, context.wide());
  for (const Json& service : found)
    if (const auto reason = service.at("reason").get<std::string>(); !reason.empty()) std::cout << "\n" << reason << "\n";
  std::cout << "\n";
  print_backends(std::cout, found, true);
  return kDone;
}

}  // namespace

void add_service(CLI::App& app, Context& context) {
  auto* noun = app.add_subcommand("service", "What VIPs serve");
  noun->require_subcommand(1);
  auto arguments = std::make_shared<ServiceArguments>();
  const auto name_options = [&arguments](CLI::App& verb) {
    verb.add_option("NAME", arguments->name, "Name of the service")->required();
    verb.add_option("-n,--namespace", arguments->ns, "Namespace of the service (default: default)");
  };

  auto* verb = noun->add_subcommand("add", "Declare a service and its backends (Service and EndpointSlice)");
  name_options(*verb);
  verb->add_option("--port", arguments->ports, "Port, with the backend's when it is another; may be given more than once")
      ->required()
      ->type_name("PORT[:TARGET][/udp]")
      ->allow_extra_args(false);
  verb->add_option("--backend", arguments->backends, "Address of a backend, with its node when it is not this one; may be given more than once")
      ->required()
      ->type_name("ADDRESS[@NODE]")
      ->allow_extra_args(false);
  verb->add_option("--vip", arguments->vips, "Ask for this address; may be given once a family")
      ->type_name("ADDRESS")
      ->allow_extra_args(false);
  verb->add_option("--pool", arguments->pool, "Ask for an address of this pool");
  verb->add_option("--share", arguments->share, "Services with the same key may share an address when their ports differ")
      ->type_name("KEY");
  verb->add_option("--affinity", arguments->affinity, "A client keeps its backend until it was silent for so long")
      ->type_name("SECONDS");
  verb->add_option("--source", arguments->sources, "Serve clients of this prefix only; may be given more than once")
      ->type_name("CIDR")
      ->allow_extra_args(false);
  verb->add_option("--health", arguments->health,
                   "The daemon asks each backend every second; one that fails twice gets no new flows: tcp, tcp:PORT, http:/PATH or "
                   "http:PORT/PATH:STATUS (without a status: 200 to 399)")
      ->type_name("CHECK");
  add_choice(*verb, context, "--path", "fast passes around netfilter, kernel does not; without it: fast where a veth is found",
             {{"fast", static_cast<int>(Path::fast)}, {"kernel", static_cast<int>(Path::kernel)}},
             [arguments](int path) { arguments->path = static_cast<Path>(path); });
  add_choice(*verb, context, "--unknown-ports", "What happens to other ports of the VIP: refused (default), dropped, or left to kube-proxy",
             {{"reject", static_cast<int>(UnknownPorts::reject)},
              {"drop", static_cast<int>(UnknownPorts::drop)},
              {"fall-back", static_cast<int>(UnknownPorts::fall_back)}},
             [arguments](int what) { arguments->unknown_ports = static_cast<UnknownPorts>(what); });
  verb->callback([&context, arguments] { context.action = [&context, arguments] { return declare_service(context, *arguments); }; });

  verb = noun->add_subcommand("rm", "Take a service and its backends away; its address is free again");
  name_options(*verb);
  verb->callback([&context, arguments] {
    context.action = [&context, arguments] { return remove_service(context, arguments->ns, arguments->name); };
  });

  verb = noun->add_subcommand("ls", "List the services");
  add_output(*verb, context);
  verb->callback([&context] { context.action = [&context] { return list_services(context); }; });

  verb = noun->add_subcommand("show", "Show a service, its backends, and why it has no address or no backend");
  name_options(*verb);
  add_output(*verb, context);
  verb->callback([&context, arguments] {
    context.action = [&context, arguments] { return show_service(context, arguments->ns, arguments->name); };
  });
}

}  // namespace xlb
