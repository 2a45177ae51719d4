// SPDX-License-Identifier: Apache-2.0
// The links towards peers: a socket on each, and an ear for any frame at all while nobody is heard.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "userspace/core/tables.hpp"
#include "userspace/daemon/loop.hpp"
#include "userspace/peers/frame_ear.hpp"
#include "userspace/peers/socket.hpp"

namespace xlb {

class PeerLinks {
 public:
  // `ready`: something is waiting on one of them.
  PeerLinks(Loop& loop, std::function<void()> ready) : loop_(loop), ready_(std::move(ready)) {}
  PeerLinks(const PeerLinks&) = delete;
  PeerLinks& operator=(const PeerLinks&) = delete;
  ~PeerLinks();

  // Opens what is new and closes what has gone; a link whose MAC changed is a new one. The rest goes on where one fails.
  Result<void> set(const std::vector<Link>& links);
  [[nodiscard]] std::vector<const Link*> all() const;
  [[nodiscard]] bool has(const LinkKey& key) const { return links_.contains(key); }

  Result<void> send_echo(const LinkKey& by, const Mac& to, std::uint64_t nonce);
  Result<void> send_statement(const LinkKey& by, const Mac& to, std::span<const std::uint8_t> datagram);
  // All that is waiting now, within reason: a flood of frames must not keep the loop.
  void receive(const std::function<void(const LinkKey&, const PeerSocket::Received&)>& take);

  // Opens or closes the ears.
  Result<void> listen(bool listening);
  [[nodiscard]] bool heard_a_frame() const;

 private:
  struct Open {
    Link link;
    std::unique_ptr<PeerSocket> socket;
    std::unique_ptr<FrameEar> ear;
  };
  Loop& loop_;
  std::function<void()> ready_;
  std::map<LinkKey, Open> links_;
};

}  // namespace xlb
