// SPDX-License-Identifier: Apache-2.0
// Events of the programs: conflicts, refusals, samples for `xdp-lb trace`. A ring buffer has one reader at a time; who
// that is, the caller settles by a lock.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "maps/abi.h"
#include "userspace/core/result.hpp"

namespace xlb {

class EventRing {
 public:
  // Fails when nothing is attached: then there is no ring.
  static Result<std::unique_ptr<EventRing>> open(const std::string& pin_dir);
  virtual ~EventRing() = default;

  // Readable (epoll, poll) when there is an event.
  [[nodiscard]] virtual int fd() const = 0;
  // Hands over all that is queued, without waiting; how many there were.
  virtual Result<int> read(const std::function<void(const lb_event&)>& take) = 0;
};

}  // namespace xlb
