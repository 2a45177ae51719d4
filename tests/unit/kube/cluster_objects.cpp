// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/kube/cluster_objects.hpp"

#include <poll.h>

namespace xlb {

using namespace std::chrono_literals;
using Json = nlohmann::json;

Json service_json(const std::string& name, const std::string& ingress) {
  Json service = Json::parse(R"({"metadata": {"namespace": "shop"}, "spec": {"type": "LoadBalancer",
    "clusterIP": "10.43.0.10", "clusterIPs": ["10.43.0.10"], "ports": [{"port": 80, "targetPort": 8080,
    "protocol": "TCP", "nodePort": 30080}], "selector": {"app": "web"}, "ipFamilies": ["IPv4"],
    "ipFamilyPolicy": "SingleStack", "externalTrafficPolicy": "Cluster", "sessionAffinity": "None"},
    "status": {"loadBalancer": {}}})");
  service["metadata"]["name"] = name;
  if (!ingress.empty()) {
    service["status"]["loadBalancer"]["ingress"] = Json::array({Json{{"ip", ingress}, {"ipMode", "VIP"}}});
  }
  return service;
}

Json slice_json(const std::string& service, const std::string& address) {
  Json slice = Json::parse(R"({"addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}],
    "metadata": {"namespace": "shop"}})");
  slice["metadata"]["name"] = service + "-1";
  slice["metadata"]["labels"]["kubernetes.io/service-name"] = service;
  slice["endpoints"] =
      Json::array({Json{{"addresses", {address}},
                        {"nodeName", "pi1"},
                        {"conditions", {{"ready", true}, {"serving", true}, {"terminating", false}}}}});
  return slice;
}

Json node_json(const std::string& name, const std::string& address) {
  Json node;
  node["metadata"]["name"] = name;
  node["status"]["addresses"] = Json::array(
      {Json{{"type", "InternalIP"}, {"address", address}}, Json{{"type", "Hostname"}, {"address", name}}});
  return node;
}

Json pool_json(const std::string& name, const std::string& range) {
  Json pool;
  pool["metadata"] = {{"name", name}, {"namespace", "metallb-system"}};
  pool["spec"]["addresses"] = Json::array({range});
  return pool;
}

void put_small_cluster(FakeApi& api) {
  api.put("services", service_json("web", "192.168.0.200"));
  api.put("endpointslices", slice_json("web", "10.42.0.7"));
  api.put("nodes", node_json("pi1", "192.168.0.11"));
  api.put("namespaces", Json{{"metadata", {{"name", "shop"}, {"labels", {{"team", "sales"}}}}}});
  api.put("ipaddresspools", pool_json("home", "192.168.0.200-192.168.0.250"));
  api.put("l2advertisements",
          Json{{"metadata", {{"name", "home"}, {"namespace", "metallb-system"}}}, {"spec", Json::object()}});
}

ApiSettings hasty() {
  ApiSettings settings;
  settings.gather = 2ms;
  settings.distance = 5ms;
  settings.pace.first_wait = 2ms;
  settings.pace.longest_wait = 200ms;
  settings.pace.longest_asked_wait = 2s;
  settings.pace.silence = 3s;
  settings.pace.settled = 50ms;
  return settings;
}

ApiCredentials credentials_for(const FakeApi& api) {
  ApiCredentials credentials;
  credentials.origin = "test";
  credentials.server = api.url();
  return credentials;
}

bool wait_until(ApiServer& server, const std::function<bool()>& enough) {
  const auto end = std::chrono::steady_clock::now() + 10s;
  while (!enough()) {
    if (std::chrono::steady_clock::now() > end) return false;
    pollfd ready{server.ready_fd(), POLLIN, 0};
    poll(&ready, 1, 10);
    server.drain();
  }
  return true;
}

std::shared_ptr<const ApiState> fresh_state(const FakeApi& api) {
  auto server = ApiServer::connect(credentials_for(api), hasty());
  if (!server || !wait_until(**server, [&] { return (*server)->state() != nullptr; })) return nullptr;
  return (*server)->state();
}

bool agrees(ApiServer& server, const FakeApi& api) {
  const auto fresh = fresh_state(api);
  return fresh && wait_until(server, [&] { return server.state() && *server.state() == *fresh; });
}

}  // namespace xlb
