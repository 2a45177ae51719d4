// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <random>
#include <thread>
#include <utility>

#include "userspace/daemon/settings.hpp"

namespace xlb {

namespace {

// "PID MARK": the second tells processes apart whose numbers are the same, in containers or one after the other.
const std::string& own_mark() {
  static const std::string mark = [] {
    std::random_device random;
    const std::uint64_t number = (std::uint64_t{random()} << 32U) | random();
    return std::to_string(getpid()) + " " + std::to_string(number) + "\n";
  }();
  return mark;
}

// The number that the holder wrote; empty when it had not come to that yet.
std::string holder(const std::filesystem::path& file) {
  std::ifstream in(file);
  std::string pid;
  in >> pid;
  return pid;
}

bool says_only(int fd, const std::string& text) {
  std::string there(text.size() + 1, '\0');
  const ssize_t count = pread(fd, there.data(), there.size(), 0);
  return count == static_cast<ssize_t>(text.size()) && there.compare(0, text.size(), text) == 0;
}

}  // namespace

Result<std::optional<Lock>> Lock::try_take(const std::filesystem::path& file) {
  if (auto made = make_folder(file.parent_path()); !made) return made.error();
  const int fd = open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return Error{"lock file " + file.string() + ": " + std::strerror(errno)};
  Lock lock(fd);
  while (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return std::optional<Lock>();
    if (errno != EINTR) return Error{"lock file " + file.string() + ": " + std::strerror(errno)};
  }
  const std::string& mark = own_mark();
  lock.had_by_others_ = !says_only(fd, mark);
  if (lock.had_by_others_ && (ftruncate(fd, 0) != 0 || pwrite(fd, mark.data(), mark.size(), 0) < 0))
    return Error{"lock file " + file.string() + ": " + std::strerror(errno)};
  return std::optional<Lock>(std::move(lock));
}

Result<Lock> Lock::take(const std::filesystem::path& file, std::chrono::milliseconds patience, const std::string& busy) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  for (;;) {
    auto lock = try_take(file);
    if (!lock) return lock.error();
    if (*lock) return std::move(**lock);
    if (std::chrono::steady_clock::now() >= deadline) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const std::string pid = holder(file);
  return Error{busy + (pid.empty() ? "" : " (pid " + pid + ")") + ": it holds " + file.string() +
               ": wait until it is done, or end it, and try again"};
}

Lock::Lock(Lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)), had_by_others_(other.had_by_others_) {}

Lock& Lock::operator=(Lock&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(had_by_others_, other.had_by_others_);
  return *this;
}

Lock::~Lock() {
  if (fd_ >= 0) close(fd_);
}

}  // namespace xlb
