# SPDX-License-Identifier: Apache-2.0
"""What a Service may ask for: source ranges and client affinity, which kube-proxy would have kept."""

from __future__ import annotations

import time

from . import servers
from .lab import LAN_CLIENT, ROUTER_WAN
from .story import FIRST_VIP, FIRST_VIP6, Story, service
from .traffic import http


class SourceRanges(Story):
    @classmethod
    def prepare(cls) -> None:
        servers.nginx(cls.lab, cls.lab.pods[0])
        cls.echo = servers.udp_echo(cls.lab.pods[0], 5300)
        cls.add_pools()
        cls.attach()
        pod = cls.lab.pods[0]
        only = '  loadBalancerSourceRanges: ["{}"]\n'
        cls.apply("---\n".join((
            service("lan-only", [(80, 8000, "TCP"), (443, 8443, "TCP"), (53, 5300, "UDP")], [pod.address], vip=FIRST_VIP,
                    spec=only.format("192.168.0.0/25")),
            service("lan-only6", [(80, 8000, "TCP")], [pod.address6], vip=FIRST_VIP6,
                    spec=only.format("192.168.0.0/25")),
            service("one6", [(80, 8000, "TCP")], [pod.address6], vip="fd00:0:0:1::201",
                    spec=only.format("fd00:0:0:1::50/128")),
        )))

    @classmethod
    def finish(cls) -> None:
        cls.echo.close()

    def test_inside(self) -> None:
        self.assertEqual(http(self.lan, FIRST_VIP).client, LAN_CLIENT)
        with self.lan.udp(FIRST_VIP, 53) as udp:
            udp.send(b"x")
            self.assertEqual(udp.recv(10), b"x")
        self.assertEqual(http(self.lan, "fd00:0:0:1::201").pod, "pi1-pod8")

    def assertDenied(self, host, address: str) -> None:
        before = self.verdicts()
        with self.assertRaises(TimeoutError):
            http(host, address, timeout=0.7)
        self.assertGreater(self.counted(before).get("denied", 0), 0)

    def test_outside(self) -> None:
        self.assertDenied(self.wan, ROUTER_WAN)
        self.assertDenied(self.wan, "fd00:0:0:1::201")

    def test_a_family_without_ranges_is_denied(self) -> None:
        self.assertDenied(self.lan, FIRST_VIP6)

    def test_local_clients_are_asked_too(self) -> None:
        """Unbound sockets do not say where from: refused. The node's address is inside 192.168.0.0/25, a pod's is not."""
        if self.node.cgroup is None:
            self.skipTest("no cgroup2 hierarchy is mounted")
        for host, options, served in (
                (self.node, ("--interface", self.node.address), True), (self.node, (), False),
                (self.pods[1], ("--interface", self.pods[1].address), False), (self.pods[1], (), False)):
            with self.subTest(host=host.role, options=options):
                code = host.run("curl", "-sS", "--max-time", "2", *options, f"http://{FIRST_VIP}/", check=False).returncode
                self.assertEqual(code == 0, served)


class Affinity(Story):
    LAB = {"pods": 4}

    @classmethod
    def prepare(cls) -> None:
        for pod in cls.lab.pods:
            servers.nginx(cls.lab, pod)
        cls.add_pools()
        cls.attach()
        pods = [pod.address for pod in cls.lab.pods]
        sticky = "  sessionAffinity: ClientIP\n  sessionAffinityConfig: {clientIP: {timeoutSeconds: 2}}\n"
        cls.apply("---\n".join((
            service("sticky", [(80, 8000, "TCP")], pods, vip="192.168.0.200", spec=sticky),
            service("loose", [(80, 8000, "TCP")], pods, vip="192.168.0.201"),
        )))

    def test_spread_without(self) -> None:
        seen = [http(self.lan, "192.168.0.201").pod for _ in range(100)]
        self.assertEqual(set(seen), {f"pi1-pod{n}" for n in range(8, 12)})
        self.assertLess(max(seen.count(pod) for pod in set(seen)), 60)

    def test_one_client_one_backend(self) -> None:
        pod = http(self.lan, "192.168.0.200").pod
        self.assertEqual({http(self.lan, "192.168.0.200").pod for _ in range(50)}, {pod})
        for _ in range(5):  # use renews it
            time.sleep(0.7)
            self.assertEqual(http(self.lan, "192.168.0.200").pod, pod)

    def test_clients_are_spread(self) -> None:
        addresses = [f"192.168.0.{n}" for n in range(110, 134)]
        self.lan.ip(*(f"addr add {address}/24 dev eth0" for address in addresses))
        pods = {}
        for _ in range(3):
            for address in addresses:
                pods.setdefault(address, set()).add(http(self.lan, "192.168.0.200", source=address).pod)
        self.assertEqual({address for address, seen in pods.items() if len(seen) != 1}, set())
        self.assertGreater(len(set.union(*pods.values())), 2)
