// SPDX-License-Identifier: Apache-2.0
// Answers short HTTP requests on the loop, one a connection. Whoever is slow or long-winded is cut off; when one comes too many, who
// is here longest has to go, so that nobody keeps others out by keeping still.
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
  Address address;  // ::, unlike 0.0.0.0, is every address of both families
  std::uint16_t port = 0;
  [[nodiscard]] std::string text() const;
};
// "127.0.0.1:7472", "[::1]:7472".
Result<ListenAddress> parse_listen_address(std::string_view text);

// What an answer is made of. `more`: further header lines, each with its end.
struct HttpAnswer {
  std::string status;  // "200 OK"
  std::string type;
  std::string body;
  std::string more = {};
};
inline constexpr const char* kPlainText = "text/plain; charset=utf-8";

// The whole answer to a request head: what `page` says of its target (without the query), or a sentence where the request is none or
// is neither GET nor HEAD.
std::string http_response(std::string_view request, const std::function<HttpAnswer(std::string_view target)>& page);

class HttpServer {
 public:
  static constexpr std::size_t kConnections = 8;
  static constexpr std::size_t kRequestBytes = 8192;
  static constexpr auto kPatience = std::chrono::seconds(5);  // for a whole request and its answer

  // `respond`: from a request head to the whole answer.
  static Result<std::unique_ptr<HttpServer>> open(Loop& loop, const ListenAddress& at, std::function<std::string(std::string_view)> respond);
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;
  ~HttpServer();

  [[nodiscard]] std::uint16_t port() const { return port_; }  // the one that was given, when 0 was asked for

 private:
  struct Connection {
    std::string in;
    std::string out;
    Loop::Timer deadline = 0;  // of a later connection it is higher
  };
  HttpServer(Loop& loop, int fd, std::function<std::string(std::string_view)> respond)
      : loop_(loop), fd_(fd), respond_(std::move(respond)) {}
  void accept_one();
  void drop_oldest();
  void serve(int fd);
  bool read(int fd, Connection& connection);   // false: done with it
  bool write(int fd, Connection& connection);
  void drop(int fd);

  Loop& loop_;
  int fd_;
  std::uint16_t port_ = 0;
  std::function<std::string(std::string_view)> respond_;
  std::map<int, Connection> connections_;
};

}  // namespace xlb
