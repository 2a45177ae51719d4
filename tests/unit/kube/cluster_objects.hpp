// SPDX-License-Identifier: Apache-2.0
// Objects as an API server holds them, and a client to look at them with.
#pragma once

#include <memory>
#include <string>

#include "tests/unit/kube/fake_api.hpp"
#include "userspace/kube/api_server.hpp"

namespace xlb {

nlohmann::json service_json(const std::string& name, const std::string& ingress = {});
nlohmann::json slice_json(const std::string& service, const std::string& address);
nlohmann::json node_json(const std::string& name, const std::string& address);
nlohmann::json pool_json(const std::string& name, const std::string& range);

// A service with an EndpointSlice, a node, a pool, an advertisement: enough for a VIP.
void put_small_cluster(FakeApi& api);

// In a hurry: milliseconds where the default has seconds.
ApiSettings hasty();
ApiCredentials credentials_for(const FakeApi& api);

// Drains until `enough` or for ten seconds; false: it did not come to it.
bool wait_until(ApiServer& server, const std::function<bool()>& enough);
// The state of a client that has just come.
std::shared_ptr<const ApiState> fresh_state(const FakeApi& api);
// The server is left alone by its hook, and the client sees what a newcomer sees.
bool agrees(ApiServer& server, const FakeApi& api);

}  // namespace xlb
