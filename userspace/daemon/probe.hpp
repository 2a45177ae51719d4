// SPDX-License-Identifier: Apache-2.0
// The duplicate-address probe (RFC 5227) around allocation: before an address is used for the first time ever, the wire is
// asked whether somebody has it. Who answers keeps it, and is remembered. Something that answers for whatever it is asked
// (proxy ARP) proves nothing and is only warned about.
#pragma once

#include <chrono>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "userspace/config/state.hpp"
#include "userspace/core/decide.hpp"
#include "userspace/daemon/edges.hpp"

namespace xlb {

class AddressProbe {
 public:
  using Time = std::chrono::steady_clock::time_point;
  AddressProbe(const AskWire& ask, const std::set<Mac>& own) : ask_(ask), own_(own) {}

  // Addresses of `state.conflicts` for which nobody has answered since then are free again.
  Result<void> forget_settled(const std::vector<Link>& links, State& state, Time since);
  // Probes VIPs that were never used. True: `state` has another conflict, so allocation has to be asked again.
  Result<bool> first_use(const std::vector<Link>& links, const Desired& desired, State& state, Time since);
  // Addresses whose first use has to wait for an answer, and what is waited for.
  [[nodiscard]] const std::map<Address, std::string>& open() const { return open_; }
  // A conflict, too, waits for an answer: whether it is one still.
  [[nodiscard]] bool unsettled() const { return unsettled_; }
  [[nodiscard]] const std::vector<std::string>& said() const { return said_; }

 private:
  enum class Nature : std::uint8_t { stranger, proxy, unknown };
  // Does this MAC also answer for addresses that nobody has any reason to hold? Asks once a MAC.
  Result<Nature> nature(const Link& link, const ProbeAnswer& answer, const std::set<Address>& spoken_for, Time since);

  const AskWire& ask_;
  const std::set<Mac>& own_;
  std::set<Mac> strangers_;  // asked about, and found to hold what they answer for
  std::set<Mac> proxies_;    // answer for anything
  std::map<Address, std::string> open_;
  bool unsettled_ = false;
  std::vector<std::string> said_;
};

}  // namespace xlb
