// SPDX-License-Identifier: Apache-2.0
// The data plane in the kernel: programs, links and tables under a pin directory. It holds nothing in memory: every
// call opens the pins anew, so that any number of processes may come and go (they take turns by a lock of the
// daemon's room).
//
// Below the pin directory (a folder of a bpf filesystem, default /sys/fs/bpf/xdp-lb):
//   v<ABI>/xlb_…         the tables
//   programs/xlb_…       the programs in force, of one build at a time; what is attached later takes them from here
//   links/xdp-<ifindex>  the XDP link of a LAN link
//   links/cgroup-…       the links of the socket programs
// Filters are found by their fixed place: tc priority 49374 (0xc0de), handle 1, at clsact ingress and egress.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "loader/data_plane.hpp"

namespace xlb {

// Entries of xlb_flows, two a connection, that a machine with that much memory gets: a 64th of it, but between 65,536 and 2^20.
std::uint32_t flow_table_entries(std::uint64_t memory_bytes);

// Opening touches nothing: neither the folder nor a pin has to exist.
Result<std::unique_ptr<DataPlane>> open_data_plane(const std::string& pin_dir);

}  // namespace xlb
