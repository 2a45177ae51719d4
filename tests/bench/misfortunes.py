# SPDX-License-Identifier: Apache-2.0
"""What befalls the owner of the VIP, once: the fault, its end, and what a client and a watcher saw of both."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field
from typing import Callable

from bench.contenders import PORT, VIP, Contender
from lab import probes
from lab.faults import Faults
from lab.lab import Lab, Node
from lab.namespace import CommandFailed, Namespace
from lab.traffic import eventually, who_has

HELD = 200
WATCHER = "192.168.0.60"
STALL_MS = 100


@dataclass(frozen=True)
class Misfortune:
    name: str
    strike: Callable[[Stage, Node], None]
    amend: Callable[[Stage, Node], None]
    lasts: float     # seconds until it is amended
    after: float     # seconds of looking on when it has been amended
    held: bool       # long-lived connections, too
    times: int       # by default
    elsewhere: bool = False  # the owner has no backend; a lab for each time, because afterwards another node owns the VIP


@dataclass
class Seen:
    outage_ms: float           # from the fault on
    gap_ms: float              # of it, without any success
    failed: int
    heal_outage_ms: float      # from the amendment on
    double_ms: float           # two nodes answered: in all,
    double_last_ms: float      # and how long after the amendment for the last time
    moves: int
    broken: int | None         # of the held connections
    stall_ms: float            # of the measuring client itself
    reasons: dict[str, int] = field(default_factory=dict)


class Stage:
    """Three nodes, a client, a watcher, and the contender that is on."""

    def __init__(self, lab: Lab, watcher: Namespace, contender: Contender) -> None:
        self.lab, self.watcher, self.contender = lab, watcher, contender
        self.faults = Faults(lab)

    def owner(self) -> Node | None:
        macs = who_has(self.watcher, VIP, WATCHER, timeout=0.05)
        return next((node for node in self.lab.nodes if [node.mac()] == macs), None)

    def settle(self) -> Node:
        """Waits until exactly one node answers for some time and the contender says that all are there."""
        calm: list[Node] = []

        def look() -> bool:
            owner = self.owner() if self.contender.settled() else None
            if owner is None or (calm and calm[-1] is not owner):
                calm.clear()
            if owner is not None:
                calm.append(owner)
            return len(calm) >= 5
        try:
            eventually(f"{self.contender.name}: one node answers, all are there", look, within=60, every=0.05)
        except AssertionError as never:
            raise CommandFailed(f"{never}\n{self.contender.said()}") from None
        # The client's neighbour table is that of a client that knows the owner, whatever the fault before has left.
        self.lab.lan.forget_neighbours()
        self.lab.lan.connect(VIP, PORT).close()
        return calm[-1]

    def suffer(self, misfortune: Misfortune, *, briefly: bool = False) -> Seen:
        """`briefly`: does not look on for long when it is over."""
        for left in reversed(range(8)):
            owner = self.settle()
            seen = self._once(misfortune, owner, briefly)
            # A client that was itself held up saw nothing; only a machine that never lets it run gets it written down.
            if seen is not None and (seen.stall_ms <= STALL_MS or left == 0):
                return seen
        raise CommandFailed(f"{self.contender.name}: the VIP moves by itself all the time")

    def _once(self, misfortune: Misfortune, owner: Node, briefly: bool) -> Seen | None:
        mac = owner.mac()
        held = probes.Held(self.lab.lan, VIP, PORT, HELD) if misfortune.held else None
        watch = probes.Watch(self.watcher, VIP, every_ms=5)
        flows = probes.NewFlows(self.lab.lan, VIP, PORT)
        time.sleep(0.5)
        struck = time.monotonic()
        misfortune.strike(self, owner)
        time.sleep(max(0.0, misfortune.lasts - (time.monotonic() - struck)))
        amended = time.monotonic()
        misfortune.amend(self, owner)
        time.sleep(0.3 if briefly else misfortune.after)
        until = time.monotonic()
        said, _ = flows.end(), watch.end()
        broken = held.end()["broken"] if held else None
        before = [run["macs"] for run in watch.seen["runs"] if run["from"] < struck]
        if before != [[mac]]:
            return None  # it was no longer, or not yet, the owner
        outage, heal = flows.outage(struck, amended), flows.outage(amended, until)
        last = watch.last_double(amended)
        return Seen(outage.worst, outage.gap, outage.failed, heal.worst, watch.double(struck),
                    0.0 if last is None else (last - amended) * 1000, watch.moves(struck - 0.05), broken, said["worst_stall_ms"],
                    said["reasons"])


# -- the rows ----------------------------------------------------------------------------------------------------------


def _signal(number: int) -> Callable[[Stage, Node], None]:
    def strike(stage: Stage, node: Node) -> None:
        pids = stage.contender.pids(node)
        if not pids:
            raise CommandFailed(f"{stage.contender.name}: no daemon on {node}")
        for pid in pids:
            os.kill(pid, number)
    return strike


def _start_again(stage: Stage, node: Node) -> None:
    eventually("the daemon has ended", lambda: not stage.contender.pids(node), within=10)
    stage.contender.start_on(node)


def _power_on(stage: Stage, node: Node) -> None:
    stage.lab.power_on(node)
    stage.contender.start_on(node)


ROWS = (
    Misfortune("port cut", lambda s, n: s.faults.cut(n), lambda s, n: s.faults.mend(n), 1.2, 8, False, 50),
    Misfortune("link down", lambda s, n: s.faults.unplug(n), lambda s, n: s.faults.plug(n), 1.2, 8, False, 10),
    Misfortune("power", lambda s, n: s.lab.power_off(n), _power_on, 1.2, 4, False, 10),
    Misfortune("power, all backends elsewhere", lambda s, n: s.lab.power_off(n), _power_on, 3, 4, True, 3, elsewhere=True),
    Misfortune("kill -9, started again after 1 s", _signal(signal.SIGKILL), _start_again, 1, 8, True, 3),
    Misfortune("kill -9, nobody starts it", _signal(signal.SIGKILL), _start_again, 8, 4, True, 3),
    Misfortune("SIGSTOP 20 s, SIGCONT", _signal(signal.SIGSTOP), _signal(signal.SIGCONT), 20, 4, True, 2),
    Misfortune("SIGTERM, started again after 1 s", _signal(signal.SIGTERM), _start_again, 1, 8, True, 3),
    Misfortune("orderly hand-over and back", lambda s, n: s.contender.hand_over(n), lambda s, n: s.contender.take_back(n), 3, 4,
               True, 5),
)
