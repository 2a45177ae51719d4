// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/cluster_document.hpp"

#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "userspace/daemon/clock.hpp"

namespace xlb {

namespace {

using Json = nlohmann::ordered_json;

const char* drain_text(Drain drain) {
  switch (drain) {
    case Drain::none:
      return "none";
    case Drain::handing_over:
      return "handing_over";
    case Drain::stranded:
      return "stranded";
    case Drain::done:
      return "done";
  }
  return "none";
}

}  // namespace

Now read_clocks() {
  return {Instant(monotonic_ns()), std::chrono::system_clock::now()};
}

const char* peer_state(const PeerView& peer) {
  if (peer.reached) return peer.stale ? "stale" : "reached";
  if (peer.heard) return "heard";
  return peer.known || peer.losses > 0 ? "lost" : "unknown";
}

std::string time_text(std::chrono::system_clock::time_point time) {
  const auto since = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch());
  const auto whole = std::chrono::floor<std::chrono::seconds>(since);
  const time_t seconds = whole.count();
  tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  const std::size_t length = strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::array<char, 8> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%03dZ", static_cast<int>((since - whole).count() % 1000));
  return std::string(text.data(), length) + fraction.data();
}

Json peer_document(const PeerView& peer, const Now& now) {
  Json last_change;
  if (peer.since != Instant{})
    last_change =
        time_text(now.wall - std::chrono::duration_cast<std::chrono::system_clock::duration>(now.mono - peer.since));
  std::string reason = peer.reason;
  const auto add = [&reason](const char* more) { reason += (reason.empty() ? "" : "; ") + std::string(more); };
  if (!peer.listed) add("not declared on this node");
  if (peer.known && !peer.same_configuration) add("declares something else than this node");
  return {{"name", peer.name},
          {"address", peer.said.addresses.empty() ? "" : peer.said.addresses.front().text()},
          {"state", peer_state(peer)},
          {"detection_ms", std::chrono::round<std::chrono::milliseconds>(peer.detection).count()},
          {"last_change", last_change},
          {"reason", reason}};
}

Json cluster_document(const ClusterView& cluster, const Now& now) {
  Json peers = Json::array(), vips = Json::array();
  for (const PeerView& peer : cluster.peers()) peers.push_back(peer_document(peer, now));
  for (const VipView& vip : cluster.vips())
    vips.push_back({{"vip", vip.address.text()}, {"owner", vip.owner}, {"reason", vip.reason}});
  return {{"draining", cluster.drained() != Drain::none}, {"peers", peers}, {"vips", vips}};
}

Json vip_document(const VipView& vip) {
  Json candidates = Json::array();
  for (const CandidateView& candidate : vip.candidates)
    candidates.push_back({{"node", candidate.node},
                          {"eligible", candidate.eligible},
                          {"reason", candidate.reason},
                          {"rank", candidate.rank}});
  return {{"vip", vip.address.text()}, {"owner", vip.owner}, {"reason", vip.reason}, {"candidates", candidates}};
}

Json why_document(const ClusterView& cluster, const Address& vip) {
  for (const VipView& view : cluster.vips())
    if (view.address == vip) return vip_document(view);
  return {};
}

Json drain_document(const ClusterView& cluster) {
  Json left = Json::array();
  for (const VipView& vip : cluster.vips())
    if (vip.owned) left.push_back({{"vip", vip.address.text()}, {"reason", vip.reason}});
  return {{"state", drain_text(cluster.drained())}, {"left", left}};
}

}  // namespace xlb
