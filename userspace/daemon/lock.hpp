// SPDX-License-Identifier: Apache-2.0
// One process at a time: flock on a file that also says who holds it, or did last. The kernel drops it when the holder dies.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "userspace/core/result.hpp"

namespace xlb {

class Lock {
 public:
  // Nothing: somebody else has it.
  static Result<std::optional<Lock>> try_take(const std::filesystem::path& file);
  // Waits up to `patience`. `busy` is the start of the sentence when somebody else keeps it: "another xdp-lb is changing
  // this node".
  static Result<Lock> take(const std::filesystem::path& file, std::chrono::milliseconds patience, const std::string& busy);

  Lock(Lock&& other) noexcept;
  Lock& operator=(Lock&& other) noexcept;
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock();

  // Another process had it since this one did, or this one never has: what the lock guards may have changed.
  [[nodiscard]] bool had_by_others() const { return had_by_others_; }

 private:
  explicit Lock(int fd) : fd_(fd) {}
  int fd_;
  bool had_by_others_ = true;
};

}  // namespace xlb
