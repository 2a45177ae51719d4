// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/metrics_server.hpp"

#include <utility>

namespace xlb {

std::string metrics_response(std::string_view request, const std::function<std::string()>& page) {
  return http_response(request, [&](std::string_view target) -> HttpAnswer {
    if (target != "/metrics") return {"404 Not Found", kPlainText, "there is only /metrics here\n"};
    return {"200 OK", "text/plain; version=0.0.4; charset=utf-8", page()};
  });
}

Result<std::unique_ptr<MetricsServer>> MetricsServer::open(Loop& loop, const ListenAddress& at, std::function<std::string()> page) {
  std::unique_ptr<MetricsServer> made(new MetricsServer(std::move(page)));
  auto server = HttpServer::open(loop, at, [self = made.get()](std::string_view request) {
    return metrics_response(request, [self] { return self->page(); });
  });
  if (!server) return server.error().in("metrics");
  made->server_ = std::move(*server);
  return made;
}

const std::string& MetricsServer::page() {
  const auto now = Loop::Clock::now();
  if (kept_.empty() || now - kept_at_ >= kPageKept) {
    kept_ = page_();
    kept_at_ = now;
  }
  return kept_;
}

}  // namespace xlb
