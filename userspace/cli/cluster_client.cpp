// SPDX-License-Identifier: Apache-2.0
#include "userspace/cli/cluster_client.hpp"

#include <poll.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "userspace/kube/percent.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kFirstState = 30'000ms;
constexpr auto kTurn = 100ms;
constexpr int kAgain = 2;  // a list that was not answered; reading does no harm
constexpr const char* kPage = "limit=100";  // Pods and their like: an answer has room for 4 MiB

}  // namespace

Result<ClusterClient> ClusterClient::connect(const ApiCredentials& credentials, const std::string& ns, std::function<bool()> stop) {
  ApiSettings settings;
  settings.ns = ns;
  auto server = ApiServer::connect(credentials, std::move(settings));
  if (!server) return server.error();
  return ClusterClient(std::move(*server), std::move(stop));
}

void ClusterClient::turn(std::chrono::milliseconds longest) {
  pollfd ready{server_->ready_fd(), POLLIN, 0};
  (void)poll(&ready, 1, static_cast<int>(std::max(longest, 0ms).count()));
  server_->drain();
}

ApiAnswer ClusterClient::ask(ApiRequest request) {
  std::optional<ApiAnswer> answer;
  server_->request(std::move(request), [&answer](const ApiAnswer& said) { answer = said; });
  while (!answer) turn(kTurn);  // a request ends by itself, by its timeout at the latest
  return std::move(*answer);
}

Result<std::vector<TreeNode>> ClusterClient::list(const std::string& collection, const LeaveOut& leave_out) {
  std::vector<TreeNode> items;
  std::string more;
  do {
    ApiRequest request;
    request.path = collection + kPage + (more.empty() ? "" : "&continue=" + percent_encoded(more));
    ApiAnswer answer = ask(request);
    for (int again = 0; again < kAgain && answer.unknown() && !stop_(); ++again) answer = ask(request);
    if (answer.gone()) return items;
    if (!answer.good()) return Error{answer.error};
    auto page = parse_list(answer.body, leave_out, [&items](TreeNode item) { items.push_back(std::move(item)); });
    if (!page) return page.error().in(collection);
    more = page->more;
  } while (!more.empty());
  return items;
}

Result<std::shared_ptr<const ApiState>> ClusterClient::state() {
  const auto end = Clock::now() + kFirstState;
  while (!server_->state()) {
    if (stop_()) return Error{"stopped"};
    if (Clock::now() >= end) {
      const std::string trouble = server_->contact().trouble;
      return Error{"the API server cannot be read: " + (trouble.empty() ? "no answer within 30 s" : trouble)};
    }
    turn(kTurn);
  }
  return server_->state();
}

bool ClusterClient::until(const std::function<bool(const ApiState&)>& so, std::chrono::milliseconds patience) {
  const auto end = Clock::now() + patience;
  for (;;) {
    const auto state = server_->state();
    if (state && so(*state)) return true;
    if (stop_() || Clock::now() >= end) return false;
    turn(std::min(kTurn, std::chrono::ceil<std::chrono::milliseconds>(end - Clock::now())));
  }
}

}  // namespace xlb
