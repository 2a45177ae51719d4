# SPDX-License-Identifier: Apache-2.0
"""What the stories about several nodes start from: three nodes with a pod each, one service over all of them, and clients
that measure while something happens.

Bounds are for a machine that runs several stories at once: three to four times what tests/bench/failover measures on
a quiet one. How fast it really is stands in docs/failover.md; here it must work, and never be an order slower.
"""

from __future__ import annotations

import contextlib
import signal
import time
from typing import Iterator, Mapping

from . import probes
from .cluster import Cluster
from .faults import Faults
from .lab import Node, Pod
from .namespace import Namespace
from .story import FIRST_VIP, FULL, Story

VIP, PORT = FIRST_VIP, 80
WATCHER = "192.168.0.60"
HELD = 200 if FULL else 30

DETECTION = 500  # ms that clients may wait for a death to be noticed and answered; 30 ms x 3 and a claim
SETTLED = 400    # ms after a heal in which two nodes may still answer
HANDED = 250     # ms in which both may answer while one hands over to the other: each forwards what it gets


class Seen:
    """What clients and the watcher saw; complete when the `with` is over."""
    flows: probes.NewFlows
    watch: probes.Watch
    held: dict | None = None

    def __init__(self) -> None:
        self.since = time.monotonic()

    @property
    def failed(self) -> int:
        return self.flows.seen["failed"]


class ClusterStory(Story):
    LAB: Mapping[str, object] = {"nodes": 3, "pods": 1}
    # No packet takes another way through the programs because of how nodes settle who answers.
    ONLY_MODE = "tc"
    WEIGHT = 3
    OPTIONS: Mapping[str, float] = {}  # of Cluster
    cluster: Cluster

    @classmethod
    def prepare(cls) -> None:
        cls.faults = Faults(cls.lab)
        cls.watcher = cls.lab.add_host("watcher", 60)
        cls.cluster = Cluster(cls.lab, **cls.OPTIONS)
        cls.declare()
        cls.servers = probes.echoes(cls.lab)
        cls.cluster.start()

    @classmethod
    def declare(cls) -> None:
        cls.cluster.prepare()
        cls.cluster.serve("web", PORT, cls.everywhere())

    @classmethod
    def everywhere(cls) -> list[Pod]:
        return [pod for node in cls.lab.nodes for pod in node.pods]

    def setUp(self) -> None:
        super().setUp()
        self.owner: Node = self.cluster.settle()
        self.standbys = [node for node in self.lab.nodes if node is not self.owner]
        self.lan.forget_neighbours()

    def tearDown(self) -> None:
        """The next test finds the cluster whole, whatever became of this one."""
        if not self.FRESH:
            self.faults.heal()
            for node in self.lab.nodes:
                if not node.up():
                    self.power_on(node)
                elif self.cluster.daemons[node].poll() is None:
                    self.cluster.signal(node, signal.SIGCONT)
                else:
                    self.restart(node)
        super().tearDown()

    # -- while something happens -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def watching(self, *, held: int = 0, client: Namespace | None = None, port: int = PORT, vip: str = VIP) -> Iterator[Seen]:
        client = client or self.lan
        kept = probes.Held(client, vip, port, held, grace_ms=4000) if held else None
        seen = Seen()
        seen.watch, seen.flows = probes.Watch(self.watcher, vip), probes.NewFlows(client, vip, port)
        time.sleep(0.3)
        seen.since = time.monotonic()
        try:
            yield seen
        finally:
            seen.flows.end()
            seen.watch.end()
            if kept:
                seen.held = kept.end()

    # -- machines --------------------------------------------------------------------------------------------------

    def restart(self, node: Node) -> None:
        """The daemon, and the pods' servers where they are gone."""
        for pod in node.pods:
            if self.servers[pod].poll() is not None:
                self.servers[pod] = probes.echo(pod)
        self.cluster.start(node)

    def power_off(self, *nodes: Node) -> None:
        for node in nodes:
            self.lab.power_off(node)

    def power_on(self, *nodes: Node) -> None:
        for node in nodes:
            self.lab.power_on(node)
            self.restart(node)

    # -- what is said about it -------------------------------------------------------------------------------------

    def assert_served_again(self, seen: Seen, since: float, within: float = DETECTION, until: float = float("inf")) -> None:
        outage = seen.flows.outage(since, until)
        self.assertLessEqual(outage.worst, within, f"{outage}\n{self.said()}")

    def assert_no_outage(self, seen: Seen) -> None:
        self.assertEqual(seen.failed, 0, f"{seen.flows.seen}\n{self.said()}")

    def assert_never_two(self, seen: Seen, since: float = 0) -> None:
        """Two nodes that answer one request; asked every 10 ms."""
        self.assertEqual(seen.watch.double(since), 0, f"{seen.watch.seen['runs']}\n{self.said()}")

    def assert_moves(self, seen: Seen, moves: int) -> None:
        self.assertEqual(seen.watch.moves(), moves, f"{seen.watch.seen['runs']}\n{self.said()}")

    def said(self) -> str:
        return "\n".join(f"--- {node}\n{self.cluster.log(node)[-1500:]}" for node in self.lab.nodes)
