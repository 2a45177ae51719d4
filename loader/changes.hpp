// SPDX-License-Identifier: Apache-2.0
// Tells changes that matter from the noise of a living network: neighbours that are confirmed again, routes that an
// advertisement refreshes, statistics of a link. It remembers the last of each and compares.
#pragma once

#include <linux/netlink.h>

#include <cstdint>
#include <map>
#include <utility>

#include "loader/netlink_rows.hpp"

namespace xlb {

class Changes {
 public:
  // Does this notification say something new about links, addresses, routes, or where a station is?
  bool matters(const nlmsghdr& message);
  // After lost notifications nothing that is remembered counts.
  void forget();

 private:
  bool link(const nlmsghdr& message);
  bool address(const nlmsghdr& message);
  bool neighbour(const nlmsghdr& message);
  static bool route(const nlmsghdr& message);

  std::map<std::uint32_t, InterfaceFacts> interfaces_;
  std::map<std::pair<std::uint32_t, Address>, AddressRow> addresses_;
  std::map<std::pair<std::uint32_t, Address>, Mac> neighbours_;
  std::map<std::pair<std::uint32_t, Mac>, std::uint32_t> stations_;
};

}  // namespace xlb
