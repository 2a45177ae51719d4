// SPDX-License-Identifier: Apache-2.0
// A packet socket on one interface: whole Ethernet frames out, and those of one Ethernet type in.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "loader/announcer.hpp"
#include "loader/file.hpp"
#include "userspace/core/address.hpp"

namespace xlb {

class PacketSocket {
 public:
  // ethertype: of what is received, in host order; 0: nothing, for sending only.
  static Result<PacketSocket> open(std::uint32_t ifindex, const std::string& interface, std::uint16_t ethertype);

  Result<void> send(const Frame& frame);
  // The next frame that came in from outside; absent: none is waiting.
  std::optional<Frame> receive();
  // Lets frames to this multicast MAC through the NIC's filter for as long as the socket is open.
  Result<void> join(const Mac& group);
  [[nodiscard]] int fd() const { return file_.get(); }

 private:
  File file_;
  std::uint32_t ifindex_ = 0;
  std::string interface_;
};

// Sends, now and then, on several interfaces. Its sockets stay open: to close one is to wait until no CPU can be using it any more
// (a grace period of RCU, ten milliseconds and more).
class FrameSender {
 public:
  // EPERM, ENETDOWN and the like come back as a sentence with the interface's name.
  Result<void> send(std::uint32_t ifindex, const std::string& interface, const std::vector<Frame>& frames);

 private:
  std::map<std::uint32_t, PacketSocket> sockets_;  // by ifindex
};

}  // namespace xlb
