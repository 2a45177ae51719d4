// SPDX-License-Identifier: Apache-2.0
// One folder of small files, as narrow as the writers here need it. An interface, so that a test can cut the power
// between any two calls.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "userspace/core/result.hpp"

namespace xlb {

// Names are plain file names. Errors name path and cause.
class Folder {
 public:
  Folder() = default;
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  virtual ~Folder() = default;

  [[nodiscard]] virtual std::string path_of(const std::string& name) const = 0;
  // Sorted; a missing folder has none.
  virtual Result<std::vector<std::string>> names() = 0;
  // Absent when there is no such file. A file of more than `limit` bytes is refused without being read.
  virtual Result<std::optional<std::string>> read(const std::string& name, std::size_t limit) = 0;
  // A whole file, on the disk when this returns, though its name may not be.
  virtual Result<void> write(const std::string& name, const std::string& content) = 0;
  virtual Result<void> rename(const std::string& from, const std::string& to) = 0;
  virtual Result<void> remove(const std::string& name) = 0;  // not there: fine
  // Names, new and gone, are on the disk when this returns.
  virtual Result<void> sync() = 0;
};

// `mode`: of new files. The folder is made when the first file is written into it.
class DiskFolder : public Folder {
 public:
  DiskFolder(std::filesystem::path path, unsigned mode) : path_(std::move(path)), mode_(mode) {}

  [[nodiscard]] std::string path_of(const std::string& name) const override { return (path_ / name).string(); }
  Result<std::vector<std::string>> names() override;
  Result<std::optional<std::string>> read(const std::string& name, std::size_t limit) override;
  Result<void> write(const std::string& name, const std::string& content) override;
  Result<void> rename(const std::string& from, const std::string& to) override;
  Result<void> remove(const std::string& name) override;
  Result<void> sync() override;
  // Makes the folder and those above it.
  Result<void> make();

 private:
  std::filesystem::path path_;
  unsigned mode_;
};

// Held while a folder is written (alone) or read (with other readers); let go with the value, or with the process.
class FolderLock {
 public:
  // Waits at most two seconds for whoever holds it. A missing folder cannot be locked and needs no lock: no error.
  static Result<FolderLock> alone(const std::filesystem::path& folder);
  static Result<FolderLock> shared(const std::filesystem::path& folder);
  FolderLock(FolderLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  FolderLock& operator=(FolderLock&&) = delete;
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock();

 private:
  explicit FolderLock(int fd) : fd_(fd) {}
  static Result<FolderLock> take(const std::filesystem::path& folder, int operation);
  int fd_;
};

// One file exchanged as a whole: after a crash it is the old or the new one.
Result<void> replace_file(Folder& folder, const std::string& name, const std::string& content);

}  // namespace xlb
