// SPDX-License-Identifier: Apache-2.0
// Frames between nodes (EtherType 0x88B5, maps/abi.h) on one link: echoes and statements out, statements in. What
// comes home of the echoes never gets here: the programs stamp and drop it.
//
// A packet socket, so that no IP firewall and no routing has a say. Frames are received into a ring that is shared
// with the kernel (packet_mmap, TPACKET_V2), because it stamps each with the time of its arrival: how old a statement
// is must not depend on when the daemon gets to read it. SO_TIMESTAMPNS would do that too, but makes the kernel read
// the clock for every packet that the machine receives, on whichever interface.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "userspace/core/model.hpp"
#include "userspace/core/result.hpp"
#include "userspace/peers/descriptor.hpp"

namespace xlb {

inline constexpr Mac kBroadcastMac{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

class PeerSocket {
 public:
  static constexpr std::size_t kRingFrames =
      128;  // a statement of 50 VIPs is three; what does not fit is lost, and counted

  // On the attach interface; where the link is a VLAN of it, frames are tagged on the way out and told apart on the
  // way in.
  static Result<PeerSocket> open(const Link& link);

  // One of the shortest frames. The caller has written the nonce to xlb_echoes before.
  Result<void> send_echo(const Mac& to, std::uint64_t nonce);
  // A datagram of wire.hpp.
  Result<void> send_statement(const Mac& to, std::span<const std::uint8_t> datagram);

  struct Received {
    Mac from;
    bool to_all = false;                     // came by broadcast
    std::uint64_t at_ns = 0;                 // of its arrival, CLOCK_MONOTONIC
    std::span<const std::uint8_t> datagram;  // valid during the call
  };
  // Statements that are waiting, `most` frames at once; the descriptor stays readable as long as there are more.
  // The number of frames looked at.
  std::size_t receive(std::size_t most, const std::function<void(const Received&)>& take);

  // Frames that came when the ring was full, since the last call.
  [[nodiscard]] std::uint32_t lost() const;
  [[nodiscard]] int fd() const { return descriptor_.get(); }
  [[nodiscard]] const Link& link() const { return link_; }

 private:
  struct Unmap {
    void operator()(std::uint8_t* ring) const;
  };
  PeerSocket(Link link, Descriptor descriptor) : link_(std::move(link)), descriptor_(std::move(descriptor)) {}
  Result<void> make_ring();
  void take_error() const;
  Result<void> send(const Mac& to, std::uint8_t kind, std::uint64_t nonce, std::span<const std::uint8_t> datagram);

  Link link_;
  Descriptor descriptor_;
  std::unique_ptr<std::uint8_t, Unmap> ring_;
  std::size_t next_ = 0;          // frame of the ring that is filled next
  std::uint64_t emptied_ns_ = 0;  // when nothing was waiting: what comes later has arrived later
};

}  // namespace xlb
