// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/probe.hpp"

#include <algorithm>

namespace xlb {

namespace {

// One host with three addresses of somebody's pool is rarer than a router that answers for everything.
constexpr std::size_t kProxyAnswers = 3;

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

Result<void> AddressProbe::forget_settled(const std::vector<Link>& links, State& state) {
  for (const Link& link : links) {
    std::vector<Address> asked;
    for (const auto& [address, who] : state.conflicts)
      if (link.up && reaches(link, address)) asked.push_back(address);
    if (asked.empty()) continue;
    auto answers = edges_.probe(link, asked, own_);
    if (!answers) return answers.error().in("probing addresses on " + shown_name(link));
    for (const Address& address : asked) {
      const auto answer = std::find_if(answers->begin(), answers->end(),
                                       [&](const ProbeAnswer& entry) { return entry.address == address; });
      if (answer == answers->end()) {
        state.conflicts.erase(address);
        state.probed.insert(address);
      } else {
        state.conflicts[address] = sentence(address, answer->mac, shown_name(link));
      }
    }
  }
  return {};
}

Result<AddressProbe::Found> AddressProbe::first_use(const std::vector<Link>& links, const Desired& desired, State& state) {
  Found found = Found::nothing_new;
  std::set<Address> free;
  for (const Link& link : links) {
    std::vector<Address> asked;
    for (const DesiredVip& vip : desired.vips)
      if (link.up && announced_on(vip, link) && !state.probed.contains(vip.address) &&
          !state.conflicts.contains(vip.address))
        asked.push_back(vip.address);
    if (asked.empty()) continue;
    auto answers = edges_.probe(link, asked, own_);
    if (!answers) return answers.error().in("probing addresses on " + shown_name(link));
    free.insert(asked.begin(), asked.end());
    for (const ProbeAnswer& answer : *answers) {
      if (proxies_.contains(answer.mac)) continue;
      answered_[answer.mac].insert(answer.address);
      if (answered_[answer.mac].size() < kProxyAnswers) {
        state.conflicts[answer.address] = sentence(answer.address, answer.mac, shown_name(link));
        if (found == Found::nothing_new) found = Found::again;
        continue;
      }
      proxies_.insert(answer.mac);
      for (const Address& address : answered_[answer.mac]) {
        state.conflicts.erase(address);
        state.probed.insert(address);
      }
      found = Found::from_start;
      said_.push_back(answer.mac.text() + " on " + shown_name(link) +
                      " answers for any address (proxy ARP?): its answers do not count, and cannot warn of a real conflict");
    }
  }
  for (const Address& address : free)
    if (!state.conflicts.contains(address)) state.probed.insert(address);
  for (const auto& [address, who] : state.conflicts) {
    for (auto& [name, assignment] : state.held) std::erase(assignment.addresses, address);
    if (free.contains(address)) said_.push_back(who + ": not taken");
  }
  std::erase_if(state.held, [](const auto& entry) { return entry.second.addresses.empty(); });
  // Said before the proxy was recognised as one.
  std::erase_if(said_, [&](const std::string& text) {
    return std::any_of(proxies_.begin(), proxies_.end(), [&](const Mac& mac) {
      return text.find(" is in use by " + mac.text()) != std::string::npos;
    });
  });
  return found;
}

}  // namespace xlb
