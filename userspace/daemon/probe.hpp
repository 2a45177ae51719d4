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
  // Probes VIPs that were never used. True: `state` has another conflict, so allocation has to be asked again.
  Result<bool> first_use(const std::vector<Link>& links, const Desired& desired, State& state);
  [[nodiscard]] const std::vector<std::string>& said() const { return said_; }

 private:
  // Does this MAC also answer for addresses that nobody has any reason to hold? Asks once a MAC.
  Result<bool> answers_for_anything(const Link& link, const ProbeAnswer& answer, const std::set<Address>& spoken_for);

  const Edges& edges_;
  const std::set<Mac>& own_;
  std::set<Mac> strangers_;  // asked about, and found to hold what they answer for
  std::set<Mac> proxies_;    // answer for anything
  std::vector<std::string> said_;
};

}  // namespace xlb
