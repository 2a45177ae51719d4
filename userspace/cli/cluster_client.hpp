// SPDX-License-Identifier: Apache-2.0
// An API server for a command that does one thing after the other: asks and waits for the answer.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "userspace/core/tree.hpp"
#include "userspace/kube/api_server.hpp"
#include "userspace/kube/json.hpp"

namespace xlb {

class ClusterClient {
 public:
  // `stop`: asked while it waits; true ends the waiting.
  static Result<ClusterClient> connect(const ApiCredentials& credentials, const std::string& ns, std::function<bool()> stop);

  ApiAnswer ask(ApiRequest request);
  // All pages; a kind that the server does not know has none.
  Result<std::vector<TreeNode>> list(const std::string& collection, const LeaveOut& leave_out);
  // What is watched; waits for the first.
  Result<std::shared_ptr<const ApiState>> state();
  // Until the state is so; false: the time is over, or it was stopped.
  bool until(const std::function<bool(const ApiState&)>& so, std::chrono::milliseconds patience);
  [[nodiscard]] bool stopped() const { return stop_(); }

 private:
  ClusterClient(std::unique_ptr<ApiServer> server, std::function<bool()> stop) : server_(std::move(server)), stop_(std::move(stop)) {}
  void turn(std::chrono::milliseconds longest);

  std::unique_ptr<ApiServer> server_;
  std::function<bool()> stop_;
};

}  // namespace xlb
