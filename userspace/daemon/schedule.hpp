// SPDX-License-Identifier: Apache-2.0
// When which VIP is announced on which link: soon and often after it was taken, then as a refresh (next_announcement()).
// Time is a parameter.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <tuple>
#include <vector>

#include "userspace/daemon/reconciler.hpp"

namespace xlb {

class AnnouncementSchedule {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // What is owned now. Newcomers have just been announced once; the others keep their pace, those missing are forgotten.
  void set(const std::vector<LinkVips>& owned, Time now);
  // What is to be announced now; counted as announced.
  std::vector<LinkVips> due(Time now);
  [[nodiscard]] std::optional<Time> next() const;

 private:
  struct Entry {
    Link link;
    Time taken;
    std::optional<Time> next;
  };
  std::map<std::tuple<std::uint32_t, std::uint16_t, Address>, Entry> entries_;  // attach interface, VLAN, VIP
};

}  // namespace xlb
