# SPDX-License-Identifier: Apache-2.0
"""/metrics of nodes among peers: what happened to the cluster is there to be seen, on every node that lived through it."""

from __future__ import annotations

import signal
import time

from .cluster_story import PORT, VIP, ClusterStory
from .lab import Node
from .metrics import Metrics, NoParser, page
from .traffic import eventually


class ClusterMetrics(ClusterStory):
    OPTIONS = {"lease_s": 1.0}
    FRESH = True

    def metrics(self, node: Node) -> Metrics:
        time.sleep(1.1)  # a page is kept for a second
        try:
            return Metrics(page(node))
        except NoParser as missing:
            self.skipTest(str(missing))

    def test_a_cluster_that_is_well(self) -> None:
        for node in self.lab.nodes:
            metrics = self.metrics(node)
            self.assertEqual(metrics.one("xdp_lb_peers"), 2)
            for other in self.lab.nodes:
                if other is node:
                    continue
                for name, expected in (("alive", 1), ("forwards", 1), ("heard", 1), ("hears", 1), ("stale", 0), ("draining", 0),
                                       ("declared", 1), ("configuration_differs", 0)):
                    self.assertEqual(metrics.one(f"xdp_lb_peer_{name}", peer=other.role), expected, f"{node}: {name} {other}")
                self.assertGreater(metrics.one("xdp_lb_peer_echoes_home_total", peer=other.role), 30)
                self.assertGreaterEqual(metrics.one("xdp_lb_peer_echoes_sent_total", peer=other.role),
                                        metrics.one("xdp_lb_peer_echoes_home_total", peer=other.role))
            self.assertEqual(metrics.one("xdp_lb_node_standing", standing="standing"), 1)
            self.assertEqual(metrics.one("xdp_lb_node_draining"), 0)
            self.assertAlmostEqual(metrics.one("xdp_lb_detection_limit_seconds"), 0.09)
            self.assertEqual(metrics.one("xdp_lb_vip_owned", ip=VIP), int(node is self.owner))
            self.assertEqual(metrics.one("xdp_lb_vip_has_owner", ip=VIP), 1)
            self.assertEqual(metrics.one("xdp_lb_vip_claim_epoch", ip=VIP) > 0, node is self.owner)
            self.assertEqual(len(metrics.of("metallb_speaker_announced", ip=VIP)), int(node is self.owner))
            self.assertGreater(metrics.one("xdp_lb_lease_renewals_total"), 5)
            self.assertEqual(metrics.one("xdp_lb_lease_losses_total"), 0)
            self.assertGreater(metrics.one("xdp_lb_statements_sent_total"), 5)
            self.assertGreater(metrics.one("xdp_lb_statements_received_total"), 5)
            wrong = [(labels["reason"], value) for labels, value in metrics.each("xdp_lb_statements_refused_total")
                     if value and labels["reason"] not in ("duplicate", "late", "came_back")]
            self.assertEqual(wrong, [])

    def test_the_owner_dies(self) -> None:
        moves = {node: self.metrics(node).one("xdp_lb_vip_moves_total", ip=VIP) for node in self.standbys}
        self.faults.cut(self.owner)
        eventually("another one answers", lambda: self.cluster.owner() in self.standbys)
        heir = self.cluster.owner()
        for node in self.standbys:
            metrics = self.metrics(node)
            self.assertEqual(metrics.one("xdp_lb_peer_alive", peer=self.owner.role), 0)
            self.assertEqual(metrics.one("xdp_lb_peer_forwards", peer=self.owner.role), 0)
            self.assertEqual(metrics.one("xdp_lb_peer_losses_total", peer=self.owner.role), 1)
            self.assertTrue(0.03 < metrics.one("xdp_lb_peer_detection_seconds", peer=self.owner.role) < 0.5)
            self.assertGreater(metrics.one("xdp_lb_vip_moves_total", ip=VIP), moves[node])
            # At once, and not with the next pass.
            self.assertEqual(metrics.one("xdp_lb_vip_owned", ip=VIP), int(node is heir))
            self.assertEqual(len(metrics.of("metallb_speaker_announced", ip=VIP)), int(node is heir))

    def test_the_owners_daemon_hangs_and_comes_back(self) -> None:
        self.cluster.signal(self.owner, signal.SIGSTOP)
        eventually("another one answers", lambda: self.cluster.owner() in self.standbys)
        for node in self.standbys:
            metrics = self.metrics(node)
            self.assertEqual(metrics.one("xdp_lb_peer_stale", peer=self.owner.role), 1)
            self.assertEqual(metrics.one("xdp_lb_peer_alive", peer=self.owner.role), 1, "it forwards: its pods are served")
        before = self.cluster.log(self.owner)
        self.cluster.signal(self.owner, signal.SIGCONT)
        eventually("it notices", lambda: "lease lost" in self.cluster.log(self.owner)[len(before):])
        metrics = self.metrics(self.owner)
        self.assertEqual(metrics.one("xdp_lb_lease_losses_total"), 1)
        self.assertGreaterEqual(metrics.one("xdp_lb_lease_late_renewals_total"), 1)
        self.assertEqual(metrics.one("xdp_lb_vip_owned", ip=VIP), 0)

    def test_the_owner_drains(self) -> None:
        self.owner.lb("drain")
        metrics = self.metrics(self.owner)
        self.assertEqual(metrics.one("xdp_lb_node_draining"), 1)
        self.assertEqual(metrics.one("xdp_lb_vip_owned", ip=VIP), 0)
        self.assertEqual(metrics.of("metallb_speaker_announced", ip=VIP), [])
        for node in self.standbys:
            self.assertEqual(self.metrics(node).one("xdp_lb_peer_draining", peer=self.owner.role), 1)

    def test_another_configuration(self) -> None:
        self.owner.lb("service", "add", "mine", "--port", f"{PORT}:9000", "--backend", self.owner.pods[0].address)
        for node in self.standbys:
            eventually(f"{node} sees it", lambda: Metrics(page(node)).one(
                "xdp_lb_peer_configuration_differs", peer=self.owner.role) == 1)
