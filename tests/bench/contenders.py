# SPDX-License-Identifier: Apache-2.0
"""What keeps an address alive among several nodes, each set up on the same three nodes of the same lab.

    xdp-lb       a pod with a server on each node, one service
    keepalived   VRRPv3 as its manual page shows it, and the interval; a server on each node, at the VIP itself

Both have the same server (the probe's), the same client and the same faults. keepalived's intervals are given in
hundredths of a second by the protocol (RFC 5798), it takes over after three of them and a skew; xdp-lb's are an echo
every so often, and a peer is lost after three.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Protocol

from lab import probes
from lab.cluster import Cluster
from lab.lab import FIRST_VIP, Lab, Node
from lab.namespace import CommandFailed

VIP, PORT = FIRST_VIP, 80


class Contender(Protocol):
    name: str
    interval_ms: int

    def start(self, lab: Lab) -> None:
        """On all nodes, their servers included."""

    def start_on(self, node: Node) -> None:
        """On a node that was off, or whose daemon has ended; servers too where they are missing."""

    def stop(self) -> None: ...

    def pids(self, node: Node) -> list[int]:
        """The processes of the daemon there."""

    def settled(self) -> bool:
        """All nodes know of each other as far as the contender can tell."""

    def said(self) -> str:
        """The end of the daemons' logs, for a failure."""

    def alarms(self) -> int:
        """How often so far a node gave another up, by the daemons' logs."""

    def hand_over(self, node: Node) -> None:
        """Gives the node's addresses away in an orderly way; `take_back` makes it a candidate again."""

    def take_back(self, node: Node) -> None: ...


def _named(node: Node, name: str) -> list[int]:
    """Processes of that name on the node; one that has ended and waits to be asked is none."""
    found = []
    for pid in node.pids():
        with contextlib.suppress(OSError):
            # pid (name) state …
            said, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
            if said.partition("(")[2] == name and rest.split()[0] != "Z":
                found.append(pid)
    return found


class Keepalived:
    def __init__(self, interval_ms: int) -> None:
        self.name = f"keepalived {interval_ms} ms"
        self.interval_ms = interval_ms
        self.starts = 0

    def start(self, lab: Lab) -> None:
        self.lab = lab
        self.servers: dict[Node, subprocess.Popen[str]] = {}
        self.daemons: dict[Node, subprocess.Popen[str]] = {}
        for node in lab.nodes:
            self.start_on(node)

    def start_on(self, node: Node) -> None:
        if node not in self.servers or self.servers[node].poll() is not None:
            self.servers[node] = probes.echo(node, PORT)
        place = self.lab.directory / node.role / "keepalived"
        place.mkdir(exist_ok=True)
        configuration = place / "keepalived.conf"
        configuration.write_text(f"""
global_defs {{
    router_id {node.role}
    vrrp_version 3
}}
vrrp_instance vip {{
    state BACKUP
    interface eth0
    virtual_router_id 51
    priority {150 - 10 * node.number}
    advert_int {self.interval_ms / 1000:.2f}
    virtual_ipaddress {{
        {VIP}/24
    }}
}}
""")
        # A pid file for each start: that of one that was killed names a process that may still be a zombie.
        self.starts += 1
        pid = place / f"{self.starts}.pid"
        self.daemons[node] = node.start("keepalived", "-n", "-l", "--vrrp", "-f", str(configuration), "-p", str(pid), "-r",
                                        str(pid.with_suffix(".vrrp")), stdout=place / "keepalived.log")

    def pids(self, node: Node) -> list[int]:
        return _named(node, "keepalived")

    def _holds(self, node: Node) -> bool:
        return f" {VIP}/" in node.run("ip", "-4", "addr", "show", "eth0").stdout

    def settled(self) -> bool:
        return [node for node in self.lab.nodes if self._holds(node)] == self.lab.nodes[:1]

    def said(self) -> str:
        return "\n".join(f"--- {node}\n{(self.lab.directory / node.role / 'keepalived/keepalived.log').read_text()[-1500:]}"
                         for node in self.lab.nodes)

    def alarms(self) -> int:
        """Who hears no master becomes one."""
        return sum((self.lab.directory / node.role / "keepalived/keepalived.log").read_text().count("Entering MASTER STATE")
                   for node in self.lab.nodes)

    def hand_over(self, node: Node) -> None:
        """SIGTERM: its last advertisement has priority 0, and the next node does not wait."""
        os.kill(self.daemons[node].pid, signal.SIGTERM)

    def take_back(self, node: Node) -> None:
        self.daemons[node].wait(10)
        self.start_on(node)

    def stop(self) -> None:
        for node in self.lab.nodes:
            for pid in self.pids(node):
                os.kill(pid, signal.SIGKILL)
            for process in (self.daemons[node], self.servers[node]):
                process.kill()
                process.wait()
            node.run("ip", "addr", "del", f"{VIP}/24", "dev", "eth0", check=False)


class XdpLb:
    def __init__(self, interval_ms: int, *, elsewhere: bool = False) -> None:
        """`elsewhere`: the owner has no backend of its own."""
        self.name = f"xdp-lb {interval_ms} ms"
        self.interval_ms = interval_ms
        self.elsewhere = elsewhere

    def start(self, lab: Lab) -> None:
        self.lab = lab
        self.cluster = Cluster(lab, interval_ms=self.interval_ms)
        self.cluster.prepare()
        self.cluster.serve("web", PORT, [pod for node in lab.nodes for pod in node.pods], vip=VIP)
        self.servers = probes.echoes(lab)
        self.cluster.start()
        if self.elsewhere:
            self._leave_the_owner()

    def _leave_the_owner(self) -> None:
        for _ in range(3):
            owner = self.cluster.settle()
            for node in self.lab.nodes:
                node.lb("service", "rm", "web")
            self.cluster.serve("web", PORT, [pod for node in self.lab.nodes for pod in node.pods if node is not owner], vip=VIP)
            if self.cluster.settle() is owner:
                return
        raise CommandFailed(f"{self.name}: another node owns {VIP} after each change of the backends")

    def start_on(self, node: Node) -> None:
        for pod in node.pods:
            if self.servers[pod].poll() is not None:
                self.servers[pod] = probes.echo(pod)
        self.cluster.start(node)

    def pids(self, node: Node) -> list[int]:
        return _named(node, "xdp-lb")

    def settled(self) -> bool:
        return self.cluster.settled()

    def said(self) -> str:
        return "\n".join(f"--- {node}\n{node.lb('status', check=False).stdout}{self.cluster.log(node)[-2500:]}" for node in self.lab.nodes)

    def alarms(self) -> int:
        return sum(self.cluster.log(node).count("peer lost") for node in self.lab.nodes)

    def hand_over(self, node: Node) -> None:
        node.lb("drain")

    def take_back(self, node: Node) -> None:
        node.lb("undrain")

    def stop(self) -> None:
        self.cluster.stop()
        for server in self.servers.values():
            server.kill()
            server.wait()


def why_no_keepalived() -> str:
    return "" if shutil.which("keepalived") else "keepalived is not installed (tools/packages bench)"
