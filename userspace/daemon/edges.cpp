// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/edges.hpp"

#include "loader/kernel_data_plane.hpp"

namespace xlb {

namespace {

Result<void> announce_on(const Link& link, const std::vector<Address>& vips) {
  std::vector<Frame> frames;
  for (const Address& vip : vips) {
    auto more = announcement(vip, link.mac, link.vlan);
    frames.insert(frames.end(), more.begin(), more.end());
  }
  return send_frames(link.attach_ifindex, link.name, frames);
}

Result<WireAnswers> ask_and_wait(const Link& link, const std::vector<Address>& addresses, const std::set<Mac>& own,
                                 std::chrono::steady_clock::time_point) {
  auto answers = probe_addresses(link, addresses, own);
  if (!answers) return answers.error();
  return WireAnswers{std::move(*answers), {}};
}

}  // namespace

Result<Edges> open_edges(const Settings& settings) {
  auto data_plane = open_data_plane(settings.pin_dir);
  if (!data_plane) return data_plane.error();
  auto netlink = Netlink::open();
  if (!netlink) return netlink.error();
  return Edges{std::move(*data_plane), std::move(*netlink), ask_and_wait, announce_on};
}

}  // namespace xlb
