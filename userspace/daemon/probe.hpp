// SPDX-License-Identifier: Apache-2.0
// The duplicate-address probe (RFC 5227) around allocation: before an address is used for the first time ever, the wire is
// asked whether somebody has it. Who answers keeps it, and is remembered. Something that answers for whatever it is asked
// (proxy ARP) proves nothing and is only warned about.
#pragma once

#include <string>
#include <vector>

#include "userspace/config/state.hpp"
#include "userspace/core/decide.hpp"
#include "userspace/daemon/edges.hpp"

namespace xlb {

class AddressProbe {
 public:
  AddressProbe(const Edges& edges, const std::set<Mac>& own) : edges_(edges), own_(own) {}

  // Addresses of `state.conflicts` for which nobody answers any more are free again.
  Result<void> forget_settled(const std::vector<Link>& links, State& state);
  // Probes VIPs that were never used. `again`: `state` gained or lost a conflict, so allocation has to be asked again;
  // `from_start`: and from what was held before, because addresses were passed over for a proxy's sake.
  enum class Found : std::uint8_t { nothing_new, again, from_start };
  Result<Found> first_use(const std::vector<Link>& links, const Desired& desired, State& state);
  [[nodiscard]] const std::vector<std::string>& said() const { return said_; }

 private:
  const Edges& edges_;
  const std::set<Mac>& own_;
  std::map<Mac, std::set<Address>> answered_;  // by strangers, in this pass
  std::set<Mac> proxies_;
  std::vector<std::string> said_;
};

}  // namespace xlb
