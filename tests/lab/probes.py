# SPDX-License-Identifier: Apache-2.0
"""The probe (tests/lab/probe, built by CMake) as the stories use it: started in the background, read when it ends.

Times are CLOCK_MONOTONIC seconds everywhere, which is time.monotonic(): what a probe saw and when a cable was cut can be
compared.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from dataclasses import dataclass

from .lab import ROOT, Lab, Pod
from .namespace import CommandFailed, Namespace

PROBE = os.environ.get("XLB_LAB_PROBE", str(ROOT / "build/tests/lab/xlb_lab_probe"))


class Probe:
    """A verb of the probe that runs in a host until `end`."""

    def __init__(self, host: Namespace, *arguments: object) -> None:
        if not os.access(PROBE, os.X_OK):
            raise CommandFailed(f"no {PROBE}: build it (ninja xlb_lab_probe), or say where it is in XLB_LAB_PROBE")
        self._host = host
        self.process = subprocess.Popen(host.argv([PROBE, *map(str, arguments)]), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        host.processes.append(self.process)

    def end(self, patience: float = 60) -> dict:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            out, err = self.process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
        self._host.processes.remove(self.process)
        if self.process.returncode != 0:
            raise CommandFailed(f"{self._host.role}: probe: {err.strip() or f'exit {self.process.returncode}'}")
        return json.loads(out)


# -- new flows -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outage:
    """What flows begun between two instants suffered; milliseconds."""
    window: float  # from the first that failed to the first after which none failed
    gap: float     # the longest time without any success
    failed: int

    @property
    def worst(self) -> float:
        return max(self.window, self.gap)


class NewFlows(Probe):
    """A flow every millisecond."""

    def __init__(self, host: Namespace, address: str, port: int = 80, *, udp: bool = False, every_us: int = 1000,
                 timeout_ms: int = 500) -> None:
        super().__init__(host, "flows", "--to", address, "--port", port, "--every-us", every_us, "--timeout-ms", timeout_ms,
                         "--seconds", 3600, *(["--udp"] if udp else []))

    def end(self, patience: float = 60) -> dict:
        self.seen = super().end(patience)
        return self.seen

    def outage(self, since: float, until: float = float("inf")) -> Outage:
        """The worst between two instants; after `end`. What began before the first counts from there on."""
        early = since - 0.03  # a flow that was under way when the fault came
        windows = [w for w in self.seen["windows"] if w["to"] > since and w["from"] < until]
        gaps = [g for g in self.seen["gaps"] if g["to"] > since and g["from"] < until]

        def longest(spans: list[dict]) -> float:
            return max(((span["to"] - max(span["from"], early)) * 1000 for span in spans), default=0.0)
        return Outage(longest(windows), longest(gaps), sum(w["failed"] for w in windows))


class Held(Probe):
    """Long-lived connections; all of them are open when the constructor returns."""

    def __init__(self, host: Namespace, address: str, port: int, connections: int = 200, *, every_ms: int = 100,
                 grace_ms: int = 20000) -> None:
        super().__init__(host, "hold", "--to", address, "--port", port, "--connections", connections,
                         "--every-ms", every_ms, "--grace-ms", grace_ms, "--seconds", 3600)
        said = self.process.stderr
        assert said is not None
        ready, _, _ = select.select([said], [], [], 20)
        if not ready or said.readline().strip() != "open":
            self.process.kill()
            self.end()


# -- who answers -----------------------------------------------------------------------------------------------------


class Watch(Probe):
    """Asks for an address by ARP; from a host that nobody measures."""

    def __init__(self, host: Namespace, address: str, every_ms: int = 10) -> None:
        sender = host.ip_json("-4", "addr", "show", "eth0")[0]["addr_info"][0]["local"]
        super().__init__(host, "ask", "--about", address, "--sender", sender, "--every-ms", every_ms, "--seconds", 3600)

    def end(self, patience: float = 60) -> dict:
        self.seen = super().end(patience)
        return self.seen

    def _long(self, run: dict) -> float:
        return (run["to"] - run["from"]) * 1000 + self.seen["every_ms"]

    def double(self, since: float = 0, until: float = float("inf")) -> float:
        """For how many milliseconds two nodes answered."""
        return sum(self._long(run) for run in self._between(since, until) if len(run["macs"]) > 1)

    def last_double(self, since: float = 0) -> float | None:
        """When two nodes answered for the last time."""
        return max((run["to"] for run in self._between(since) if len(run["macs"]) > 1), default=None)

    def silence(self, since: float = 0, until: float = float("inf")) -> float:
        """The longest time in which nobody answered, ms."""
        return max((self._long(run) for run in self._between(since, until) if not run["macs"]), default=0.0)

    def moves(self, since: float = 0, until: float = float("inf")) -> int:
        """How often another node than before answered."""
        owners = [run["macs"][0] for run in self._between(since, until) if len(run["macs"]) == 1]
        return sum(1 for one, other in zip(owners, owners[1:]) if one != other)

    def _between(self, since: float, until: float = float("inf")) -> list[dict]:
        """Runs, cut to the time that is asked about."""
        cut = ({**run, "from": max(run["from"], since), "to": min(run["to"], until)} for run in self.seen["runs"])
        return [run for run in cut if run["from"] <= run["to"]]


# -- the server ------------------------------------------------------------------------------------------------------


def echo(host: Namespace, port: int = 9000) -> subprocess.Popen[str]:
    """Says the host's name to each connection, then sends back what it gets; the same by UDP."""
    process = host.start(PROBE, "echo", "--port", str(port), "--name", host.role)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            host.connect("127.0.0.1", port, timeout=1).close()
            return process
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.02)
    raise CommandFailed(f"{host.role}: no echo server at port {port}")


def echoes(lab: Lab, port: int = 9000) -> dict[Pod, subprocess.Popen[str]]:
    """One in every pod of the lab."""
    return {pod: echo(pod, port) for node in lab.nodes for pod in node.pods}
