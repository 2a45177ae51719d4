// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/edges.hpp"

#include "loader/kernel_data_plane.hpp"
#include "loader/listening.hpp"
#include "loader/packet_socket.hpp"

namespace xlb {

namespace {

// Its healthzBindAddress, unless it is told another one; k3s' is there, and so is what Cilium has in its place.
constexpr std::uint16_t kKubeProxyPort = 10256;

// To everybody, and once more to the gateway alone: routers that ignore gratuitous ARP by broadcast, and access points that
// do not repeat it, still learn. Who the gateway is, the kernel knows from talking to it; if not, everybody has to do.
Result<void> announce_on(FrameSender& sender, Netlink& netlink, const Link& link, const std::vector<Address>& vips) {
  std::vector<Frame> frames;
  const auto add = [&](const Address& vip, const std::optional<Mac>& to) {
    auto more = announcement(vip, link.mac, link.vlan, to);
    frames.insert(frames.end(), more.begin(), more.end());
  };
  for (const Address& vip : vips) add(vip, std::nullopt);
  if (auto sent = sender.send(link.attach_ifindex, link.name, frames); !sent) return sent;
  frames.clear();
  for (const std::optional<Address>& gateway : {link.gateway4, link.gateway6}) {
    if (!gateway) continue;
    auto mac = netlink.neighbour(link.l3_ifindex, *gateway);
    if (!mac) return mac.error();
    if (!*mac) continue;
    for (const Address& vip : vips)
      if (vip.family() == gateway->family()) add(vip, *mac);
  }
  return sender.send(link.attach_ifindex, link.name, frames);
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
  auto announce = [sender = std::make_shared<FrameSender>(), asked = netlink->get()](const Link& link, const std::vector<Address>& vips) {
    return announce_on(*sender, *asked, link, vips);
  };
  return Edges{std::move(*data_plane), std::move(*netlink), ask_and_wait, std::move(announce),
               [] { return somebody_listens(kKubeProxyPort); }};
}

}  // namespace xlb
