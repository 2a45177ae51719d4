// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/notify.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace xlb {

Result<void> notify_manager(const std::string& text) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (!path || !*path) return {};
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(path);
  if (length >= sizeof(address.sun_path)) return Error{std::string("NOTIFY_SOCKET ") + path + ": too long"};
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // the abstract namespace
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return Error{std::string("NOTIFY_SOCKET: ") + std::strerror(errno)};
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  const ssize_t sent =
      sendto(fd, text.data(), text.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), size);
  const int problem = errno;
  close(fd);
  if (sent < 0) return Error{std::string("NOTIFY_SOCKET ") + path + ": " + std::strerror(problem)};
  return {};
}

std::optional<std::chrono::microseconds> watchdog_patience() {
  const auto number = [](const char* variable) -> std::optional<std::uint64_t> {
    const char* text = std::getenv(variable);
    if (!text) return std::nullopt;
    std::uint64_t value = 0;
    const char* const last = text + std::strlen(text);
    const auto [end, problem] = std::from_chars(text, last, value);
    if (problem != std::errc() || end != last) return std::nullopt;
    return value;
  };
  const auto patience = number("WATCHDOG_USEC");
  const auto whom = number("WATCHDOG_PID");  // a parent's watchdog is not ours
  if (!patience || *patience == 0 || (whom && *whom != static_cast<std::uint64_t>(getpid()))) return std::nullopt;
  return std::chrono::microseconds(*patience);
}

}  // namespace xlb
