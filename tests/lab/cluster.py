# SPDX-License-Identifier: Apache-2.0
"""xdp-lb on every node of a lab: one key, each a peer of the others, the same services declared, a daemon each."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from typing import Iterable

from .lab import FIRST_VIP, GATEWAY, ROOT, Lab, Node, Pod
from .namespace import CommandFailed
from .traffic import eventually, who_has

EXAMPLE_POOL = ROOT / "examples/ip-address-pool.yaml"
BACKEND_PORT = 9000  # of the probe's echo server


class Cluster:
    def __init__(self, lab: Lab, *, interval_ms: int = 30, fail_back_s: float = 30, lease_s: float = 5) -> None:
        self.lab = lab
        self.options = ["--echo-interval", f"{interval_ms}ms", "--fail-back-delay", f"{round(fail_back_s * 1000)}ms",
                        "--lease", f"{round(lease_s * 1000)}ms"]
        self.daemons: dict[Node, subprocess.Popen[str]] = {}
        self.names: dict[Node, str] = {node: node.role for node in lab.nodes}

    # -- declared ------------------------------------------------------------------------------------------------

    def prepare(self, *, without_key: Iterable[Node] = ()) -> None:
        """The pool, the peers, the key and the attachment, as a user types them on each node."""
        key, keyless = "", list(without_key)
        for node in self.lab.nodes:
            if node not in keyless and not key:
                node.lb("peer", "key")
                key = (node.config_dir / "cluster.key").read_text()
            elif node not in keyless:
                node.lb("peer", "key", "--import", "-", stdin=key)
            node.lb("apply", "-f", str(EXAMPLE_POOL))
            for other in self.lab.nodes:
                if other is not node:
                    node.lb("peer", "add", self.names[other], other.address)
            self.attach(node)

    def attach(self, node: Node) -> None:
        node.lb("attach", "eth0", "--mode", self.lab.mode)

    def serve(self, name: str, port: int, backends: Iterable[Pod], *, vip: str = FIRST_VIP, target: int = BACKEND_PORT,
              options: Iterable[str] = ()) -> None:
        """The same service on every node."""
        addresses = ((pod.address6 if ":" in vip else pod.address, self.names[pod.node]) for pod in backends)
        chosen = [word for address, node in addresses for word in ("--backend", f"{address}@{node}")]
        for node in self.lab.nodes:
            node.lb("service", "add", name, "--port", f"{port}:{target}", *chosen, "--vip", vip, *options)

    # -- daemons -------------------------------------------------------------------------------------------------

    def log(self, node: Node) -> str:
        path = self.lab.directory / node.role / "daemon.log"
        return path.read_text() if path.exists() else ""

    def start(self, *nodes: Node) -> None:
        """Daemons on these nodes, or on all. A node that was off is attached first, as its boot would."""
        for node in nodes or self.lab.nodes:
            if not node.pin_dir.exists():
                self.attach(node)
            self.daemons[node] = node.start(str(self.lab.binary), "run", *self.options,
                                            stdout=self.lab.directory / node.role / "daemon.log")
        for node in nodes or self.lab.nodes:
            eventually(f"a daemon on {node}", lambda: self.alive(node) and any(node.run_dir.rglob("*.sock")), within=10)

    def alive(self, node: Node) -> bool:
        daemon = self.daemons[node]
        if daemon.poll() is not None:
            raise CommandFailed(f"{node}: xdp-lb run exited {daemon.returncode}: {self.log(node)[-600:]}")
        return True

    def signal(self, node: Node, number: int) -> None:
        os.kill(self.daemons[node].pid, number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.daemons[node].wait(10)

    def stop(self) -> None:
        """Everything away, manifests too: the nodes are as before `prepare`."""
        for node, daemon in self.daemons.items():
            if daemon.poll() is None:
                daemon.kill()
                daemon.wait()
        for node in self.lab.nodes:
            node.lb("detach", "--all", check=False)
            for what in ("service", "pool", "peer"):
                for one in node.lb_json(what, "ls"):
                    node.lb(what, "rm", one["name"], check=False)
        self.daemons.clear()

    # -- looked at -----------------------------------------------------------------------------------------------

    def running(self) -> list[Node]:
        return [node for node, daemon in self.daemons.items() if daemon.poll() is None and node.up()]

    def settled(self, vip: str = FIRST_VIP) -> bool:
        """Everybody who runs reaches everybody else who runs, and all name the same owner, who runs."""
        names = {self.names[node] for node in self.running()}
        owners = set()
        for node in self.running():
            status = node.lb_json("status")
            reached = {peer["name"] for peer in status["peers"] if peer["state"] == "reached"}
            if not names - {self.names[node]} <= reached:
                return False
            owners |= {one["owner"] for one in status["vips"] if one["address"] == vip}
        return len(owners) == 1 and owners <= names

    def settle(self, vip: str = FIRST_VIP, within: float = 20) -> Node:
        """Waits for that, and returns the one who answers."""
        eventually("the cluster settles", lambda: self.settled(vip), within=within, every=0.1)
        owner = eventually("one node answers", lambda: self.owner(vip), within=5)
        assert isinstance(owner, Node)
        return owner

    def best(self, vip: str = FIRST_VIP) -> Node:
        """Where it ends up when all are there and equal: MetalLB's order."""
        return min(self.lab.nodes, key=lambda node: hashlib.sha256(f"{self.names[node]}#{vip}".encode()).digest())

    def owner(self, vip: str = FIRST_VIP) -> Node | None:
        """Who answers ARP for it, if it is exactly one."""
        # Not as from 0.0.0.0, which is a probe: a node that is about to use the address would leave it to the router.
        macs = who_has(self.lab.router, vip, GATEWAY, interface="lan0", timeout=0.1)
        return next((node for node in self.lab.nodes if node.up() and [node.mac()] == macs), None)
