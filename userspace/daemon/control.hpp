// SPDX-License-Identifier: Apache-2.0
// The control socket: a UNIX stream socket in the run folder, one line in, lines out. Only root and the daemon's own user
// are heard, by the credentials that the kernel vouches for. What the lines say is in request.hpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "userspace/daemon/loop.hpp"

namespace xlb {

class ControlServer {
 public:
  using Connection = int;
  struct Handlers {
    std::function<void(Connection, const std::string& line)> line;
    std::function<void(Connection)> closed;
  };

  // Takes the place of a socket file that a dead daemon left.
  static Result<std::unique_ptr<ControlServer>> open(Loop& loop, const std::filesystem::path& file, Handlers handlers);
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;
  ~ControlServer();

  // Queued when the other side reads slowly; past kBacklogBytes it is cut off, because a paused `trace` must not eat memory.
  void send(Connection connection, const std::string& line);
  // Closes when everything sent has gone.
  void finish(Connection connection);

  static constexpr std::size_t kConnections = 32;
  static constexpr std::size_t kBacklogBytes = 16u << 20;

 private:
  struct Peer {
    std::string in;
    std::string out;
    bool finishing = false;
  };
  ControlServer(Loop& loop, std::filesystem::path file, int fd, Handlers handlers)
      : loop_(loop), file_(std::move(file)), fd_(fd), handlers_(std::move(handlers)) {}
  void accept_one();
  void serve(Connection connection, std::uint32_t events);
  bool read_lines(Connection connection);
  bool flush(Connection connection);
  void drop(Connection connection);

  Loop& loop_;
  std::filesystem::path file_;
  int fd_;
  Handlers handlers_;
  std::map<Connection, Peer> peers_;
};

class ControlClient {
 public:
  // Nothing: no daemon runs.
  static Result<std::optional<ControlClient>> connect(const std::filesystem::path& file);
  ControlClient(ControlClient&& other) noexcept;
  ControlClient& operator=(ControlClient&&) = delete;
  ControlClient(const ControlClient&) = delete;
  ~ControlClient();

  Result<void> send(const std::string& line);
  // The next line without its end; nothing: the daemon closed. Waits as long as it takes.
  Result<std::optional<std::string>> line();
  // A line that is complete already, without reading from the socket.
  std::optional<std::string> buffered_line();
  // Reads once what is there; false: the daemon closed.
  Result<bool> receive();
  [[nodiscard]] int fd() const { return fd_; }

 private:
  explicit ControlClient(int fd) : fd_(fd) {}
  int fd_;
  std::string in_;
};

}  // namespace xlb
