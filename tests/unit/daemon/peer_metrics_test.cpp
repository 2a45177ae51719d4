// SPDX-License-Identifier: Apache-2.0
#include "userspace/daemon/peer_metrics.hpp"

#include <regex>
#include <set>
#include <sstream>

#include "tests/unit/daemon/fakes.hpp"

namespace xlb {
namespace {

using namespace std::chrono_literals;
using fake::address;
using fake::has;

class PeerMetricsTest : public ::testing::Test {
 protected:
  PeerMetricsTest() {
    figures_.node = "pi1";
    figures_.detection = 90ms;
    figures_.standing = Standing::standing;
    figures_.incarnation = 7;
    figures_.alive = {{"pi2", true}, {"pi3", false}};
    figures_.echoes = {{"pi2", {100, 98, 1}}};
    figures_.refused[static_cast<std::size_t>(Refusal::wrong_seal)] = 3;
    figures_.refused[static_cast<std::size_t>(Refusal::duplicate)] = 40;
    figures_.counts = {600, 2, 1, 300, 290, 4, {{address("192.168.0.200"), 5}}};
    PeerView well;
    well.name = "pi2";
    well.listed = well.known = well.reached = well.heard = true;
    well.said.hears = {"pi1", "pi3"};
    PeerView lost;
    lost.name = "pi3";
    lost.listed = lost.known = lost.stale = true;
    lost.same_configuration = false;
    lost.losses = 2;
    lost.detection = 89'500us;
    lost.said.hears = {"pi1"};  // its last words
    lost.said.draining = true;
    peers_ = {well, lost};
    VipView owned, other;
    owned.address = address("192.168.0.200");
    owned.owned = true;
    owned.owner = "pi1";
    owned.epoch = 12;
    other.address = address("192.168.0.201");
    vips_ = {owned, other};
  }
  [[nodiscard]] std::string text() const {
    MetricsText metrics;
    say_peers(metrics, figures_, peers_, vips_);
    return metrics.text();
  }

  PeerFigures figures_;
  std::vector<PeerView> peers_;
  std::vector<VipView> vips_;
};

TEST_F(PeerMetricsTest, WhatIsKnownOfPeersAndVips) {
  for (const char* line :
       {"xdp_lb_peers 2\n", "xdp_lb_peer_alive{peer=\"pi2\"} 1\n", "xdp_lb_peer_alive{peer=\"pi3\"} 0\n",
        "xdp_lb_peer_forwards{peer=\"pi2\"} 1\n", "xdp_lb_peer_forwards{peer=\"pi3\"} 0\n", "xdp_lb_peer_heard{peer=\"pi2\"} 1\n",
        "xdp_lb_peer_hears{peer=\"pi2\"} 1\n", "xdp_lb_peer_stale{peer=\"pi2\"} 0\n", "xdp_lb_peer_stale{peer=\"pi3\"} 1\n",
        "xdp_lb_peer_draining{peer=\"pi3\"} 1\n", "xdp_lb_peer_declared{peer=\"pi2\"} 1\n",
        "xdp_lb_peer_configuration_differs{peer=\"pi2\"} 0\n", "xdp_lb_peer_configuration_differs{peer=\"pi3\"} 1\n",
        "xdp_lb_peer_losses_total{peer=\"pi2\"} 0\n", "xdp_lb_peer_losses_total{peer=\"pi3\"} 2\n",
        "xdp_lb_peer_detection_seconds{peer=\"pi3\"} 0.0895\n", "xdp_lb_peer_echoes_sent_total{peer=\"pi2\"} 100\n",
        "xdp_lb_peer_echoes_home_total{peer=\"pi2\"} 98\n", "xdp_lb_peer_echoes_late_total{peer=\"pi2\"} 1\n",
        "xdp_lb_vip_owned{ip=\"192.168.0.200\"} 1\n", "xdp_lb_vip_owned{ip=\"192.168.0.201\"} 0\n",
        "xdp_lb_vip_has_owner{ip=\"192.168.0.200\"} 1\n", "xdp_lb_vip_has_owner{ip=\"192.168.0.201\"} 0\n",
        "xdp_lb_vip_claim_epoch{ip=\"192.168.0.200\"} 12\n", "xdp_lb_vip_moves_total{ip=\"192.168.0.200\"} 5\n",
        "xdp_lb_vip_moves_total{ip=\"192.168.0.201\"} 0\n"})
    EXPECT_TRUE(has(text(), line));
  EXPECT_TRUE(has(text(), "xdp_lb_peer_hears{peer=\"pi3\"} 0\n")) << "what one that is lost said last is worth nothing";
  EXPECT_FALSE(has(text(), "xdp_lb_peer_detection_seconds{peer=\"pi2\"}")) << "it was never lost";
}

TEST_F(PeerMetricsTest, WhatThisNodeDoes) {
  figures_.draining = true;
  for (const char* line :
       {"xdp_lb_node_standing{standing=\"standing\"} 1\n", "xdp_lb_node_standing{standing=\"listening\"} 0\n",
        "xdp_lb_node_standing{standing=\"deaf\"} 0\n", "xdp_lb_node_standing{standing=\"doubled\"} 0\n", "xdp_lb_node_draining 1\n",
        "xdp_lb_node_incarnation 7\n", "xdp_lb_detection_limit_seconds 0.09\n", "xdp_lb_lease_renewals_total 600\n",
        "xdp_lb_lease_late_renewals_total 2\n", "xdp_lb_lease_losses_total 1\n", "xdp_lb_statements_sent_total 300\n",
        "xdp_lb_statements_received_total 290\n", "xdp_lb_statements_passed_on_total 4\n",
        "xdp_lb_statements_refused_total{reason=\"wrong_seal\"} 3\n", "xdp_lb_statements_refused_total{reason=\"duplicate\"} 40\n",
        "xdp_lb_statements_refused_total{reason=\"malformed\"} 0\n"})
    EXPECT_TRUE(has(text(), line));
}

// Prometheus' rules: base units, `_total` for what only grows and for nothing else, a family begun once.
TEST_F(PeerMetricsTest, NamesAreAsPrometheusHasThem) {
  std::istringstream lines(text());
  std::set<std::string> seen;
  std::string line;
  while (std::getline(lines, line)) {
    std::smatch type;
    if (!std::regex_match(line, type, std::regex("# TYPE (xdp_lb_[a-z_]+) (counter|gauge)"))) continue;
    EXPECT_TRUE(seen.insert(type[1]).second) << type[1] << " twice";
    EXPECT_EQ(type[1].str().ends_with("_total"), type[2] == "counter") << line;
    for (const char* unit : {"_ms", "_milliseconds", "_ns", "_us"}) EXPECT_FALSE(type[1].str().ends_with(unit)) << line;
  }
  EXPECT_GT(seen.size(), 20u);
}

TEST_F(PeerMetricsTest, ANodeAloneHasNone) {
  MetricsText metrics;
  say_no_peers(metrics);
  EXPECT_TRUE(has(metrics.text(), "xdp_lb_peers 0\n"));
}

}  // namespace
}  // namespace xlb
