// SPDX-License-Identifier: Apache-2.0
// Gives addresses of pools to services. Order and refusals are MetalLB's, but for one: pools of equal standing are
// taken by name instead of at random, so that the answer is predictable.
#pragma once

#include <cstdint>
#include <map>

#include "userspace/core/model.hpp"

namespace xlb {

struct Allocation {
  Assignments held;                            // after; a service without an address is absent
  std::map<ObjectName, std::string> refusals;  // why a service has no address, in MetalLB's words where they exist
};

// `held` is honoured where it is still allowed. `avoid`: addresses not to be given out because somebody else answers
// for them on the wire, with the sentence that says who. `given`: services whose addresses are decided elsewhere, be it
// that they have none yet; taken as they are, and neither kept here nor refused.
Allocation allocate(const Objects& objects, const Assignments& held, const std::map<Address, std::string>& avoid,
                    const Assignments& given = {});

struct PoolUsage {
  std::uint64_t total = 0;
  std::uint64_t assigned = 0;
  std::uint64_t available = 0;
};
PoolUsage usage(const Pool& pool, const Assignments& held);

// The rules that need more than one object, or more than one line of it: overlapping ranges, duplicate names, a port
// listed twice. The first violation found, in MetalLB's words. An advertisement may name a pool that does not exist
// (yet).
Result<void> validate(const Objects& objects);

}  // namespace xlb
