// SPDX-License-Identifier: Apache-2.0
#include "userspace/kube/api_server.hpp"

#include <utility>

#include "userspace/kube/client.hpp"

namespace xlb {

ApiServer::ApiServer(std::unique_ptr<Client> client) : client_(std::move(client)) {}

ApiServer::~ApiServer() = default;

Result<std::unique_ptr<ApiServer>> ApiServer::connect(ApiCredentials credentials, ApiSettings settings) {
  auto client = Client::start(std::move(credentials), std::move(settings));
  if (!client) return client.error();
  return std::unique_ptr<ApiServer>(new ApiServer(std::move(*client)));
}

int ApiServer::ready_fd() const {
  return client_->ready_fd();
}

bool ApiServer::drain() {
  return client_->drain();
}

std::shared_ptr<const ApiState> ApiServer::state() const {
  return client_->state();
}

void ApiServer::request(ApiRequest request, std::function<void(const ApiAnswer&)> answered) {
  client_->request(std::move(request), std::move(answered));
}

std::vector<std::string> ApiServer::take_troubles() {
  return client_->take_troubles();
}

ApiContact ApiServer::contact() const {
  return client_->contact();
}

ApiCounters ApiServer::counters() const {
  return client_->counters();
}

}  // namespace xlb
