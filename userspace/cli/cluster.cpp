// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <iostream>
#include <thread>

#include "userspace/cli/command.hpp"
#include "userspace/cli/view.hpp"

namespace xlb {

namespace {

using namespace std::chrono_literals;

constexpr const char* kNoDaemon =
    "no daemon runs, and it takes one to agree with other nodes: systemctl start xdp-lb";

// ---- why
// ------------------------------------------------------------------------------------------------------------------

// What the daemon knows of a VIP, else what the tables and declarations of this node say. null: it is none.
Result<Json> why_vip(const Context& context, const std::string& doing, const Observation& seen,
                     const Judgement& judged, const Address& vip) {
  auto told = ask_cluster(context, doing, WhyRequest{vip});
  if (!told || !told->is_null()) return told;
  return why_json(seen, judged, vip);
}

void print_vip(const Json& vip) {
  const auto owner = vip.at("owner").get<std::string>(), reason = vip.at("reason").get<std::string>();
  std::cout << vip.at("vip").get<std::string>() << (owner.empty() ? " has no owner" : " is answered for by " + owner)
            << (reason.empty() ? "" : ": " + reason) << "\n\n";
  Table table({{"RANK", false, true}, {"NODE"}, {"ELIGIBLE"}, {"REASON"}});
  for (const Json& candidate : vip.at("candidates")) {
    const bool eligible = candidate.at("eligible").get<bool>();
    const auto rank = candidate.at("rank").get<std::size_t>();
    table.row({rank == 0 ? std::string() : std::to_string(rank), candidate.at("node").get<std::string>(),
               Cell(eligible ? "yes" : "no", eligible ? Tone::good : Tone::bad),
               candidate.at("reason").get<std::string>()});
  }
  table.print(std::cout, false, colour_wanted());
}

int why_address(const Context& context, const std::string& doing, const Observation& seen, const Judgement& judged,
                const Address& vip) {
  auto json = why_vip(context, doing, seen, judged, vip);
  if (!json) return fail(json.error());
  if (json->is_null()) {
    const auto conflict = seen.state.conflicts.find(vip);
    return fail(Error{doing + ": " +
                      (conflict != seen.state.conflicts.end() ? "not given to any service: " + conflict->second
                                                              : "no service holds it: see xdp-lb status")});
  }
  if (context.document())
    print_document(std::cout, *json, context.output);
  else
    print_vip(*json);
  return kDone;
}

int why_service(const Context& context, const std::string& doing, const Observation& seen, const Judgement& judged,
                const ObjectName& name) {
  const auto& services = seen.objects.services;
  if (std::none_of(services.begin(), services.end(), [&](const Service& service) { return service.name == name; }))
    return fail(Error{doing + ": there is no service " + name.text() + ": see xdp-lb service ls"});
  Json vips = Json::array();
  if (const auto held = judged.state.held.find(name); held != judged.state.held.end())
    for (const Address& address : held->second.addresses) {
      auto vip = why_vip(context, doing, seen, judged, address);
      if (!vip) return fail(vip.error());
      if (!vip->is_null()) vips.push_back(std::move(*vip));
    }
  const auto refusal = judged.desired.refusals.find(name);
  const std::string reason = refusal == judged.desired.refusals.end() ? "" : refusal->second;
  if (context.document()) {
    print_document(std::cout, {{"service", name.text()}, {"reason", reason}, {"vips", vips}}, context.output);
    return kDone;
  }
  if (vips.empty()) std::cout << name.text() << " has no address" << (reason.empty() ? "" : ": " + reason) << "\n";
  for (std::size_t i = 0; i < vips.size(); ++i) {
    if (i > 0) std::cout << "\n";
    print_vip(vips[i]);
  }
  return kDone;
}

int why(const Context& context, const std::string& subject, const std::string& ns) {
  const std::string doing = "why " + subject;
  auto node = open_node(context, doing);
  if (!node) return fail(node.error());
  auto seen = (*node)->look();
  if (!seen) return fail(seen.error().in(doing));
  auto judged = (*node)->judge(*seen);
  if (!judged) return fail(judged.error().in(doing));
  for (const std::string& warning : seen->warnings) warn(warning);
  if (const auto vip = parse_address(subject)) return why_address(context, doing, *seen, *judged, *vip);
  const auto slash = subject.find('/');
  const ObjectName name = slash == std::string::npos
                              ? ObjectName{ns, subject}
                              : ObjectName{subject.substr(0, slash), subject.substr(slash + 1)};
  return why_service(context, doing, *seen, *judged, name);
}

// ---- drain
// ----------------------------------------------------------------------------------------------------------------

std::string left_text(const Json& left) {
  std::string text;
  for (const Json& vip : left)
    text += "\n  " + vip.at("vip").get<std::string>() + ": " + vip.at("reason").get<std::string>();
  return text;
}

// Of the node as its declarations have it, an API server's or a manifest's.
Result<bool> cordoned(const Context& context) {
  auto node = open_node(context, "drain");
  if (!node) return node.error();
  auto seen = (*node)->look();
  if (!seen) return seen.error();
  const auto& nodes = seen->objects.nodes;
  return std::any_of(nodes.begin(), nodes.end(), [&](const Node& one) { return one.name == context.settings.node && one.cordoned; });
}

int drain(const Context& context, const std::string& timeout, bool if_cordoned) {
  if (if_cordoned) {
    auto emptied = cordoned(context);
    if (!emptied) return fail(emptied.error().in("drain --if-cordoned"));
    if (!*emptied) {
      std::cout << "This node is not cordoned, so it goes on answering: what it answers for stays in force without a daemon\n";
      return kDone;
    }
  }
  auto patience = parse_duration(timeout);
  if (!patience) return usage(patience.error().in("drain --timeout"));
  const auto deadline = std::chrono::steady_clock::now() + *patience;
  std::string said;
  for (;;) {
    // Asking again does no harm: the daemon hands over at its own pace and says how far it is.
    auto told = ask_cluster(context, "drain", DrainRequest{if_cordoned});
    if (!told) return fail(told.error());
    if (told->is_null()) return fail(Error{std::string("drain: ") + kNoDaemon});
    const auto state = told->at("state").get<std::string>();
    const Json& left = told->at("left");
    if (left.empty()) {
      std::cout
          << "This node answers for no VIP any more; flows that it has go on. To take part again: xdp-lb undrain\n";
      return kDone;
    }
    if (state == "stranded")
      return fail(
          Error{"drain: nobody else can take these, so this node goes on answering for them:" + left_text(left)});
    if (std::chrono::steady_clock::now() >= deadline)
      return fail(Error{"drain: not done after " + timeout + "; the node goes on handing over:" + left_text(left)});
    if (const std::string now = left_text(left); now != said) {
      std::cout << "Still answered for here:" << now << "\n";
      said = now;
    }
    std::this_thread::sleep_for(100ms);
  }
}

int undrain(const Context& context) {
  auto told = ask_cluster(context, "undrain", UndrainRequest{});
  if (!told) return fail(told.error());
  if (told->is_null()) return fail(Error{std::string("undrain: ") + kNoDaemon});
  std::cout << "This node may answer for VIPs again; those that it is the best for come back after a while\n";
  return kDone;
}

}  // namespace

void add_cluster(CLI::App& app, Context& context) {
  auto* command = app.add_subcommand(
      "why",
      "Say who answers for a VIP and why, with every node that could; of a service, also why it has no address");
  auto subject = std::make_shared<std::string>();
  auto ns = std::make_shared<std::string>("default");
  command->add_option("VIP|SERVICE", *subject, "An address, or the name of a service (NAMESPACE/NAME or NAME)")
      ->required();
  command->add_option("-n,--namespace", *ns, "Namespace of the service (default: default)");
  add_output(*command, context);
  command->callback(
      [&context, subject, ns] { context.action = [&context, subject, ns] { return why(context, *subject, *ns); }; });

  command = app.add_subcommand(
      "drain", "Hand this node's VIPs over to other nodes without losing a connection, and wait until that is done");
  auto timeout = std::make_shared<std::string>("30s");
  command->add_option("--timeout", *timeout, "How long to wait, such as 30s or 2m (default: 30s)")
      ->type_name("DURATION");
  auto if_cordoned = std::make_shared<bool>(false);
  command->add_flag("--if-cordoned", *if_cordoned, "Only if Kubernetes is emptying this node (kubectl cordon, kubectl drain); for preStop");
  command->callback([&context, timeout, if_cordoned] {
    context.action = [&context, timeout, if_cordoned] { return drain(context, *timeout, *if_cordoned); };
  });

  command = app.add_subcommand("undrain", "Let this node answer for VIPs again");
  command->callback([&context] { context.action = [&context] { return undrain(context); }; });
}

}  // namespace xlb
