// SPDX-License-Identifier: Apache-2.0
// Writes while the loop turns. To be on the disk for certain can take seconds on an SD card, and a loop that waits for longer
// than the lease loses its VIPs. A thread lives as long as what it writes.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "userspace/core/result.hpp"
#include "userspace/daemon/loop.hpp"

namespace xlb {

class DiskWriter {
 public:
  using Work = std::function<Result<void>()>;
  using Done = std::function<void(const Result<void>&)>;

  static Result<std::unique_ptr<DiskWriter>> open(Loop& loop);
  DiskWriter(const DiskWriter&) = delete;
  DiskWriter& operator=(const DiskWriter&) = delete;
  // Waits for what is under way, and tells nobody.
  ~DiskWriter();

  // `work` runs beside the loop and shares nothing with it; `done` is called on the loop. One at a time.
  void write(Work work, Done done);
  [[nodiscard]] bool busy() const { return static_cast<bool>(done_); }

 private:
  DiskWriter(Loop& loop, int event) : loop_(loop), event_(event) {}
  void finish();

  Loop& loop_;
  int event_;  // said by the thread when it has nothing more to do
  std::thread thread_;
  std::optional<Result<void>> result_;  // the thread's, until it has ended
  Done done_;
};

}  // namespace xlb
