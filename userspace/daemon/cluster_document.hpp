// SPDX-License-Identifier: Apache-2.0
// What the daemon tells of the cluster as documents: they travel over the control socket and are what `-o json`
// prints (docs/schema/), so the command line needs no second spelling of them.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

#include "userspace/daemon/cluster_view.hpp"

namespace xlb {

// The same moment on both clocks: views count by the one, people read the other.
struct Now {
  Instant mono{};
  std::chrono::system_clock::time_point wall;
};
Now read_clocks();

// "reached": its programs send echoes back and its daemon minds it; "stale": they do, but nobody minds it; "heard":
// echoes do not come home, what it states does, by itself or passed on; "lost": neither; "unknown": it was never
// heard of.
const char* peer_state(const PeerView& peer);

nlohmann::ordered_json peer_document(const PeerView& peer, const Now& now);
// {"draining", "peers": [...], "vips": [{"vip", "owner", "reason"}]}
nlohmann::ordered_json cluster_document(const ClusterView& cluster, const Now& now);
// {"vip", "owner", "reason", "candidates": [...]}
nlohmann::ordered_json vip_document(const VipView& vip);
// null: no such VIP.
nlohmann::ordered_json why_document(const ClusterView& cluster, const Address& vip);
// {"state", "left": [{"vip", "reason"}]}: VIPs that this node still answers for.
nlohmann::ordered_json drain_document(const ClusterView& cluster);

// RFC 3339 in UTC, to the millisecond: 2026-01-31T12:00:00.125Z
std::string time_text(std::chrono::system_clock::time_point time);

}  // namespace xlb
