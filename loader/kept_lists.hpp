// SPDX-License-Identifier: Apache-2.0
// What rtnetlink lists, kept until the kernel says that something in it has changed. To list network devices, filters or a
// forwarding database is to wait for whoever holds the kernel's rtnl lock: a namespace that is being taken away holds it for a
// tenth of a second and more, and a daemon that lists in its loop is deaf for as long.
//
// The kernel queues what it notifies of before it lets go of the lock. So what was listed, and not followed by a notification,
// is what there is. It does not speak of everything (an XDP program that is attached by a link): what is older than
// half a minute is asked for again, and so is everything after forget(), for those who have changed something themselves.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "loader/data_plane.hpp"
#include "loader/netlink_rows.hpp"
#include "loader/tc_filter.hpp"

namespace xlb {

class KeptLists {
 public:
  using Interfaces = std::map<std::uint32_t, InterfaceFacts>;
  template <typename List>
  using Kept = std::shared_ptr<const List>;  // the same one as before while nothing has changed

  static Result<KeptLists> open();

  Result<Kept<Interfaces>> interfaces();
  Result<Kept<std::vector<AddressRow>>> addresses();
  Result<Kept<std::vector<RouteRow>>> default_routes();  // IPv4's first
  Result<Kept<std::vector<StationRow>>> stations();
  Result<Kept<std::vector<TcFilter>>> filters(std::uint32_t ifindex, Side side);
  // `pin`: of the link that attaches our XDP program.
  Result<AttachMode> xdp_mode(std::uint32_t ifindex, const std::string& pin);

  void forget();
  // For what is not kept.
  NetlinkSocket& requests() { return requests_; }

 private:
  KeptLists(NetlinkSocket requests, NetlinkSocket notifications)
      : requests_(std::move(requests)), notifications_(std::move(notifications)) {}
  void hear();
  void take(const nlmsghdr& notification);

  NetlinkSocket requests_;
  NetlinkSocket notifications_;
  std::chrono::steady_clock::time_point since_;
  Kept<Interfaces> interfaces_;
  Kept<std::vector<AddressRow>> addresses_;
  Kept<std::vector<RouteRow>> default_routes_;
  Kept<std::vector<StationRow>> stations_;
  std::map<std::pair<std::uint32_t, Side>, Kept<std::vector<TcFilter>>> filters_;
  std::map<std::uint32_t, AttachMode> xdp_modes_;
};

}  // namespace xlb
