# SPDX-License-Identifier: Apache-2.0
"""What every story starts from: a lab, the ingress, and the three commands of the tutorial."""

from __future__ import annotations

import itertools
import os
import unittest
from pathlib import Path
from typing import Iterable, Mapping

from . import lab as topology
from .lab import Lab, Node, Pod
from .namespace import Namespace

FIRST_VIP, FIRST_VIP6 = topology.FIRST_VIP, topology.FIRST_VIP6
EXAMPLE_POOL = topology.ROOT / "examples/ip-address-pool.yaml"
POOL6 = "fd00:0:0:1::200-fd00:0:0:1::2ff"

# Set by tests/lab/run.
BINARY = Path(os.environ.get("XLB_LAB_BINARY", topology.ROOT / "build/xdp-lb"))
MODE = os.environ.get("XLB_LAB_MODE", "tc")
FULL = os.environ.get("XLB_LAB_FULL") == "1"

_labs = itertools.count()


class Story(unittest.TestCase):
    """A lab for each class, or for each test where FRESH is set."""

    LAB: Mapping[str, object] = {}
    FRESH = False
    # Of the room that tests/lab/run has for stories at a time.
    WEIGHT = 1
    # A story in which no packet passes the LAN programs says here in which one mode it runs.
    ONLY_MODE: str | None = None
    lab: Lab

    @classmethod
    def setUpClass(cls) -> None:
        if not cls.FRESH:
            cls._begin()

    @classmethod
    def tearDownClass(cls) -> None:
        if not cls.FRESH:
            cls._end()

    def setUp(self) -> None:
        if self.FRESH:
            self._begin()

    def tearDown(self) -> None:
        if self.FRESH:
            self._end()

    @classmethod
    def _begin(cls) -> None:
        cls.lab = Lab(f"s{os.getpid()}{'abcdefghij'[next(_labs) % 10]}", mode=MODE, binary=BINARY, **cls.LAB).up()
        try:
            cls.prepare()
        except BaseException:
            cls._end()
            raise

    @classmethod
    def _end(cls) -> None:
        cls.finish()
        cls.lab.down()

    @classmethod
    def prepare(cls) -> None:
        """After the lab is up."""

    @classmethod
    def finish(cls) -> None:
        """Before the lab goes down."""

    # -- the cast ------------------------------------------------------------------------------------------------

    @property
    def node(self) -> Node:
        return self.lab.node

    @property
    def pods(self) -> list[Pod]:
        return self.lab.pods

    @property
    def lan(self) -> Namespace:
        return self.lab.lan

    @property
    def wan(self) -> Namespace:
        return self.lab.wan

    @property
    def router(self) -> Namespace:
        return self.lab.router

    # -- what users type -----------------------------------------------------------------------------------------

    @classmethod
    def attach(cls, *options: str) -> None:
        cls.lab.node.lb("attach", "eth0", "--mode", MODE, *options)

    @classmethod
    def add_pools(cls) -> None:
        cls.lab.node.lb("apply", "-f", str(EXAMPLE_POOL))
        cls.lab.node.lb("pool", "add", "six", POOL6)

    @classmethod
    def tutorial(cls) -> None:
        """The pool manifest, attach, and an ingress with 80 and 443: twice, for both families."""
        cls.add_pools()
        cls.attach()
        pod = cls.lab.pods[0]
        for name, address, vip in (("traefik", pod.address, FIRST_VIP), ("traefik6", pod.address6, FIRST_VIP6)):
            cls.lab.node.lb("service", "add", name, "--port", "80:8000", "--port", "443:8443", "--backend", address,
                            "--vip", vip)

    @classmethod
    def apply(cls, text: str) -> None:
        cls.lab.node.lb("apply", "-f", str(cls.manifest(text)))

    @classmethod
    def manifest(cls, text: str, name: str = "manifest.yaml") -> Path:
        path = cls.lab.directory / name
        path.write_text(text)
        return path

    # -- what users read -----------------------------------------------------------------------------------------

    def verdicts(self) -> dict[str, int]:
        stats = self.node.lb_json("stats")
        return {name: counter["packets"] for name, counter in stats["verdicts"].items()}

    def counted(self, before: Mapping[str, int]) -> dict[str, int]:
        """Verdicts that have been counted since `before`."""
        return {name: count - before.get(name, 0) for name, count in self.verdicts().items()
                if count != before.get(name, 0)}

    def vip_status(self, address: str) -> dict:
        for vip in self.node.lb_json("status")["vips"]:
            if vip["address"] == address:
                return vip
        self.fail(f"status does not know the VIP {address}")


def service(name: str, ports: Iterable[tuple[int, int, str]], backends: Iterable[str], *, vip: str = "",
            annotations: Mapping[str, str] | None = None, spec: str = "") -> str:
    """A Service of type LoadBalancer and its EndpointSlice, as a cluster would have them.

    `spec` is more YAML for the Service's spec, at its indentation of two.
    """
    ports, backends = list(ports), list(backends)
    annotations = dict(annotations or {})
    if vip:
        annotations["metallb.io/loadBalancerIPs"] = vip
    six = ":" in backends[0]
    notes = "".join(f'\n    {key}: "{value}"' for key, value in annotations.items())
    service_ports = "".join(f"\n    - {{name: p{port}-{protocol.lower()}, port: {port}, targetPort: {target}, "
                            f"protocol: {protocol}}}" for port, target, protocol in ports)
    slice_ports = "".join(f"\n  - {{name: p{port}-{protocol.lower()}, port: {target}, protocol: {protocol}}}"
                          for port, target, protocol in ports)
    endpoints = "".join(f'\n  - addresses: ["{backend}"]\n    nodeName: pi1\n    conditions: {{ready: true}}'
                        for backend in backends)
    return f"""\
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: default{f'''
  annotations:{notes}''' if notes else ''}
spec:
  type: LoadBalancer
  clusterIP: "{'fd00:43::99' if six else '10.43.0.99'}"
  ipFamilies: [{'IPv6' if six else 'IPv4'}]
  ports:{service_ports}
{spec}---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-lab
  namespace: default
  labels:
    kubernetes.io/service-name: {name}
addressType: {'IPv6' if six else 'IPv4'}
endpoints:{endpoints}
ports:{slice_ports}
"""
