// SPDX-License-Identifier: Apache-2.0
#include "loader/packet_socket.hpp"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <algorithm>

#include "maps/abi.h"

namespace xlb {
namespace {

constexpr std::size_t kLongestFrame = 2048;  // ARP and neighbour discovery are far shorter; the rest is cut

sockaddr_ll address_of(std::uint32_t ifindex, std::uint16_t ethertype) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ethertype);
  address.sll_ifindex = static_cast<int>(ifindex);
  return address;
}

}  // namespace

Result<PacketSocket> PacketSocket::open(std::uint32_t ifindex, const std::string& interface,
                                        std::uint16_t ethertype) {
  PacketSocket made;
  made.ifindex_ = ifindex;
  made.interface_ = interface;
  // Without a protocol until it is bound: otherwise frames of every interface would queue up in between.
  made.file_ = File(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made.file_) {
    const int number = errno;
    return system_error(
        "open a packet socket on " + interface + (number == EPERM ? " (needs root or CAP_NET_RAW)" : ""), number);
  }
  // Where another announcer is being replaced, xlb_egress lets only what is ours out.
  const std::uint32_t mark = XLB_MARK_OWN;
  if (setsockopt(made.fd(), SOL_SOCKET, SO_MARK, &mark, sizeof mark) != 0) {
    return system_error("mark what is sent on " + interface + (errno == EPERM ? " (needs root or CAP_NET_ADMIN)" : ""));
  }
  const sockaddr_ll address = address_of(ifindex, ethertype);
  if (bind(made.fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return system_error("open a packet socket on " + interface);
  }
  return made;
}

Result<void> PacketSocket::send(const Frame& frame) {
  const sockaddr_ll to = address_of(ifindex_, 0);
  for (;;) {
    if (sendto(fd(), frame.data(), frame.size(), 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) >= 0)
      return {};
    if (errno == EINTR) continue;
    return system_error("send a frame on " + interface_ + (errno == ENETDOWN ? " (is the link down?)" : ""));
  }
}

std::optional<Frame> PacketSocket::receive() {
  for (;;) {
    Frame frame(kLongestFrame);
    sockaddr_ll from{};
    socklen_t length = sizeof from;
    const ssize_t got = recvfrom(fd(), frame.data(), frame.size(), 0, reinterpret_cast<sockaddr*>(&from), &length);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::nullopt;
    if (from.sll_pkttype == PACKET_OUTGOING) continue;
    frame.resize(static_cast<std::size_t>(got));
    return frame;
  }
}

Result<void> PacketSocket::join(const Mac& group) {
  packet_mreq request{};
  request.mr_ifindex = static_cast<int>(ifindex_);
  request.mr_type = PACKET_MR_MULTICAST;
  request.mr_alen = static_cast<unsigned short>(group.bytes.size());
  std::copy(group.bytes.begin(), group.bytes.end(), request.mr_address);
  if (setsockopt(fd(), SOL_PACKET, PACKET_ADD_MEMBERSHIP, &request, sizeof request) != 0) {
    return system_error("listen to " + group.text() + " on " + interface_);
  }
  return {};
}

Result<void> FrameSender::send(std::uint32_t ifindex, const std::string& interface, const std::vector<Frame>& frames) {
  if (frames.empty()) return {};
  auto socket = sockets_.find(ifindex);
  if (socket == sockets_.end()) {
    auto opened = PacketSocket::open(ifindex, interface, 0);
    if (!opened) return opened.error();
    socket = sockets_.emplace(ifindex, std::move(*opened)).first;
  }
  for (const Frame& frame : frames) {
    if (auto sent = socket->second.send(frame); !sent) {
      sockets_.erase(socket);  // the interface may have gone
      return sent;
    }
  }
  return {};
}

}  // namespace xlb
