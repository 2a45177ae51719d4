// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/probe.hpp"

#include <algorithm>

namespace xlb {

namespace {

// Addresses asked for besides the one in question, far from it and from one another: another balancer on the LAN may well
// hold a run of neighbouring addresses, but hardly these too.
constexpr std::size_t kControls = 3;
constexpr std::size_t kStride = 61;

std::string sentence(const Address& address, const Mac& mac, const std::string& link) {
  return address.text() + " is in use by " + mac.text() + " on " + link;
}

bool reaches(const Link& link, const Address& address) {
  return std::any_of(link.subnets.begin(), link.subnets.end(),
                     [&](const Prefix& subnet) { return subnet.contains(address); });
}

const std::string& shown_name(const Link& link) { return link.l3_name.empty() ? link.name : link.l3_name; }

bool announced_on(const DesiredVip& vip, const Link& link) {
  return std::find(vip.links.begin(), vip.links.end(), link.name) != vip.links.end() ||
         std::find(vip.links.begin(), vip.links.end(), link.l3_name) != vip.links.end();
}

}  // namespace

Result<void> AddressProbe::forget_settled(const std::vector<Link>& links, State& state, Time since) {
  std::set<Address> silent;  // asked for on a link, and nobody has answered on any
  std::set<Address> open;
  std::map<Address, std::string> held;
  for (const Link& link : links) {
    std::vector<Address> asked;
    for (const auto& [address, who] : state.conflicts)
      if (link.up && reaches(link, address)) asked.push_back(address);
    if (asked.empty()) continue;
    auto answers = ask_(link, asked, own_, since);
    if (!answers) return answers.error().in("probing addresses on " + shown_name(link));
    silent.insert(asked.begin(), asked.end());
    for (const ProbeAnswer& answer : answers->taken)
      held[answer.address] = sentence(answer.address, answer.mac, shown_name(link));
    for (const auto& [address, why] : answers->open) open.insert(address);
  }
  for (const auto& [address, who] : held) {
    state.conflicts[address] = who;
    silent.erase(address);
  }
  for (const Address& address : silent) {
    if (open.contains(address)) {
      unsettled_ = true;
      continue;
    }
    state.conflicts.erase(address);
    state.probed.insert(address);
  }
  return {};
}

Result<AddressProbe::Nature> AddressProbe::nature(const Link& link, const ProbeAnswer& answer,
                                                  const std::set<Address>& spoken_for, Time since) {
  if (proxies_.contains(answer.mac)) return Nature::proxy;
  if (strangers_.contains(answer.mac)) return Nature::stranger;
  std::vector<Address> controls;
  for (const Prefix& subnet : link.subnets) {
    if (!subnet.contains(answer.address)) continue;
    // Around the end of the subnet; its first and last are no addresses of hosts.
    Address candidate = answer.address;
    for (std::size_t tries = 0; tries < 32 && controls.size() < kControls; ++tries) {
      for (std::size_t step = 0; step < kStride; ++step)
        candidate = candidate == subnet.last() ? subnet.first() : candidate.next();
      if (candidate == answer.address) break;
      const bool own = std::find(link.addresses.begin(), link.addresses.end(), candidate) != link.addresses.end();
      const bool usable = candidate != subnet.first() && candidate != subnet.last() && !own &&
                          candidate != link.gateway4 && candidate != link.gateway6 && !spoken_for.contains(candidate) &&
                          std::find(controls.begin(), controls.end(), candidate) == controls.end();
      if (usable) controls.push_back(candidate);
    }
    break;
  }
  bool proxy = false;
  if (controls.size() == kControls) {
    auto answers = ask_(link, controls, own_, since);
    if (!answers) return answers.error();
    if (!answers->open.empty()) return Nature::unknown;
    const auto same = std::count_if(answers->taken.begin(), answers->taken.end(),
                                    [&](const ProbeAnswer& other) { return other.mac == answer.mac; });
    proxy = static_cast<std::size_t>(same) >= kControls;
  }
  (proxy ? proxies_ : strangers_).insert(answer.mac);
  if (proxy)
    said_.push_back(answer.mac.text() + " on " + shown_name(link) +
                    " answers for any address (proxy ARP?): its answers do not count, and cannot warn of a real conflict");
  return proxy ? Nature::proxy : Nature::stranger;
}

Result<bool> AddressProbe::first_use(const std::vector<Link>& links, const Desired& desired, State& state, Time since) {
  bool found = false;
  open_.clear();
  std::set<Address> spoken_for;
  for (const auto& [name, assignment] : state.held)
    spoken_for.insert(assignment.addresses.begin(), assignment.addresses.end());
  std::set<Address> free;
  for (const Link& link : links) {
    std::vector<Address> asked;
    for (const DesiredVip& vip : desired.vips)
      if (link.up && announced_on(vip, link) && !state.probed.contains(vip.address) &&
          !state.conflicts.contains(vip.address))
        asked.push_back(vip.address);
    if (asked.empty()) continue;
    auto answers = ask_(link, asked, own_, since);
    if (!answers) return answers.error().in("probing addresses on " + shown_name(link));
    free.insert(asked.begin(), asked.end());
    for (const auto& [address, why] : answers->open) open_[address] = "probing: first use of " + address.text() + ": " + why;
    for (const ProbeAnswer& answer : answers->taken) {
      auto who = nature(link, answer, spoken_for, since);
      if (!who) return who.error().in("probing addresses on " + shown_name(link));
      if (*who == Nature::proxy) continue;
      if (*who == Nature::unknown) {
        open_[answer.address] = "probing: first use of " + answer.address.text() + ": " + answer.mac.text() + " on " +
                                shown_name(link) + " answers, asking whether it does so for any address";
        continue;
      }
      state.conflicts[answer.address] = sentence(answer.address, answer.mac, shown_name(link));
      found = true;
    }
  }
  for (const Address& address : free)
    if (!state.conflicts.contains(address) && !open_.contains(address)) state.probed.insert(address);
  for (const auto& [address, who] : state.conflicts) {
    for (auto& [name, assignment] : state.held) std::erase(assignment.addresses, address);
    if (free.contains(address)) said_.push_back(who + ": not taken");
  }
  std::erase_if(state.held, [](const auto& entry) { return entry.second.addresses.empty(); });
  return found;
}

}  // namespace xlb
