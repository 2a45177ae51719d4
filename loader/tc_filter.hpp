// SPDX-License-Identifier: Apache-2.0
// Our filters at clsact, by rtnetlink. They have a fixed place, so that they are found without remembering anything
// and replaced without a gap: priority 49374 (0xc0de, late: others see packets first), handle 1, every protocol.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "loader/netlink_socket.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

inline constexpr std::uint32_t kTcPriority = 0xc0de;
inline constexpr std::uint32_t kTcHandle = 1;

enum class Side : std::uint8_t { ingress, egress };
const char* side_text(Side side);

struct TcFilter {
  std::uint32_t priority = 0;
  std::uint32_t handle = 0;
  std::string kind;  // "bpf", "u32", "flower"…
  std::string name;  // of a bpf filter
  std::uint32_t program_id = 0;

  [[nodiscard]] bool at_our_place() const { return priority == kTcPriority && handle == kTcHandle; }
};

// The qdisc that holds filters of both sides: "clsact", "ingress" (one side only), or empty.
Result<std::string> filter_qdisc(NetlinkSocket& socket, std::uint32_t ifindex);
// True: it was not there before.
Result<bool> make_clsact(NetlinkSocket& socket, std::uint32_t ifindex);
Result<void> remove_clsact(NetlinkSocket& socket, std::uint32_t ifindex);

// An interface that has gone, or has no such qdisc, has no filters.
Result<std::vector<TcFilter>> list_filters(NetlinkSocket& socket, std::uint32_t ifindex, Side side);
// Makes or replaces ours.
Result<void> put_filter(NetlinkSocket& socket, std::uint32_t ifindex, Side side, int program,
                        const std::string& name);
// Ours; it need not be there.
Result<void> remove_filter(NetlinkSocket& socket, std::uint32_t ifindex, Side side);

}  // namespace xlb
