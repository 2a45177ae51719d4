// SPDX-License-Identifier: Apache-2.0
// Serves one page, /metrics, to Prometheus, on the loop. Whoever is slow, long-winded or one too many is cut off.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "userspace/core/address.hpp"
#include "userspace/core/result.hpp"
#include "userspace/daemon/loop.hpp"

namespace xlb {

struct ListenAddress {
  Address address;
  std::uint16_t port = 0;
  [[nodiscard]] std::string text() const;
};
// "127.0.0.1:7472", "[::1]:7472".
Result<ListenAddress> parse_listen_address(std::string_view text);

// The whole answer to a request head; `page` is called when the page is asked for.
std::string metrics_response(std::string_view request, const std::function<std::string()>& page);

class MetricsServer {
 public:
  static constexpr std::size_t kConnections = 8;
  static constexpr std::size_t kRequestBytes = 8192;
  static constexpr auto kPatience = std::chrono::seconds(5);  // for a whole request and its answer
  static constexpr auto kPageKept = std::chrono::seconds(1);  // a page costs a few hundred system calls

  static Result<std::unique_ptr<MetricsServer>> open(Loop& loop, const ListenAddress& at, std::function<std::string()> page);
  MetricsServer(const MetricsServer&) = delete;
  MetricsServer& operator=(const MetricsServer&) = delete;
  ~MetricsServer();

  [[nodiscard]] std::uint16_t port() const { return port_; }  // the one that was given, when 0 was asked for

 private:
  struct Connection {
    std::string in;
    std::string out;
    Loop::Timer deadline = 0;
  };
  MetricsServer(Loop& loop, int fd, std::function<std::string()> page) : loop_(loop), fd_(fd), page_(std::move(page)) {}
  void accept_one();
  void serve(int fd);
  bool read(int fd, Connection& connection);   // false: done with it
  bool write(int fd, Connection& connection);
  std::string page();
  void drop(int fd);

  Loop& loop_;
  int fd_;
  std::uint16_t port_ = 0;
  std::function<std::string()> page_;
  std::map<int, Connection> connections_;
  std::string kept_;
  Loop::Clock::time_point kept_at_{};
};

}  // namespace xlb
