# SPDX-License-Identifier: Apache-2.0
"""Who gives addresses out is killed, or held still, at one of its writes: just before the server has it, or just after, when the
answer is lost. Another node goes on: no address is given twice, none is lost, no Service waits for ever.

Every state that the server ever had is looked at, by a watch of all Services. By default a few writes are chosen; with --full every
write of the history is, in each way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

from lab import tables
from lab.lab import FIRST_VIP, Node

from .control_plane import ControlPlane
from .nodes import NodesStory
from .proxy import FaultProxy
from .story import FULL, NAMESPACE
from .story_services import ADVERTISEMENT, pool

SHARED = {"metallb.io/allow-shared-ip": "key"}
STOPPED = 20  # seconds: longer than the allocator's Lease


class Ledger(threading.Thread):
    """Which Service shows which address, in every state that there ever was."""

    def __init__(self, control: ControlPlane) -> None:
        super().__init__(daemon=True)
        self.shown: dict[str, list[str]] = {}
        self.twice: list[str] = []
        self.moved: list[str] = []  # of Services that nobody has changed
        self._process = subprocess.Popen(
            control.host.argv([str(control.tools / "kubectl"), "get", "services", "-n", "default", "--watch", "--output-watch-events",
                               "-o", "json"]),
            env={**os.environ, "KUBECONFIG": str(control.kubeconfig), "HOME": str(control.folder)}, stdout=subprocess.PIPE, text=True)
        control.host.processes.append(self._process)
        self.start()

    def run(self) -> None:
        decoder, text = json.JSONDecoder(), ""
        for line in self._process.stdout:
            text += line
            try:
                event, end = decoder.raw_decode(text)
            except ValueError:
                continue
            text = text[end:].lstrip()
            self._take(event["type"], event["object"])

    def _take(self, kind: str, service: dict) -> None:
        name = service["metadata"]["name"]
        ips = [entry["ip"] for entry in service["status"].get("loadBalancer", {}).get("ingress") or []]
        if kind == "DELETED":
            self.shown.pop(name, None)
            return
        if name == "keep" and self.shown.get(name) and ips != self.shown[name]:
            self.moved.append(f"keep: {self.shown[name]} -> {ips}")
        self.shown[name] = ips
        for other, theirs in self.shown.items():
            both = set(ips) & set(theirs)
            if other != name and both and not (name.startswith("shared") and other.startswith("shared")):
                self.twice.append(f"{both} by {name} and {other}")

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


class Allocators(NodesStory):
    NODES = 2
    OPTIONS = ("--fail-back-delay", "2s")
    proxies: dict[Node, FaultProxy] = {}

    @classmethod
    def kubeconfig_of(cls, node: Node) -> Path:
        if node not in cls.proxies:
            cls.proxies[node] = FaultProxy(cls.control, 6444 + len(cls.proxies))
        return cls.proxies[node].kubeconfig(cls.kubeconfig)

    @classmethod
    def setUpClass(cls) -> None:
        cls.proxies = {}
        super().setUpClass()
        cls.control.apply(pool("home", "192.168.0.200-192.168.0.209"), ADVERTISEMENT)

    def leader(self) -> Node:
        """The node that gives addresses out; its daemon has said so and lives."""
        def find() -> Node | None:
            lease = self.control.kubectl("get", "lease", "xdp-lb-allocator", "-n", NAMESPACE, "-o", "jsonpath={.spec.holderIdentity}",
                                         check=False).stdout
            node = next((one for one in self.lab.nodes if one.role == lease), None)
            said = self.log(node).rfind("gives addresses out") if node else -1
            no_more = self.log(node).rfind("gives addresses out no more") if node else -1
            return node if said > no_more and self.daemons[node].poll() is None else None

        found = self.until("somebody gives addresses out", find, within=60)
        assert isinstance(found, Node)
        return found

    # -- a history and its end -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """What is there before: two addresses in a row, and one that stays."""
        self.kubectl("delete", "services", "--selector", "!provider", "--wait=true")
        self.until("every address is given back", lambda: not self.leases(), within=60)
        self.service("keep", annotations={"metallb.io/loadBalancerIPs": FIRST_VIP})
        self.wait_for("keep", [FIRST_VIP], within=60)
        self.service("gone")
        self.service("wanders", annotations={"metallb.io/loadBalancerIPs": "192.168.0.205"})
        self.wait_for("gone", ["192.168.0.201"])
        self.wait_for("wanders", ["192.168.0.205"])

    def history(self) -> None:
        """All at once: one goes, one wants another address, three are new, of which two share."""
        self.kubectl("delete", "service", "gone", "--wait=false")
        self.kubectl("annotate", "service", "wanders", "--overwrite", "metallb.io/loadBalancerIPs=192.168.0.206")
        self.service("fresh", annotations={"metallb.io/loadBalancerIPs": "192.168.0.205"})  # as soon as it is free
        self.service("shared-web", annotations=SHARED, ports=[{"name": "web", "port": 443, "targetPort": 8080}])
        self.service("shared-quic", annotations=SHARED, ports=[{"name": "quic", "port": 443, "protocol": "UDP", "targetPort": 8080}])

    def leases(self) -> dict[str, list[str]]:
        """Of addresses: the Services that each is for."""
        return {one["metadata"]["annotations"]["xdp-lb.io/address"]:
                sorted(user.split("/")[1] for user in one["metadata"]["annotations"]["xdp-lb.io/services"].split(","))
                for one in self.control.get("leases", "-n", NAMESPACE)["items"] if one["metadata"]["name"].startswith("vip-")}

    def over(self) -> bool:
        """Everything is where it should be, by the server's own account and in the kernel of whoever has a daemon."""
        leases = self.leases()
        shared = next((address for address, users in leases.items() if users == ["shared-quic", "shared-web"]), None)
        wanted = {FIRST_VIP: ["keep"], "192.168.0.206": ["wanders"], "192.168.0.205": ["fresh"], shared: ["shared-quic", "shared-web"]}
        if leases != wanted:
            return False
        for address, users in leases.items():
            if any(self.addresses(name) != [address] for name in users):
                return False
        return all(tables.read(node).addresses() == set(leases) for node in self.lab.nodes if self.daemons[node].poll() is None)

    def at_write(self, number: int, when: str, how: str) -> bool:
        """One history; false: it has fewer writes than that."""
        self.begin()
        leader = self.leader()
        proxy, daemon = self.proxies[leader], self.daemons[leader]
        ledger = Ledger(self.control)
        self.until("the ledger is open", lambda: "keep" in ledger.shown)
        proxy.order(stop_writes={"number": number, "when": when})
        self.history()
        try:
            write = proxy.hears(lambda said: said.get("write") == number, f"write {number}", within=12)
        except AssertionError:
            proxy.order(stop_writes={})
            self.until("it is over without", self.over, within=60)
            ledger.end()
            return False
        place = f"{how} at write {number} ({write['method']} {write['path'].split('?')[0]}), {when} the server has it"
        if how == "killed":
            daemon.kill()
            daemon.wait(10)
            proxy.order(go=number, forward=False, stop_writes={})
            other = self.leader()
            self.assertNotEqual(other, leader, place)
        else:
            daemon.send_signal(signal.SIGSTOP)
            stopped = time.monotonic()
            try:
                self.until("another gives addresses out", lambda: self.leader_is_not(leader), within=60)
                time.sleep(max(0.0, STOPPED - (time.monotonic() - stopped)))
                proxy.order(go=number, forward=True, stop_writes={})  # what was under way arrives now
                time.sleep(0.5)
            finally:
                daemon.send_signal(signal.SIGCONT)
        try:
            self.until(place, self.over, within=60)
        except AssertionError as never:
            raise AssertionError(f"{never}\nleases {self.leases()}\nshown {ledger.shown}") from None
        if how == "killed":
            self.start(leader)
        time.sleep(2)  # whatever somebody who came back would do
        self.until(f"{place}: it stays so with everybody back", self.over)
        ledger.end()
        self.assertEqual(ledger.twice, [], place)
        self.assertEqual(ledger.moved, [], place)
        return True

    def leader_is_not(self, node: Node) -> bool:
        lease = self.control.get("lease", "xdp-lb-allocator", "-n", NAMESPACE)["spec"]["holderIdentity"]
        return bool(lease) and lease != node.role

    # -- the stories -------------------------------------------------------------------------------------------------------

    def every(self, how: str, some: tuple[tuple[int, str], ...]) -> None:
        if not FULL:
            for number, when in some:
                self.assertTrue(self.at_write(number, when, how), f"the history has no {number} writes")
            return
        tried = 0
        for number in range(1, 100):
            reached = [self.at_write(number, when, how) for when in ("before", "after")]
            tried += sum(reached)
            if not any(reached):
                break
        self.assertGreater(tried, 12)

    def test_killed_at_a_write(self) -> None:
        self.every("killed", ((1, "before"), (3, "after")))

    def test_held_still_at_a_write(self) -> None:
        self.every("held still", ((2, "before"),))
