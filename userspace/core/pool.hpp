// SPDX-License-Identifier: Apache-2.0
// Questions about one pool: which addresses it holds, and whom it serves.
#pragma once

#include "userspace/core/model.hpp"

namespace xlb {

// In one of its ranges, and not an address that the pool avoids.
bool holds(const Pool& pool, const Address& address);
// IPv4 ending in 0 or 255: some home routers take it for a broadcast.
bool buggy(const Address& address);

// May the service have an address of the pool when it asks for it by name or address?
bool admits(const Pool& pool, const Service& service, const Objects& objects);
// Is the pool meant for this very service (serviceAllocation)? Those are tried before all others.
bool pinned_to(const Pool& pool, const Service& service, const Objects& objects);

}  // namespace xlb
