// SPDX-License-Identifier: Apache-2.0
// How patient the client of an API server is. The defaults are right for clusters; tests are in a hurry.
#pragma once

#include <chrono>

namespace xlb {

struct WatchPace {
  std::chrono::nanoseconds first_wait = std::chrono::milliseconds(100);
  std::chrono::nanoseconds longest_wait = std::chrono::seconds(30);
  std::chrono::nanoseconds longest_asked_wait = std::chrono::minutes(2);  // that a server's Retry-After is heeded
  std::chrono::nanoseconds silence = std::chrono::seconds(90);
  std::chrono::nanoseconds settled = std::chrono::seconds(10);  // a watch that lived this long is no failure
  std::chrono::seconds watch_time{300};                         // asked of the server, and up to as much again
  unsigned page = 250;                                          // objects
};

}  // namespace xlb
