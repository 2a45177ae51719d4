# SPDX-License-Identifier: Apache-2.0
"""Ports that no service of a VIP has: refused, dropped, or left to kube-proxy behind us, as the service says."""

from __future__ import annotations

import time

from . import servers
from .story import FIRST_VIP, FIRST_VIP6, Story, service
from .traffic import http


class UnknownPorts(Story):
    @classmethod
    def prepare(cls) -> None:
        servers.nginx(cls.lab, cls.lab.pods[0])
        cls.add_pools()
        cls.attach()
        pod = cls.lab.pods[0]
        for name, vip, what in (("refusing", "192.168.0.200", "reject"), ("silent", "192.168.0.201", "drop"),
                                ("falling", "192.168.0.202", "fall-back")):
            cls.lab.node.lb("service", "add", name, "--port", "80:8000", "--backend", pod.address, "--vip", vip,
                            "--unknown-ports", what)
        # kube-proxy's rule for another port of the third address.
        cls.lab.node.run("iptables", "-t", "nat", "-A", "KUBE-SERVICES", "-d", "192.168.0.202/32", "-p", "tcp",
                         "--dport", "81", "-j", "DNAT", "--to-destination", f"{pod.address}:8000")

    def test_refused(self) -> None:
        before = self.verdicts()
        since = time.monotonic()
        for _ in range(20):
            with self.assertRaises(ConnectionRefusedError):
                self.lan.connect("192.168.0.200", 81)
        self.assertLess(time.monotonic() - since, 1)
        self.assertGreaterEqual(self.counted(before).get("rejected_tcp", 0), 20)

    def test_dropped(self) -> None:
        before = self.verdicts()
        with self.assertRaises(TimeoutError):
            self.lan.connect("192.168.0.201", 81, timeout=0.5)
        self.assertGreater(self.counted(before).get("unknown_port", 0), 0)
        self.assertEqual(http(self.lan, "192.168.0.201").pod, "pi1-pod8")

    def test_left_to_kube_proxy(self) -> None:
        self.assertEqual(http(self.lan, "192.168.0.202").pod, "pi1-pod8", "ours")
        before = self.verdicts()
        self.assertEqual(http(self.lan, "192.168.0.202", 81).pod, "pi1-pod8", "kube-proxy's")
        self.assertGreater(self.counted(before).get("fall_back", 0), 0)


class NoBackend(Story):
    """A service that has lost its endpoints refuses at once; ping stops, too."""
    FRESH = True

    def test_refused_and_back(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        text = {vip: service(name, [(80, 8000, "TCP")], [address], vip=vip) for name, address, vip in (
            ("web", self.pods[0].address, FIRST_VIP), ("web6", self.pods[0].address6, FIRST_VIP6))}
        self.add_pools()
        self.attach()
        for vip, manifest in text.items():
            with self.subTest(vip=vip):
                self.apply(manifest)
                self.assertEqual(http(self.lan, vip).pod, "pi1-pod8")
                self.apply(manifest.replace("{ready: true}", "{ready: false}"))
                before = self.verdicts()
                with self.assertRaises(ConnectionRefusedError):
                    http(self.lan, vip, timeout=1)
                self.assertGreater(self.counted(before).get("no_backend", 0), 0)
                self.apply(manifest)
                self.assertEqual(http(self.lan, vip).pod, "pi1-pod8")
