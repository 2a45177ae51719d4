// SPDX-License-Identifier: Apache-2.0
// The programs of one LAN link: the XDP program by a pinned link where the mode asks for it, and its twins at clsact.
#pragma once

#include <cstdint>
#include <string>

#include "loader/attach_checks.hpp"
#include "loader/data_plane.hpp"
#include "loader/pins.hpp"
#include "loader/programs.hpp"

namespace xlb {

// Puts or replaces both filters; the qdisc is there.
Result<void> put_lan_filters(NetlinkSocket& socket, const InterfaceFacts& interface, const Programs& programs);

struct XdpInForce {
  AttachMode mode = AttachMode::tc;  // native, generic, or tc: no XDP program
  std::string reason;
};
// As the mode asks; what was there in another mode goes. When the wanted mode fails, what was there is put back.
Result<XdpInForce> put_xdp(NetlinkSocket& socket, const InterfaceFacts& interface, AttachMode mode,
                           const Strangers& strangers, const Pins& pins, const Programs& programs);
// Our XDP link there, if any: gone when this returns.
Result<void> remove_xdp(const std::string& pin);
// native or generic; tc: no XDP program of ours.
Result<AttachMode> xdp_mode(NetlinkSocket& socket, std::uint32_t ifindex, const std::string& pin);

// Takes our filters of both sides away, and the qdisc too if it was ours and nobody else has put anything there.
Result<void> remove_filters(NetlinkSocket& socket, std::uint32_t ifindex, bool qdisc_is_ours);

}  // namespace xlb
