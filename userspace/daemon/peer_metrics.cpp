// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/peer_metrics.hpp"

#include <algorithm>
#include <functional>
#include <utility>

namespace xlb {

namespace {

using Kind = MetricsText::Kind;

double in_seconds(std::chrono::nanoseconds time) { return std::chrono::duration<double>(time).count(); }

std::uint64_t one_if(bool yes) { return yes ? 1 : 0; }

void say_number_of_peers(MetricsText& metrics, std::uint64_t peers) {
  metrics.family("xdp_lb_peers", Kind::gauge, "Other nodes that are declared or have been heard.");
  metrics.sample(peers);
}

void say_each(MetricsText& metrics, const PeerFigures& figures, const std::vector<PeerView>& peers) {
  const auto gauge = [&](const char* name, const char* help, const std::function<bool(const PeerView&)>& holds) {
    metrics.family(name, Kind::gauge, help);
    for (const PeerView& peer : peers) metrics.sample({{"peer", peer.name}}, one_if(holds(peer)));
  };
  gauge("xdp_lb_peer_alive", "1: flows go to the peer's backends, as the tables have it.", [&](const PeerView& peer) {
    const auto found = figures.alive.find(peer.name);
    return found != figures.alive.end() && found->second;
  });
  gauge("xdp_lb_peer_forwards", "1: its programs send echoes back.", [](const PeerView& peer) { return peer.reached; });
  gauge("xdp_lb_peer_heard", "1: what it states counts.", [](const PeerView& peer) { return peer.heard; });
  gauge("xdp_lb_peer_hears", "1: it states that it hears this node without a miss.", [&](const PeerView& peer) {
    return peer.heard && std::binary_search(peer.said.hears.begin(), peer.said.hears.end(), figures.node);
  });
  gauge("xdp_lb_peer_stale", "1: its lease is over, so no daemon minds it.", [](const PeerView& peer) { return peer.stale; });
  gauge("xdp_lb_peer_draining", "1: it hands its VIPs over.", [](const PeerView& peer) { return peer.said.draining; });
  gauge("xdp_lb_peer_declared", "1: it is declared on this node.", [](const PeerView& peer) { return peer.listed; });
  gauge("xdp_lb_peer_configuration_differs", "1: it declares something else than this node.",
        [](const PeerView& peer) { return peer.known && !peer.same_configuration; });

  metrics.family("xdp_lb_peer_losses_total", Kind::counter, "Times that its echoes stopped coming home.");
  for (const PeerView& peer : peers) metrics.sample({{"peer", peer.name}}, peer.losses);
  metrics.family("xdp_lb_peer_detection_seconds", Kind::gauge, "From its last sign of life to the decision, when it was last lost.");
  for (const PeerView& peer : peers)
    if (peer.losses != 0) metrics.sample({{"peer", peer.name}}, in_seconds(peer.detection));

  const auto echoes = [&](const char* name, const char* help, std::uint64_t EchoCounts::*what) {
    metrics.family(name, Kind::counter, help);
    for (const auto& [peer, counts] : figures.echoes) metrics.sample({{"peer", peer}}, counts.*what);
  };
  echoes("xdp_lb_peer_echoes_sent_total", "Echoes that asked whether it forwards.", &EchoCounts::sent);
  echoes("xdp_lb_peer_echoes_home_total", "Those that it sent back.", &EchoCounts::home);
  echoes("xdp_lb_peer_echoes_late_total", "Of those: the next one had been due when they came.", &EchoCounts::late);
}

void say_vips(MetricsText& metrics, const PeerCounts& counts, const std::vector<VipView>& vips) {
  metrics.family("xdp_lb_vip_owned", Kind::gauge, "1: this node answers for the VIP.");
  for (const VipView& vip : vips) metrics.sample({{"ip", vip.address.text()}}, one_if(vip.owned));
  metrics.family("xdp_lb_vip_has_owner", Kind::gauge, "1: some node answers for it, as far as this node knows.");
  for (const VipView& vip : vips) metrics.sample({{"ip", vip.address.text()}}, one_if(!vip.owner.empty()));
  metrics.family("xdp_lb_vip_claim_epoch", Kind::gauge, "Of this node's claim; 0: it claims nothing.");
  for (const VipView& vip : vips) metrics.sample({{"ip", vip.address.text()}}, vip.epoch);
  metrics.family("xdp_lb_vip_moves_total", Kind::counter, "Times that another node than before answered for it, or none.");
  for (const VipView& vip : vips) {
    const auto moves = counts.moves.find(vip.address);
    metrics.sample({{"ip", vip.address.text()}}, moves == counts.moves.end() ? std::uint64_t{0} : moves->second);
  }
}

void say_node(MetricsText& metrics, const PeerFigures& figures) {
  metrics.family("xdp_lb_node_standing", Kind::gauge, "1: how this node stands among its peers.");
  for (const auto& [standing, name] : {std::pair(Standing::listening, "listening"), std::pair(Standing::standing, "standing"),
                                       std::pair(Standing::deaf, "deaf"), std::pair(Standing::doubled, "doubled")})
    metrics.sample({{"standing", name}}, one_if(figures.standing == standing));
  metrics.family("xdp_lb_node_draining", Kind::gauge, "1: it hands its VIPs over.");
  metrics.sample(one_if(figures.draining));
  metrics.family("xdp_lb_node_incarnation", Kind::gauge, "Raised when it starts, and when its lease was lost.");
  metrics.sample(figures.incarnation);
  metrics.family("xdp_lb_detection_limit_seconds", Kind::gauge, "A peer is lost after this time without an echo: --echo-interval times --echo-misses.");
  metrics.sample({}, in_seconds(figures.detection));

  const PeerCounts& counts = figures.counts;
  const auto counter = [&](const char* name, const char* help, std::uint64_t value) {
    metrics.family(name, Kind::counter, help);
    metrics.sample(value);
  };
  counter("xdp_lb_lease_renewals_total", "Times that the daemon renewed the node's lease.", counts.renewals);
  counter("xdp_lb_lease_late_renewals_total", "Of those: so late that one was left out.", counts.late_renewals);
  counter("xdp_lb_lease_losses_total", "Times that it came after the lease was over, and the node joined anew.", counts.lease_losses);
  counter("xdp_lb_statements_sent_total", "Statements made, one a link.", counts.statements_sent);
  counter("xdp_lb_statements_received_total", "Statements of peers that were whole and believed.", counts.statements_received);
  counter("xdp_lb_statements_passed_on_total", "Those of them that went on to a peer that does not hear the other.",
          counts.statements_passed_on);
  metrics.family("xdp_lb_statements_refused_total", Kind::counter,
                 "Frames that were not taken as a statement; duplicate, late and came_back are no fault.");
  for (std::size_t i = 0; i < kRefusals; ++i)
    metrics.sample({{"reason", refusal_text(static_cast<Refusal>(i)).name}}, figures.refused[i]);
}

}  // namespace

void say_peers(MetricsText& metrics, const PeerFigures& figures, const std::vector<PeerView>& peers,
               const std::vector<VipView>& vips) {
  say_number_of_peers(metrics, peers.size());
  say_node(metrics, figures);
  say_each(metrics, figures, peers);
  say_vips(metrics, figures.counts, vips);
}

void say_no_peers(MetricsText& metrics) { say_number_of_peers(metrics, 0); }

}  // namespace xlb
