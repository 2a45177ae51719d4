# SPDX-License-Identifier: Apache-2.0
"""The slower ways to a backend: a socket of the node itself, and the kernel's own path through netfilter."""

from __future__ import annotations

import os
import time

from . import servers
from .lab import LAN_CLIENT, LAN_CLIENT6, ROUTER_WAN, WAN_CLIENT, WAN_CLIENT6
from .story import FIRST_VIP, FIRST_VIP6, Story, service
from .traffic import Load, exchange, http

PORTS = [(80, 8000, "TCP"), (443, 8443, "TCP"), (53, 5300, "UDP"), (54, 5400, "UDP")]


class _Path(Story):
    """The same questions to both."""
    path = ""

    @classmethod
    def finish(cls) -> None:
        for echo in cls.echoes:
            echo.close()

    def check_clients(self) -> None:
        self.assertEqual(http(self.wan, ROUTER_WAN).client, WAN_CLIENT)
        self.assertEqual(http(self.wan, ROUTER_WAN, 443, tls=True).client, WAN_CLIENT)
        self.assertEqual(http(self.lan, FIRST_VIP).client, LAN_CLIENT)
        self.assertEqual(http(self.lan, FIRST_VIP6).client, LAN_CLIENT6)
        self.assertEqual(http(self.wan, FIRST_VIP6, 443, tls=True).client, WAN_CLIENT6)

    def check_udp(self) -> None:
        for vip in (FIRST_VIP, FIRST_VIP6):
            for size in (0, 10, 1400, 5000):
                with self.subTest(vip=vip, size=size), self.lan.udp(vip, 53) as udp:
                    data = os.urandom(size)
                    self.assertEqual(exchange(udp, data), data)

    def check_closed_udp_port(self) -> None:
        for vip in (FIRST_VIP, FIRST_VIP6):
            with self.subTest(vip=vip), self.lan.udp(vip, 54) as udp:
                since = time.monotonic()
                udp.send(b"x")
                with self.assertRaises(ConnectionRefusedError):
                    udp.recv(10)
                self.assertLess(time.monotonic() - since, 0.5)

    def check_load(self) -> None:
        load = Load(self.lan, FIRST_VIP, limit=2000).start().wait()
        self.assertEqual((load.done, dict(load.errors)), (2000, {}), str(load))

    def check_bulk(self) -> None:
        blob = self.ingress.files / "blob"
        servers.random_file(blob, 16 << 20)
        for host in (FIRST_VIP, f"[{FIRST_VIP6}]"):
            for arguments in (("-o", "/dev/null", "-w", "%{size_download}", f"http://{host}/files/blob"),
                              ("-T", str(blob), "-w", "%{size_upload}", f"http://{host}/files/up")):
                size = self.lan.run("curl", "-sSf", "--max-time", "30", *arguments).stdout
                self.assertEqual(int(size), 16 << 20)

    def check_status(self) -> None:
        paths = {backend["path"] for s in self.node.lb_json("status")["services"] for backend in s["backends"]}
        self.assertEqual(paths, {self.path})


class HostSocket(_Path):
    """hostNetwork, or a plain process: the kernel takes the translated packet to its own socket."""
    path = "host"

    @classmethod
    def prepare(cls) -> None:
        node = cls.lab.node
        cls.ingress = servers.nginx(cls.lab, node)
        cls.echoes = [servers.udp_echo(node, 5300, node.address), servers.udp_echo(node, 5300, node.address6)]
        cls.add_pools()
        cls.attach()
        cls.apply(service("own", PORTS, [node.address], vip=FIRST_VIP) + "---\n"
                  + service("own6", PORTS, [node.address6], vip=FIRST_VIP6))

    def test_clients(self) -> None:
        before = self.verdicts()
        self.check_clients()
        self.assertGreater(self.counted(before).get("to_host", 0), 0)

    def test_udp(self) -> None:
        self.check_udp()

    def test_closed_udp_port(self) -> None:
        self.check_closed_udp_port()

    def test_load(self) -> None:
        self.check_load()

    def test_bulk(self) -> None:
        self.check_bulk()

    def test_status(self) -> None:
        self.check_status()

    def test_loopback_backend_is_refused(self) -> None:
        done = self.node.lb("service", "add", "lo", "--port", "81:8000", "--backend", "127.0.0.1", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("127.0.0.1", done.stderr)


class KernelPath(_Path):
    """As the annotation asks: netfilter sees every packet, the client's address is kept all the same."""
    path = "kernel"

    @classmethod
    def prepare(cls) -> None:
        pod = cls.lab.pods[0]
        cls.ingress = servers.nginx(cls.lab, pod)
        cls.echoes = [servers.udp_echo(pod, 5300), servers.udp_echo(pod, 5300, pod.address6)]
        cls.add_pools()
        cls.attach()
        by_kernel = {"xdp-lb.io/path": "kernel"}
        cls.apply(service("k", PORTS, [pod.address], vip=FIRST_VIP, annotations=by_kernel) + "---\n"
                  + service("k6", PORTS, [pod.address6], vip=FIRST_VIP6, annotations=by_kernel))

    def test_clients(self) -> None:
        before = self.verdicts()
        self.check_clients()
        counted = self.counted(before)
        self.assertGreater(counted.get("to_kernel", 0), 0)
        self.assertGreater(counted.get("returned_kernel", 0), 0)
        self.assertNotIn("to_pod", counted)

    def test_netfilter_sees_it(self) -> None:
        http(self.lan, FIRST_VIP, source_port=45_555)
        table = self.node.run("conntrack", "-L").stdout
        self.assertIn("sport=45555", table)

    def test_a_rule_there_applies(self) -> None:
        """What a NetworkPolicy would do."""
        self.node.run("iptables", "-I", "FORWARD", "-s", LAN_CLIENT, "-d", self.pods[0].address, "-j", "DROP")
        try:
            with self.assertRaises(TimeoutError):
                http(self.lan, FIRST_VIP, timeout=0.7)
        finally:
            self.node.run("iptables", "-D", "FORWARD", "-s", LAN_CLIENT, "-d", self.pods[0].address, "-j", "DROP")
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")

    def test_udp(self) -> None:
        self.check_udp()

    def test_closed_udp_port(self) -> None:
        self.check_closed_udp_port()

    def test_load(self) -> None:
        self.check_load()

    def test_bulk(self) -> None:
        self.check_bulk()

    def test_status(self) -> None:
        self.check_status()
