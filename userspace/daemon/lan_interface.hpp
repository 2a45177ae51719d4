// SPDX-License-Identifier: Apache-2.0
// The interface that `attach auto` means.
#pragma once

#include <string>

#include "loader/machine.hpp"

namespace xlb {

// The NIC by which this machine leaves its network, or the only one that has an address; more than one, or none: an error
// that lists them and says to name one. Never what MetalLB does not announce on by default (docker0, cni0, flannel.1, …).
Result<std::string> lan_interface(Netlink& netlink);

}  // namespace xlb
