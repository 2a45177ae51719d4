// SPDX-License-Identifier: Apache-2.0
// What the client of an API server sees, for stories: xlb_kube_probe KUBECONFIG [NODE]. Writes a line of JSON for
// each state, trouble and answer; reads requests, a line of JSON each; ends with its input.
#include <poll.h>
#include <unistd.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "userspace/config/kubeconfig.hpp"
#include "userspace/kube/api_server.hpp"

namespace {

using namespace xlb;
using Json = nlohmann::json;

Json texts_of(const std::vector<Address>& addresses) {
  Json list = Json::array();
  for (const Address& address : addresses) list.push_back(address.text());
  return list;
}

Json summary_of(const ApiState& state) {
  Json services = Json::object(), slices = Json::object(), nodes = Json::object(), pools = Json::array(),
       policed = Json::array(), leases = Json::object();
  for (const auto& [name, service] : *state.services) {
    services[name.text()] = {{"ingress", texts_of(service.ingress)}, {"contradiction", service.contradiction}};
  }
  for (const EndpointSlice& slice : state.objects.slices) {
    for (const Endpoint& endpoint : slice.endpoints) {
      slices[slice.service].push_back({{"address", endpoint.addresses.at(0).text()}, {"ready", endpoint.ready}});
    }
  }
  for (const Node& node : state.objects.nodes) nodes[node.name] = texts_of(node.addresses);
  for (const Pool& pool : state.objects.pools) pools.push_back(pool.name.name);
  for (const Address& address : *state.policed) policed.push_back(address.text());
  for (const auto& [name, lease] : *state.leases) {
    leases[name] = {{"holder", lease.holder}, {"uid", lease.identity.uid}, {"version", lease.identity.version}};
  }
  return {{"services", services},
          {"slices", slices},
          {"nodes", nodes},
          {"pools", pools},
          {"policed", policed},
          {"leases", leases},
          {"unreadable", state.unreadable},
          {"metallb_kinds", state.metallb_kinds}};
}

void ask(ApiServer& server, const Json& line) {
  using Verb = ApiRequest::Verb;
  const std::map<std::string, Verb> verbs = {{"get", Verb::get},
                                             {"create", Verb::create},
                                             {"replace", Verb::replace},
                                             {"merge", Verb::merge_patch},
                                             {"strategic", Verb::strategic_patch},
                                             {"apply", Verb::apply_patch},
                                             {"remove", Verb::remove}};
  ApiRequest request;
  request.verb = verbs.at(line.at("verb"));
  request.path = line.at("path");
  request.body = line.value("body", "");
  request.only_uid = line.value("uid", "");
  request.only_version = line.value("version", "");
  server.request(std::move(request), [](const ApiAnswer& answer) {
    const Json said = {
        {"status", answer.status}, {"reason", answer.reason}, {"error", answer.error}, {"body", answer.body}};
    std::cout << Json{{"answer", said}} << std::endl;
  });
}

void look(ApiServer& server) {
  const bool news = server.drain();
  for (const std::string& trouble : server.take_troubles()) std::cout << Json{{"trouble", trouble}} << std::endl;
  if (!news) return;
  const ApiCounters counters = server.counters();
  std::cout << Json{{"state", summary_of(*server.state())}, {"lists", counters.lists}, {"watches", counters.watches}}
            << std::endl;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const auto credentials = read_kubeconfig(argv[1]);
  ApiSettings settings;
  if (argc > 2) settings.node = argv[2];
  auto server = credentials ? ApiServer::connect(*credentials, settings)
                            : Result<std::unique_ptr<ApiServer>>(credentials.error());
  if (!server) {
    std::cerr << server.error().text << "\n";
    return 1;
  }
  std::string held;
  while (true) {
    pollfd waiting[] = {{(*server)->ready_fd(), POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
    if (poll(waiting, 2, -1) < 0) return 1;
    if (waiting[0].revents != 0) look(**server);
    if (waiting[1].revents == 0) continue;
    char bytes[4096];
    const ssize_t length = read(STDIN_FILENO, bytes, sizeof bytes);
    if (length <= 0) return 0;
    held.append(bytes, static_cast<std::size_t>(length));
    for (std::size_t end = held.find('\n'); end != std::string::npos; end = held.find('\n')) {
      ask(**server, Json::parse(held.substr(0, end)));
      held.erase(0, end + 1);
    }
  }
}
