// SPDX-License-Identifier: Apache-2.0
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <string>
#include <vector>

#include "tests/lab/probe/loop.hpp"
#include "tests/lab/probe/verbs.hpp"

namespace xlb::probe {

namespace {

// Of both families.
Descriptor bound(int kind, std::uint16_t port) {
  Descriptor made(socket(AF_INET6, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1, off = 0;
  if (made.get() < 0) fail_errno("socket");
  setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  setsockopt(made.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  any.sin6_port = htons(port);
  if (bind(made.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0)
    fail_errno("port " + std::to_string(port));
  return made;
}

struct Client {
  Descriptor socket;
  std::string unsent;
  bool blocked = false;
};

class Server {
 public:
  explicit Server(const Echo& options)
      : greeting_(options.name + "\n"), name_(options.name), tcp_(bound(SOCK_STREAM, options.port)),
        udp_(bound(SOCK_DGRAM, options.port)) {
    if (listen(tcp_.get(), 4096) != 0) fail_errno("listen");
  }
  void run();

 private:
  void greet();
  void answer_datagrams();
  void answer(int fd);

  const std::string greeting_, name_;
  Descriptor tcp_, udp_, epoll_ = make_epoll();
  std::map<int, Client> clients_;
};

void Server::greet() {
  while (true) {
    Descriptor client(accept4(tcp_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    const int fd = client.get();
    if (fd < 0) return;
    if (send(fd, greeting_.data(), greeting_.size(), MSG_NOSIGNAL) < 0) continue;
    watch(epoll_, fd, EPOLLIN | EPOLLRDHUP, static_cast<std::uint64_t>(fd));
    clients_[fd].socket = std::move(client);
  }
}

void Server::answer_datagrams() {
  std::vector<char> data(65536);
  sockaddr_in6 from{};
  socklen_t length = sizeof from;
  ssize_t size = 0;
  while ((size = recvfrom(udp_.get(), data.data(), data.size(), 0, reinterpret_cast<sockaddr*>(&from), &length)) >= 0) {
    const std::string answer = name_ + std::string(data.data(), static_cast<std::size_t>(size));
    sendto(udp_.get(), answer.data(), answer.size(), 0, reinterpret_cast<const sockaddr*>(&from), length);
    length = sizeof from;
  }
}

void Server::answer(int fd) {
  Client& client = clients_.at(fd);
  if (client.unsent.empty()) {
    std::array<char, 65536> data{};
    const ssize_t size = recv(fd, data.data(), data.size(), 0);
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
      clients_.erase(fd);
      return;
    }
    client.unsent.assign(data.data(), static_cast<std::size_t>(size));
  }
  const ssize_t sent = send(fd, client.unsent.data(), client.unsent.size(), MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) {
    clients_.erase(fd);
    return;
  }
  client.unsent.erase(0, static_cast<std::size_t>(std::max<ssize_t>(sent, 0)));
  // Nothing more is read from a client that does not take what it has sent.
  const bool blocked = !client.unsent.empty();
  if (blocked != client.blocked) watch_for(epoll_, fd, blocked ? EPOLLOUT : EPOLLIN | EPOLLRDHUP);
  client.blocked = blocked;
}

void Server::run() {
  watch(epoll_, tcp_.get(), EPOLLIN, static_cast<std::uint64_t>(tcp_.get()));
  watch(epoll_, udp_.get(), EPOLLIN, static_cast<std::uint64_t>(udp_.get()));
  std::vector<epoll_event> events(256);
  while (!ended()) {
    const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), 1000);
    for (int index = 0; index < count; ++index) {
      const int fd = static_cast<int>(events[static_cast<std::size_t>(index)].data.u64);
      if (fd == tcp_.get()) {
        greet();
      } else if (fd == udp_.get()) {
        answer_datagrams();
      } else if (clients_.contains(fd)) {
        answer(fd);
      }
    }
  }
}

}  // namespace

nlohmann::json run(const Echo& options) {
  Server(options).run();
  return nlohmann::json::object();
}

}  // namespace xlb::probe
