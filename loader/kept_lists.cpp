// SPDX-License-Identifier: Apache-2.0
#include "loader/kept_lists.hpp"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include "loader/lan_programs.hpp"

namespace xlb {
namespace {

constexpr unsigned kSpokenOf =
    RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_TC | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;

// Less than the daemon lets pass between two looks at everything.
constexpr std::chrono::seconds kBelieved{30};

template <typename List, typename Ask>
Result<KeptLists::Kept<List>> kept_or_asked(KeptLists::Kept<List>& kept, const Ask& ask) {
  if (!kept) {
    auto asked = ask();
    if (!asked) return asked.error();
    kept = std::make_shared<const List>(std::move(*asked));
  }
  return kept;
}

}  // namespace

Result<KeptLists> KeptLists::open() {
  auto requests = NetlinkSocket::open();
  if (!requests) return requests.error();
  auto notifications = NetlinkSocket::open(kSpokenOf);
  if (!notifications) return notifications.error();
  return KeptLists(std::move(*requests), std::move(*notifications));
}

Result<KeptLists::Kept<KeptLists::Interfaces>> KeptLists::interfaces() {
  hear();
  return kept_or_asked(interfaces_, [&] { return dump_interfaces(requests_); });
}

Result<KeptLists::Kept<std::vector<AddressRow>>> KeptLists::addresses() {
  hear();
  return kept_or_asked(addresses_, [&] { return dump_addresses(requests_); });
}

Result<KeptLists::Kept<std::vector<RouteRow>>> KeptLists::default_routes() {
  hear();
  return kept_or_asked(default_routes_, [&]() -> Result<std::vector<RouteRow>> {
    auto routes = dump_default_routes(requests_, Family::ipv4);
    if (!routes) return routes.error();
    auto more = dump_default_routes(requests_, Family::ipv6);
    if (!more) return more.error();
    routes->insert(routes->end(), more->begin(), more->end());
    return routes;
  });
}

Result<KeptLists::Kept<std::vector<StationRow>>> KeptLists::stations() {
  hear();
  return kept_or_asked(stations_, [&] { return dump_stations(requests_); });
}

Result<KeptLists::Kept<std::vector<TcFilter>>> KeptLists::filters(std::uint32_t ifindex, Side side) {
  hear();
  return kept_or_asked(filters_[{ifindex, side}], [&] { return list_filters(requests_, ifindex, side); });
}

Result<AttachMode> KeptLists::xdp_mode(std::uint32_t ifindex, const std::string& pin) {
  hear();
  if (const auto kept = xdp_modes_.find(ifindex); kept != xdp_modes_.end()) return kept->second;
  auto asked = xlb::xdp_mode(requests_, ifindex, pin);
  if (asked) xdp_modes_[ifindex] = *asked;
  return asked;
}

void KeptLists::forget() {
  interfaces_.reset();
  addresses_.reset();
  default_routes_.reset();
  stations_.reset();
  filters_.clear();
  xdp_modes_.clear();
  since_ = std::chrono::steady_clock::now();
}

void KeptLists::hear() {
  if (std::chrono::steady_clock::now() - since_ > kBelieved) forget();
  notifications_.hear([this](const nlmsghdr& notification) { take(notification); }, [this] { forget(); });
}

void KeptLists::take(const nlmsghdr& notification) {
  switch (notification.nlmsg_type) {
    case RTM_NEWADDR:
    case RTM_DELADDR:
      addresses_.reset();
      default_routes_.reset();  // an IPv4 route that goes with its address goes in silence
      return;
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      default_routes_.reset();
      return;
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      if (header_of<ndmsg>(notification).ndm_family == AF_BRIDGE) stations_.reset();
      return;
    case RTM_NEWLINK:
    case RTM_DELLINK:
      forget();
      return;
    default:  // of tc
      filters_.clear();
  }
}

}  // namespace xlb
