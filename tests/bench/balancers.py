# SPDX-License-Identifier: Apache-2.0
"""The ways to bring a client's connection into a pod that are compared: each is set up on the same node of the same lab.

    routing    the client talks to the pod's address and the kernel forwards: no NAT, no conntrack; the ceiling of any
               balancer that leaves packets to the kernel
    iptables   kube-proxy's iptables mode (DNAT, conntrack, MASQUERADE) and flannel's rules, by Debian's iptables
    nftables   kube-proxy's nftables mode and flannel's rules
    xdp-lb …   with kube-proxy's and flannel's rules in place (of which the VIP is no part), as in a cluster
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Callable, Iterator

from bench import rulesets
from lab import rules
from lab.lab import CLUSTER_IP, FIRST_VIP, Lab

PORT, POD_PORT = 80, 8000


@dataclass
class Balancer:
    name: str
    set_up: Callable[[Lab], None]
    take_down: Callable[[Lab], None]
    direct: bool = False  # the client talks to the pod itself

    def target(self, lab: Lab) -> tuple[str, int]:
        return (lab.pods[0].address, POD_PORT) if self.direct else (FIRST_VIP, PORT)

    @contextlib.contextmanager
    def on(self, lab: Lab) -> Iterator[None]:
        _forget(lab)
        self.set_up(lab)
        try:
            yield
        finally:
            self.take_down(lab)
            _forget(lab)


def _forget(lab: Lab) -> None:
    """No rules, and no connections of the one before."""
    lab.node.run("nft", "flush", "ruleset")
    lab.node.run("conntrack", "-F", check=False)


def _cidr(lab: Lab) -> str:
    return f"10.42.{lab.node.subnet}.0/24"


def _iptables(lab: Lab) -> None:
    lab.node.run("iptables-restore", stdin=rulesets.iptables(FIRST_VIP, PORT, lab.pods[0].address, POD_PORT, _cidr(lab)))


def _nftables(lab: Lab) -> None:
    lab.node.run("nft", "-f", "-", stdin=rulesets.nftables(FIRST_VIP, PORT, lab.pods[0].address, POD_PORT, _cidr(lab)))


def _nothing(_: Lab) -> None:
    pass


def _xdp_lb(mode: str) -> Callable[[Lab], None]:
    def set_up(lab: Lab) -> None:
        lab.node.run("iptables-restore",
                     stdin=rules.kubernetes(4, _cidr(lab), CLUSTER_IP, [lab.pods[0].address], POD_PORT))
        lab.node.lb("attach", "eth0", "--mode", mode)
    return set_up


def _detach(lab: Lab) -> None:
    lab.node.lb("detach", "--all")


def declare(lab: Lab) -> None:
    """The service that every xdp-lb here balances; stays while attachments come and go."""
    lab.node.lb("pool", "add", "bench", f"{FIRST_VIP}-192.168.0.250")
    lab.node.lb("service", "add", "bench", "--port", f"{PORT}:{POD_PORT}", "--backend", lab.pods[0].address,
                "--vip", FIRST_VIP)


ROUTING = Balancer("routing", _nothing, _nothing, direct=True)
IPTABLES = Balancer("iptables", _iptables, _nothing)
NFTABLES = Balancer("nftables", _nftables, _nothing)


def xdp_lb(mode: str) -> Balancer:
    return Balancer(f"xdp-lb {mode}", _xdp_lb(mode), _detach)
