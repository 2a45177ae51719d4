// SPDX-License-Identifier: Apache-2.0
#include "userspace/config/folder.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <system_error>
#include <utility>

namespace xlb {

namespace {

constexpr int kLockTries = 200;
constexpr useconds_t kLockPause_us = 10'000;

Error system_error(const std::string& doing, const std::string& path, int number) {
  std::string text = "cannot " + doing + " " + path + ": " + std::strerror(number);
  if (number == EACCES || number == EPERM) text += ": run as root, or change its owner or mode";
  if (number == ENOSPC || number == EDQUOT) text += ": make room and run the command again";
  if (number == EROFS) text += ": mount it writable";
  return Error{text};
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Result<std::string> read_all(int fd, const std::string& path, std::size_t limit) {
  std::string content;
  char buffer[65536];
  for (;;) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("read", path, errno);
    if (got == 0) return content;
    content.append(buffer, static_cast<std::size_t>(got));
    if (content.size() > limit) {
      return Error{path + ": more than " + std::to_string(limit >> 20) + " MiB: split it into several files"};
    }
  }
}

}  // namespace

Result<std::vector<std::string>> DiskFolder::names() {
  std::vector<std::string> out;
  const std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(path_.c_str()), ::closedir);
  if (!dir) {
    if (errno == ENOENT) return out;
    return system_error("read the folder", path_.string(), errno);
  }
  errno = 0;
  while (const dirent* entry = ::readdir(dir.get())) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") out.push_back(name);
    errno = 0;
  }
  if (errno != 0) return system_error("read the folder", path_.string(), errno);
  std::sort(out.begin(), out.end());
  return out;
}

Result<std::optional<std::string>> DiskFolder::read(const std::string& name, std::size_t limit) {
  const std::string path = path_of(name);
  // Not blocking: a named pipe must not stop us before fstat() tells what it is.
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) {
    if (errno == ENOENT) return std::optional<std::string>{};
    return system_error("read", path, errno);
  }
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return system_error("read", path, errno);
  if (!S_ISREG(status.st_mode)) return Error{path + ": not a regular file: move it elsewhere"};
  Result<std::string> content = read_all(fd.get(), path, limit);
  if (!content) return content.error();
  return std::optional<std::string>(std::move(*content));
}

Result<void> DiskFolder::make() {
  std::error_code error;
  std::filesystem::create_directories(path_, error);
  if (error) return system_error("make the folder", path_.string(), error.value());
  return {};
}

Result<void> DiskFolder::write(const std::string& name, const std::string& content) {
  if (auto made = make(); !made) return made;
  const std::string path = path_of(name);
  // A leftover of a crash is taken away first: its owner and mode are not to be trusted.
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return system_error("write", path, errno);
  const Descriptor fd(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode_));
  if (fd.get() < 0) return system_error("write", path, errno);
  const auto undo = [&](int number) {
    ::unlink(path.c_str());
    return system_error("write", path, number);
  };
  for (std::size_t done = 0; done < content.size();) {
    const ssize_t put = ::write(fd.get(), content.data() + done, content.size() - done);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return undo(errno);
    done += static_cast<std::size_t>(put);
  }
  if (::fsync(fd.get()) != 0) return undo(errno);
  return {};
}

Result<void> DiskFolder::rename(const std::string& from, const std::string& to) {
  if (::rename(path_of(from).c_str(), path_of(to).c_str()) != 0) return system_error("replace", path_of(to), errno);
  return {};
}

Result<void> DiskFolder::remove(const std::string& name) {
  if (::unlink(path_of(name).c_str()) != 0 && errno != ENOENT) return system_error("remove", path_of(name), errno);
  return {};
}

Result<void> DiskFolder::sync() {
  const Descriptor fd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) return system_error("sync the folder", path_.string(), errno);
  // EINVAL: this kind of file system cannot, and there is nothing better to do.
  if (::fsync(fd.get()) != 0 && errno != EINVAL) return system_error("sync the folder", path_.string(), errno);
  return {};
}

Result<FolderLock> FolderLock::take(const std::filesystem::path& folder, int operation) {
  Descriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (fd.get() < 0) {
    if (errno == ENOENT) return FolderLock(-1);
    return system_error("open the folder", folder.string(), errno);
  }
  for (int i = 0; i < kLockTries; ++i) {
    if (::flock(fd.get(), operation | LOCK_NB) == 0) return FolderLock(fd.release());
    if (errno != EWOULDBLOCK && errno != EINTR) return system_error("lock the folder", folder.string(), errno);
    ::usleep(kLockPause_us);
  }
  return Error{folder.string() + ": another xdp-lb has been writing here for two seconds: wait for it, or end it"};
}

Result<FolderLock> FolderLock::alone(const std::filesystem::path& folder) {
  return take(folder, LOCK_EX);
}
Result<FolderLock> FolderLock::shared(const std::filesystem::path& folder) {
  return take(folder, LOCK_SH);
}

FolderLock::~FolderLock() {
  if (fd_ >= 0) ::close(fd_);
}

Result<void> replace_file(Folder& folder, const std::string& name, const std::string& content) {
  const std::string fresh = ".xdp-lb-new-" + name;
  if (auto written = folder.write(fresh, content); !written) return written;
  if (auto renamed = folder.rename(fresh, name); !renamed) {
    (void)folder.remove(fresh);
    return renamed;
  }
  return folder.sync();
}

}  // namespace xlb
