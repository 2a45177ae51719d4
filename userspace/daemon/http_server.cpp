// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/http_server.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <utility>

namespace xlb {

namespace {

std::string response(const HttpAnswer& answer, bool head_only) {
  std::string text = "HTTP/1.1 " + answer.status + "\r\nContent-Type: " + answer.type + "\r\n" + answer.more +
                     "Content-Length: " + std::to_string(answer.body.size()) + "\r\nConnection: close\r\n\r\n";
  return head_only ? text : text + answer.body;
}

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

SocketAddress address_of(const ListenAddress& at) {
  SocketAddress result;
  if (at.address.family() == Family::ipv4) {
    auto& four = reinterpret_cast<sockaddr_in&>(result.storage);
    four.sin_family = AF_INET;
    four.sin_port = htons(at.port);
    std::memcpy(&four.sin_addr, at.address.bytes.data() + 12, 4);
    result.length = sizeof four;
  } else {
    auto& six = reinterpret_cast<sockaddr_in6&>(result.storage);
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(at.port);
    std::memcpy(&six.sin6_addr, at.address.bytes.data(), 16);
    result.length = sizeof six;
  }
  return result;
}

}  // namespace

std::string ListenAddress::text() const {
  const std::string host = address.family() == Family::ipv4 ? address.text() : "[" + address.text() + "]";
  return host + ":" + std::to_string(port);
}

Result<ListenAddress> parse_listen_address(std::string_view text) {
  const auto wrong = [&](const std::string& why) {
    return Error{"\"" + std::string(text) + "\": " + why + ": write ADDRESS:PORT, as in 127.0.0.1:7472 or [::1]:7472, or off"};
  };
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong("the port is missing");
  std::string_view host = text.substr(0, colon), port = text.substr(colon + 1);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  ListenAddress result;
  const auto [end, problem] = std::from_chars(port.data(), port.data() + port.size(), result.port);
  if (problem != std::errc() || end != port.data() + port.size() || result.port == 0)
    return wrong("the port is not one of 1 to 65535");
  auto address = parse_address(host);
  if (!address) return wrong("the address is not one");
  if ((address->family() == Family::ipv6) != bracketed) return wrong("an IPv6 address, and no other, stands in brackets");
  result.address = *address;
  return result;
}

std::string http_response(std::string_view request, const std::function<HttpAnswer(std::string_view target)>& page) {
  const std::string_view line = request.substr(0, request.find("\r\n"));
  const auto first = line.find(' '), second = line.rfind(' ');
  if (first == std::string_view::npos || second == first || !line.substr(second + 1).starts_with("HTTP/1."))
    return response({"400 Bad Request", kPlainText, "not an HTTP/1 request\n"}, false);
  const std::string_view method = line.substr(0, first);
  if (method != "GET" && method != "HEAD") return response({"405 Method Not Allowed", kPlainText, "only GET\n"}, false);
  const std::string_view target = line.substr(first + 1, second - first - 1);
  return response(page(target.substr(0, target.find('?'))), method == "HEAD");
}

Result<std::unique_ptr<HttpServer>> HttpServer::open(Loop& loop, const ListenAddress& at,
                                                     std::function<std::string(std::string_view)> respond) {
  const auto failed = [&] { return Error{at.text() + ": " + std::strerror(errno)}; };
  SocketAddress address = address_of(at);
  constexpr int kind = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
  int fd = socket(address.storage.ss_family, kind, 0);
  if (fd < 0 && errno == EAFNOSUPPORT && at.address == Address()) {  // a kernel without IPv6
    address = address_of({*parse_address("0.0.0.0"), at.port});
    fd = socket(AF_INET, kind, 0);
  }
  if (fd < 0) return failed();
  const int yes = 1, no = 0;  // a restart must not wait for connections of the process before
  (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (at.address == Address()) (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof no);
  if (bind(fd, address.get(), address.length) != 0 || listen(fd, 16) != 0) {
    Error error = failed();
    close(fd);
    return error;
  }
  std::unique_ptr<HttpServer> server(new HttpServer(loop, fd, std::move(respond)));
  sockaddr_in6 bound{};  // the port stands at the same place in both families
  socklen_t length = sizeof bound;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length) == 0) server->port_ = ntohs(bound.sin6_port);
  if (auto watched = loop.watch(fd, EPOLLIN, [raw = server.get()](std::uint32_t) { raw->accept_one(); }); !watched)
    return watched.error();
  return server;
}

HttpServer::~HttpServer() {
  loop_.forget(fd_);
  close(fd_);
  while (!connections_.empty()) drop(connections_.begin()->first);
}

void HttpServer::accept_one() {
  const int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  if (connections_.size() >= kConnections) drop_oldest();
  connections_[fd].deadline = loop_.at(Loop::Clock::now() + kPatience, [this, fd] { drop(fd); });
  if (auto watched = loop_.watch(fd, EPOLLIN, [this, fd](std::uint32_t) { serve(fd); }); !watched) drop(fd);
}

void HttpServer::drop_oldest() {
  const auto oldest = std::min_element(connections_.begin(), connections_.end(),
                                       [](const auto& a, const auto& b) { return a.second.deadline < b.second.deadline; });
  drop(oldest->first);
}

void HttpServer::serve(int fd) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return;
  Connection& connection = found->second;
  const bool more = connection.out.empty() ? read(fd, connection) : write(fd, connection);
  if (!more) drop(fd);
}

bool HttpServer::read(int fd, Connection& connection) {
  std::array<char, 4096> buffer;
  const ssize_t length = recv(fd, buffer.data(), buffer.size(), 0);
  if (length < 0) return errno == EAGAIN || errno == EINTR;
  if (length == 0) return false;
  connection.in.append(buffer.data(), static_cast<std::size_t>(length));
  if (connection.in.find("\r\n\r\n") == std::string::npos) return connection.in.size() < kRequestBytes;
  connection.out = respond_(connection.in);
  return write(fd, connection);
}

bool HttpServer::write(int fd, Connection& connection) {
  while (!connection.out.empty()) {
    const ssize_t sent = send(fd, connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno != EAGAIN) return false;
    if (sent < 0) return static_cast<bool>(loop_.watch(fd, EPOLLOUT, [this, fd](std::uint32_t) { serve(fd); }));
    connection.out.erase(0, static_cast<std::size_t>(sent));
  }
  return false;
}

void HttpServer::drop(int fd) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return;
  loop_.cancel(found->second.deadline);
  connections_.erase(found);
  loop_.forget(fd);
  close(fd);
}

}  // namespace xlb
