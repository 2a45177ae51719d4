// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/control.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "userspace/daemon/request.hpp"
#include "userspace/daemon/settings.hpp"

namespace xlb {

namespace {

Result<sockaddr_un> socket_address(const std::filesystem::path& file) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string& path = file.native();
  if (path.size() >= sizeof(address.sun_path))
    return Error{"control socket " + path + ": the path is longer than " + std::to_string(sizeof(address.sun_path) - 1) +
                 " bytes: choose a shorter --run-dir"};
  path.copy(address.sun_path, path.size());
  return address;
}

Error socket_error(const std::filesystem::path& file) {
  return Error{"control socket " + file.string() + ": " + std::strerror(errno)};
}

}  // namespace

Result<std::unique_ptr<ControlServer>> ControlServer::open(Loop& loop, const std::filesystem::path& file,
                                                           Handlers handlers) {
  auto address = socket_address(file);
  if (!address) return address.error();
  if (auto made = make_folder(file.parent_path()); !made) return made.error();
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return socket_error(file);
  // The caller holds the daemon lock, so nobody alive listens there.
  unlink(file.c_str());
  const mode_t before = umask(0177);
  const int bound = bind(fd, reinterpret_cast<const sockaddr*>(&*address), sizeof(*address));
  umask(before);
  if (bound != 0 || listen(fd, 16) != 0) {
    Error error = socket_error(file);
    close(fd);
    return error;
  }
  std::unique_ptr<ControlServer> server(new ControlServer(loop, file, fd, std::move(handlers)));
  if (auto watched = loop.watch(fd, EPOLLIN, [raw = server.get()](std::uint32_t) { raw->accept_one(); }); !watched)
    return watched.error();
  return server;
}

ControlServer::~ControlServer() {
  loop_.forget(fd_);
  close(fd_);
  unlink(file_.c_str());
  for (const auto& [connection, peer] : peers_) {
    loop_.forget(connection);
    close(connection);
  }
}

void ControlServer::accept_one() {
  const int fd = accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (fd < 0) return;
  ucred who{};
  socklen_t size = sizeof(who);
  const bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == 0 && (who.uid == 0 || who.uid == geteuid());
  if (!known || peers_.size() >= kConnections) {
    const std::string line = encode(Error{!known ? "control socket: only root may change this node: use sudo"
                                                 : "control socket: too many connections: try again"});
    // A courtesy; who does not read it sees the end of the connection.
    (void)::send(fd, line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
    return;
  }
  peers_[fd];
  if (auto watched = loop_.watch(fd, EPOLLIN, [this, fd](std::uint32_t events) { serve(fd, events); }); !watched) drop(fd);
}

void ControlServer::serve(Connection connection, std::uint32_t events) {
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) && !read_lines(connection)) return drop(connection);
  if (peers_.contains(connection) && !flush(connection)) drop(connection);
}

// False: the other side is gone, or talks nonsense.
bool ControlServer::read_lines(Connection connection) {
  std::array<char, 65536> buffer;
  const ssize_t length = recv(connection, buffer.data(), buffer.size(), 0);
  if (length < 0) return errno == EAGAIN || errno == EINTR;
  if (length == 0) return false;
  Peer& peer = peers_[connection];
  peer.in.append(buffer.data(), static_cast<std::size_t>(length));
  for (;;) {
    const auto found = peers_.find(connection);  // a handler may drop it
    if (found == peers_.end()) return true;
    std::string& in = found->second.in;
    const auto end = in.find('\n');
    if (end == std::string::npos) return in.size() <= kControlLineBytes;
    const std::string line = in.substr(0, end);
    in.erase(0, end + 1);
    handlers_.line(connection, line);
  }
}

bool ControlServer::flush(Connection connection) {
  Peer& peer = peers_[connection];
  while (!peer.out.empty()) {
    const ssize_t sent = ::send(connection, peer.out.data(), peer.out.size(), MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return false;
      return static_cast<bool>(loop_.watch(connection, EPOLLIN | EPOLLOUT,
                                           [this, connection](std::uint32_t events) { serve(connection, events); }));
    }
    peer.out.erase(0, static_cast<std::size_t>(sent));
  }
  if (peer.finishing) return false;
  return static_cast<bool>(
      loop_.watch(connection, EPOLLIN, [this, connection](std::uint32_t events) { serve(connection, events); }));
}

void ControlServer::send(Connection connection, const std::string& line) {
  const auto peer = peers_.find(connection);
  if (peer == peers_.end()) return;
  peer->second.out += line;
  if (peer->second.out.size() > kBacklogBytes || !flush(connection)) drop(connection);
}

void ControlServer::finish(Connection connection) {
  const auto peer = peers_.find(connection);
  if (peer == peers_.end()) return;
  peer->second.finishing = true;
  if (peer->second.out.empty()) drop(connection);
}

void ControlServer::drop(Connection connection) {
  if (peers_.erase(connection) == 0) return;
  loop_.forget(connection);
  close(connection);
  handlers_.closed(connection);
}

Result<std::optional<ControlClient>> ControlClient::connect(const std::filesystem::path& file) {
  auto address = socket_address(file);
  if (!address) return address.error();
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return socket_error(file);
  ControlClient client(fd);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0) {
    // No file, or one that a dead daemon left. The run folder may also be closed to this user: then the command itself,
    // which needs more than that, says so.
    if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR) return std::optional<ControlClient>();
    return socket_error(file);
  }
  return std::optional<ControlClient>(std::move(client));
}

ControlClient::ControlClient(ControlClient&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), in_(std::move(other.in_)) {}

ControlClient::~ControlClient() {
  if (fd_ >= 0) close(fd_);
}

Result<void> ControlClient::send(const std::string& line) {
  std::size_t done = 0;
  while (done < line.size()) {
    const ssize_t sent = ::send(fd_, line.data() + done, line.size() - done, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EPIPE || errno == ECONNRESET) return {};  // its last words may still be there to be read
      return Error{std::string("control socket: sending: ") + std::strerror(errno)};
    }
    done += static_cast<std::size_t>(sent);
  }
  return {};
}

std::optional<std::string> ControlClient::buffered_line() {
  const auto end = in_.find('\n');
  if (end == std::string::npos) return std::nullopt;
  std::string line = in_.substr(0, end);
  in_.erase(0, end + 1);
  return line;
}

Result<bool> ControlClient::receive() {
  std::array<char, 65536> buffer;
  const ssize_t length = recv(fd_, buffer.data(), buffer.size(), 0);
  if (length < 0) {
    if (errno == EINTR) return true;
    if (errno == ECONNRESET) return false;
    return Error{std::string("control socket: receiving: ") + std::strerror(errno)};
  }
  in_.append(buffer.data(), static_cast<std::size_t>(length));
  return length > 0;
}

Result<std::optional<std::string>> ControlClient::line() {
  for (;;) {
    if (auto line = buffered_line()) return line;
    auto more = receive();
    if (!more) return more.error();
    if (!*more) return std::optional<std::string>();
  }
}

}  // namespace xlb
