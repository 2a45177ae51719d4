// SPDX-License-Identifier: Apache-2.0
#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <map>
#include <vector>

#include "tests/lab/probe/loop.hpp"
#include "tests/lab/probe/verbs.hpp"

namespace xlb::probe {

namespace {

Descriptor bound(int kind, std::uint16_t port) {
  Descriptor made(socket(AF_INET, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const int on = 1;
  if (made.get() < 0) fail_errno("socket");
  setsockopt(made.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in any = address_of("0.0.0.0", port);
  if (bind(made.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any) != 0)
    fail_errno("port " + std::to_string(port));
  return made;
}

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
  std::map<int, Descriptor> clients_;
};

void Server::greet() {
  while (true) {
    Descriptor client(accept4(tcp_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    const int fd = client.get();
    if (fd < 0) return;
    if (send(fd, greeting_.data(), greeting_.size(), MSG_NOSIGNAL) < 0) continue;
    watch(epoll_, fd, EPOLLIN | EPOLLRDHUP, static_cast<std::uint64_t>(fd));
    clients_.insert_or_assign(fd, std::move(client));
  }
}

void Server::answer_datagrams() {
  std::array<char, 2048> data{};
  sockaddr_in from{};
  socklen_t length = sizeof from;
  ssize_t size = 0;
  while ((size = recvfrom(udp_.get(), data.data(), data.size(), 0, reinterpret_cast<sockaddr*>(&from), &length)) >= 0) {
    const std::string answer = name_ + std::string(data.data(), static_cast<std::size_t>(size));
    sendto(udp_.get(), answer.data(), answer.size(), 0, reinterpret_cast<const sockaddr*>(&from), length);
    length = sizeof from;
  }
}

void Server::answer(int fd) {
  std::array<char, 4096> data{};
  const ssize_t size = recv(fd, data.data(), data.size(), 0);
  if (size < 0 && errno == EAGAIN) return;
  if (size <= 0 || send(fd, data.data(), static_cast<std::size_t>(size), MSG_NOSIGNAL) < 0) clients_.erase(fd);
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
      } else {
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
