// SPDX-License-Identifier: Apache-2.0
// What stands against attaching to an interface, and who else is there. Nothing is changed here.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "loader/bpf_link.hpp"
#include "loader/file.hpp"
#include "loader/machine.hpp"
#include "loader/netlink_socket.hpp"
#include "loader/tc_filter.hpp"

namespace xlb {

// The interface of that name, if it can be a LAN link; otherwise one sentence that says why not and what to take
// instead.
Result<InterfaceFacts> lan_interface(const std::string& name,
                                     const std::map<std::uint32_t, InterfaceFacts>& interfaces);

// The folder of a control group (cgroup v2), opened.
Result<File> open_cgroup(const std::string& path);

// Who else has programs on the interface.
struct Strangers {
  std::string xdp;  // "their_xdp (program id 17)" at the XDP hook; empty: nobody
  std::vector<std::string>
      notes;  // those that stay beside ours: "their_tc (program id 9) runs at tc ingress, priority 10"
};
// By what our own programs are told from those of another xdp-lb.
struct Ours {
  std::uint32_t node_map = 0;  // id of our xlb_node, which all of ours use; 0 without tables
  // Our tables have a row of the interface. That counts where the kernel does not tell which tables a program uses: it
  // asks for CAP_SYS_ADMIN, which the daemon is not given.
  bool linked = false;
};
// `xdp_path`: pin of our own XDP link there. Fails when somebody's filter, or another xdp-lb's, is where ours belong, or
// a qdisc leaves no room for both sides.
Result<Strangers> look_for_strangers(NetlinkSocket& socket, const InterfaceFacts& interface, const Ours& ours,
                                     const std::string& xdp_path);

// Fails when a filter at our place of that side is not ours.
Result<void> check_our_place(const std::vector<TcFilter>& filters, const std::string& interface, Side side,
                             const Ours& ours);

}  // namespace xlb
