// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <thread>
#include <utility>

#include "userspace/daemon/settings.hpp"

namespace xlb {

namespace {

// The number that the holder wrote; empty when it had not come to that yet.
std::string holder(int fd) {
  std::array<char, 32> text{};
  const ssize_t length = pread(fd, text.data(), text.size() - 1, 0);
  std::string pid(text.data(), length > 0 ? static_cast<std::size_t>(length) : 0);
  while (!pid.empty() && pid.back() == '\n') pid.pop_back();
  return pid;
}

}  // namespace

Result<Lock> Lock::take(const std::filesystem::path& file, std::chrono::milliseconds patience, const std::string& busy) {
  if (auto made = make_folder(file.parent_path()); !made) return made.error();
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Error{"lock file " + file.string() + ": " + std::strerror(errno)};
  Lock lock(fd);
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return Error{"lock file " + file.string() + ": " + std::strerror(errno)};
    if (std::chrono::steady_clock::now() >= deadline) {
      const std::string pid = holder(fd);
      return Error{busy + (pid.empty() ? "" : " (pid " + pid + ")") + ": it holds " + file.string() +
                   ": wait until it is done, or end it, and try again"};
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  // Only a courtesy for whoever has to wait; the lock holds without it.
  const std::string pid = std::to_string(getpid()) + "\n";
  if (ftruncate(fd, 0) != 0 || pwrite(fd, pid.data(), pid.size(), 0) < 0)
    return Error{"lock file " + file.string() + ": " + std::strerror(errno)};
  return lock;
}

Lock::Lock(Lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

Lock& Lock::operator=(Lock&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Lock::~Lock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace xlb
