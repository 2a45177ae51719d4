// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "userspace/cli/view.hpp"
#include "userspace/core/declared_peers.hpp"

namespace xlb {

namespace {

constexpr const char* kNobodyLooks = "not known: no daemon that keeps peers runs here (systemctl status xdp-lb)";
constexpr const char* kNotYet = "not known yet: the daemon has not taken it up";

Json* find(Json& list, const char* key, const std::string& value) {
  const auto found =
      std::find_if(list.begin(), list.end(), [&](const Json& entry) { return entry.at(key) == value; });
  return found == list.end() ? nullptr : &*found;
}

}  // namespace

Json peers_json(const Objects& objects, const std::string& own_name, const Json& cluster) {
  Json peers = cluster.is_null() ? Json::array() : cluster.at("peers");
  for (const Node& node : declared_peers(objects, own_name)) {
    const std::string address = node.addresses.empty() ? "" : node.addresses.front().text();
    if (Json* known = find(peers, "name", node.name)) {
      if (known->at("address") == "") (*known)["address"] = address;  // it has said nothing of its own
      continue;
    }
    peers.push_back({{"name", node.name},
                     {"address", address},
                     {"state", "unknown"},
                     {"detection_ms", 0},
                     {"last_change", nullptr},
                     {"reason", cluster.is_null() ? kNobodyLooks : kNotYet}});
  }
  std::sort(peers.begin(), peers.end(), [](const Json& a, const Json& b) { return a.at("name") < b.at("name"); });
  return peers;
}

Json why_json(const Observation& seen, const Judgement& judged, const Address& vip) {
  const auto row = seen.installed.vips.find(vip);
  const auto desired = std::find_if(judged.desired.vips.begin(), judged.desired.vips.end(),
                                    [&](const DesiredVip& entry) { return entry.address == vip; });
  const bool installed = row != seen.installed.vips.end();
  if (!installed && desired == judged.desired.vips.end()) return {};
  const std::string& self = seen.machine.node_name;
  const bool owned = installed && row->second.owned_epoch != 0 && row->second.owned_epoch == seen.node.epoch &&
                     !seen.attached.empty();
  const bool eligible = desired != judged.desired.vips.end() && desired->eligible && !seen.attached.empty();
  std::string reason = "in the tables, but no declared service holds it";
  if (desired != judged.desired.vips.end())
    reason = desired->eligible || desired->obstacle.empty() ? desired->reason : desired->obstacle;
  if (seen.attached.empty()) reason = "nothing is attached: xdp-lb attach IFACE";
  Json candidates = Json::array({{{"node", self}, {"eligible", eligible}, {"reason", reason}, {"rank", 0}}});
  for (const Node& node : declared_peers(seen.objects, self))
    candidates.push_back({{"node", node.name}, {"eligible", false}, {"reason", kNobodyLooks}, {"rank", 0}});
  return {{"vip", vip.text()}, {"owner", owned ? self : ""}, {"reason", reason}, {"candidates", candidates}};
}

}  // namespace xlb
