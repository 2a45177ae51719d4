// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/peer_links.hpp"

#include <sys/epoll.h>

#include <algorithm>

namespace xlb {

namespace {

constexpr std::size_t kFramesAtOnce = 256;

LinkKey key_of(const Link& link) { return {link.attach_ifindex, link.vlan}; }

}  // namespace

PeerLinks::~PeerLinks() {
  for (const auto& [key, open] : links_) loop_.forget(open.socket->fd());
}

Result<void> PeerLinks::set(const std::vector<Link>& links) {
  Result<void> result;
  std::map<LinkKey, Open> kept;
  for (const Link& link : links) {
    auto old = links_.find(key_of(link));
    if (old != links_.end() && old->second.link.mac == link.mac) {
      old->second.link = link;
      kept.insert(links_.extract(old));
      continue;
    }
    auto socket = PeerSocket::open(link);
    if (!socket) {
      result = socket.error();
      continue;
    }
    kept[key_of(link)] = {link, std::make_unique<PeerSocket>(std::move(*socket)), nullptr};
  }
  for (const auto& [key, gone] : links_) loop_.forget(gone.socket->fd());
  links_ = std::move(kept);
  for (const auto& [key, open] : links_) {
    if (auto watched = loop_.watch(open.socket->fd(), EPOLLIN, [this](std::uint32_t) { ready_(); }); !watched) return watched;
  }
  return result;
}

std::vector<const Link*> PeerLinks::all() const {
  std::vector<const Link*> result;
  for (const auto& [key, open] : links_) result.push_back(&open.link);
  return result;
}

Result<void> PeerLinks::send_echo(const LinkKey& by, const Mac& to, std::uint64_t nonce) {
  const auto link = links_.find(by);
  return link == links_.end() ? Error{"the link has gone"} : link->second.socket->send_echo(to, nonce);
}

Result<void> PeerLinks::send_statement(const LinkKey& by, const Mac& to, std::span<const std::uint8_t> datagram) {
  const auto link = links_.find(by);
  return link == links_.end() ? Error{"the link has gone"} : link->second.socket->send_statement(to, datagram);
}

void PeerLinks::receive(const std::function<void(const LinkKey&, const PeerSocket::Received&)>& take) {
  for (const auto& [key, open] : links_)
    open.socket->receive(kFramesAtOnce, [&key = key, &take](const PeerSocket::Received& received) { take(key, received); });
}

Result<void> PeerLinks::listen(bool listening) {
  Result<void> result;
  for (auto& [key, open] : links_) {
    if (!listening) open.ear.reset();
    if (!listening || open.ear) continue;
    auto ear = FrameEar::open(open.link);
    if (ear)
      open.ear = std::make_unique<FrameEar>(std::move(*ear));
    else
      result = ear.error();
  }
  return result;
}

bool PeerLinks::heard_a_frame() const {
  bool heard = false;  // every ear is emptied
  for (const auto& [key, open] : links_) heard |= open.ear && open.ear->heard();
  return heard;
}

}  // namespace xlb
