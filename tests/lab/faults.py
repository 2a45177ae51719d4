# SPDX-License-Identifier: Apache-2.0
"""What can happen to a LAN and to the machines on it, one method a misfortune; `heal` undoes those of the wires.

A *cut* port stays up at both ends, as when a switch forgets it or a cable is half broken: nobody is told. An *unplugged*
one loses its carrier, which the node sees at once. The rest are rules in the switch's bridge: frames that are lost on
the way are lost there and nowhere else, so no counter of a host gives them away.
"""

from __future__ import annotations

import contextlib
import subprocess
from typing import Iterator

from .lab import Lab, Node
from .namespace import Namespace, stop

_DISABLED, _FORWARDING = 0, 3  # bridge port states, linux/if_bridge.h


class Faults:
    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._rules: list[str] = []
        self._cut: set[str] = set()
        self._unplugged: set[str] = set()

    # -- ports ---------------------------------------------------------------------------------------------------

    def cut(self, *hosts: Namespace | str) -> None:
        """Nothing passes the switch ports any more, in either direction; the carrier stays."""
        self._ports(hosts, _DISABLED)
        self._cut |= set(map(_port, hosts))

    def mend(self, *hosts: Namespace | str) -> None:
        self._ports(hosts, _FORWARDING)
        self._cut -= set(map(_port, hosts))

    def _ports(self, hosts: tuple[Namespace | str, ...], state: int) -> None:
        lines = "".join(f"link set dev {_port(host)} state {state}\n" for host in hosts)
        self.lab.switch.run("bridge", "-batch", "-", stdin=lines)

    def unplug(self, *hosts: Namespace) -> None:
        """The cables are pulled: both ends lose the carrier."""
        self.lab.switch.ip(*(f"link set {_port(host)} down" for host in hosts))
        self._unplugged |= set(map(_port, hosts))

    def plug(self, *hosts: Namespace) -> None:
        self.lab.switch.ip(*(f"link set {_port(host)} up" for host in hosts))
        self._unplugged -= set(map(_port, hosts))

    # -- the way between them ------------------------------------------------------------------------------------

    def deafen(self, *hosts: Namespace) -> None:
        """They can still send, but hear nothing."""
        self._lose(*(f"oifname {_port(host)} drop" for host in hosts))

    def mute(self, *hosts: Namespace) -> None:
        """They hear everything, but nothing that they send arrives."""
        self._lose(*(f"iifname {_port(host)} drop" for host in hosts))

    def part(self, one: Namespace, other: Namespace) -> None:
        """These two do not hear each other; everybody else hears both."""
        self._lose(*(f"iifname {_port(a)} oifname {_port(b)} drop" for a, b in ((one, other), (other, one))))

    def silence(self, one: Namespace, other: Namespace) -> None:
        """What the first sends does not reach the second; everything else goes on."""
        self._lose(f"iifname {_port(one)} oifname {_port(other)} drop")

    def lose(self, percent: float, *hosts: Namespace) -> None:
        """So much of all traffic (or of the hosts', each way) is lost at random."""
        chance = f"numgen random mod 10000 < {round(percent * 100)} drop"
        if hosts:
            self._lose(*(f"{way} {_port(host)} {chance}" for host in hosts for way in ("iifname", "oifname")))
        else:
            self._lose(chance)

    def _lose(self, *rules: str) -> None:
        self._rules += rules
        self._install()

    def _install(self) -> None:
        """All rules at one instant, whatever was there before."""
        text = "add table bridge faults\ndelete table bridge faults\n"
        if self._rules:
            lines = "\n".join(f"        {rule}" for rule in self._rules)
            text += f"table bridge faults {{\n    chain forward {{\n        type filter hook forward priority 0;\n{lines}\n    }}\n}}\n"
        self.lab.switch.run("nft", "-f", "-", stdin=text)

    # -- two switches --------------------------------------------------------------------------------------------

    def two_switches(self, *far: Namespace) -> None:
        """Moves these hosts to a second switch, joined to the first by one cable, until the lab goes down."""
        self.lab.switch.ip("link add br1 type bridge mcast_snooping 0", "link set br1 up",
                           "link add trunk0 type veth peer name trunk1",
                           "link set trunk0 master br0 up", "link set trunk1 master br1 up",
                           *(f"link set {_port(host)} master br1" for host in far))

    def split(self) -> None:
        """The cable between the two switches is dead."""
        self.cut("trunk0")

    # -- all of it -----------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """Every wire as it was; machines that are off stay off."""
        if self._cut:
            self.mend(*self._cut)
        if self._unplugged:
            self.lab.switch.ip(*(f"link set {port} up" for port in self._unplugged))
            self._unplugged.clear()
        if self._rules:
            self._rules.clear()
            self._install()


def _port(host: Namespace | str) -> str:
    return host if isinstance(host, str) else host.role


# -- hosts -----------------------------------------------------------------------------------------------------------


def drop_all_udp(node: Node) -> None:
    """A firewall by somebody who has not thought of us, in and out; `allow_udp` takes it away."""
    node.run("nft", "-f", "-", stdin="""
table inet strict {
    chain input { type filter hook input priority -200; meta l4proto udp drop; }
    chain output { type filter hook output priority -200; meta l4proto udp drop; }
    chain forward { type filter hook forward priority -200; meta l4proto udp drop; }
}
""")


def allow_udp(node: Node) -> None:
    node.run("nft", "delete", "table", "inet", "strict")


@contextlib.contextmanager
def busy(cpus: int) -> Iterator[None]:
    """So many processes that never sleep; at normal priority, like any neighbour's runaway loop."""
    burners = [subprocess.Popen(["/bin/sh", "-c", "while :; do :; done"], stdin=subprocess.DEVNULL) for _ in range(cpus)]
    try:
        yield
    finally:
        for burner in burners:
            stop(burner)
