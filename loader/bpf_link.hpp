// SPDX-License-Identifier: Apache-2.0
// BPF links: attachments that a pin holds, at an interface's XDP hook or at a control group.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "loader/file.hpp"
#include "loader/netlink_socket.hpp"
#include "userspace/core/result.hpp"

namespace xlb {

struct LinkFacts {
  std::uint32_t program_id = 0;
  std::uint32_t ifindex = 0;    // XDP; 0: the interface has gone
  std::uint64_t cgroup_id = 0;  // control group
};
Result<LinkFacts> link_facts(int link);

// Programs at the XDP hook of an interface; 0: none.
struct XdpPrograms {
  std::uint32_t native = 0;
  std::uint32_t generic = 0;
  std::uint32_t offloaded = 0;

  [[nodiscard]] std::uint32_t any() const { return native != 0 ? native : generic != 0 ? generic : offloaded; }
};
Result<XdpPrograms> xdp_programs(NetlinkSocket& socket, std::uint32_t ifindex);

// The new link is held by its pin, so that it outlives this process. The kernel's refusal is a number for the caller
// to explain; success: absent.
std::optional<int> pin_new_xdp_link(int program, std::uint32_t ifindex, std::uint32_t flags, const std::string& path);
std::optional<int> pin_new_cgroup_link(int program, int cgroup, std::uint32_t attach_type, const std::string& path);
// Another program under a pinned link, in one step; what runs there stays at its place and in its mode.
Result<void> update_link(const std::string& path, int program);

}  // namespace xlb
