// SPDX-License-Identifier: Apache-2.0
// Serves one page, /metrics, to Prometheus, on the loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "userspace/daemon/http_server.hpp"

namespace xlb {

// The whole answer to a request head; `page` is called when the page is asked for.
std::string metrics_response(std::string_view request, const std::function<std::string()>& page);

class MetricsServer {
 public:
  static constexpr auto kPageKept = std::chrono::seconds(1);  // a page costs a few hundred system calls

  static Result<std::unique_ptr<MetricsServer>> open(Loop& loop, const ListenAddress& at, std::function<std::string()> page);

  [[nodiscard]] std::uint16_t port() const { return server_->port(); }

 private:
  explicit MetricsServer(std::function<std::string()> page) : page_(std::move(page)) {}
  const std::string& page();

  std::function<std::string()> page_;
  std::string kept_;
  Loop::Clock::time_point kept_at_{};
  std::unique_ptr<HttpServer> server_;
};

}  // namespace xlb
