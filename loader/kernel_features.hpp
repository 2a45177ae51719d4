// SPDX-License-Identifier: Apache-2.0
// What this kernel or this process lacks, in words.
#pragma once

#include <string>

#include "userspace/core/result.hpp"

namespace xlb {

// Fails when the process may not load programs or change the network, naming the capability.
Result<void> check_capabilities();

// The first thing that the programs on links need and this kernel has not: "this kernel (5.4.0) lacks the helper
// bpf_redirect_peer, which came with 5.10". Empty: nothing is missing.
std::string missing_for_links();
// The same for the socket programs, without which everything but clients on this node works.
std::string missing_for_sockets();

// The driver of an interface: "bcmgenet", "veth"; empty when it does not say.
std::string driver_of(const std::string& interface);
// Are frames as they were on a wire when its native XDP sees them: no checksum left for somebody else to finish? Not so
// where the other end is software on the same machine.
bool has_whole_frames(const std::string& driver);

}  // namespace xlb
