# SPDX-License-Identifier: Apache-2.0
"""Clients on the node and in its pods reach a VIP too: their backend is chosen when the socket connects."""

from __future__ import annotations

import sys
from typing import Callable

from . import servers
from .namespace import Namespace
from .story import FIRST_VIP, FIRST_VIP6, Story
from .traffic import http

# Separate processes, because a socket belongs to the cgroup of the process that made it.
TCP_PEER = """
import socket, sys
s = socket.create_connection((sys.argv[1], 80), 3)
print(s.getpeername()[0])
"""
UDP_CONNECTED = """
import socket, sys
six = ":" in sys.argv[1]
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3); s.connect((sys.argv[1], 53)); s.send(b"x"); print(s.recv(10).decode(), s.getpeername()[0])
"""
UDP_UNCONNECTED = """
import socket, sys
six = ":" in sys.argv[1]
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3); s.sendto(b"x", (sys.argv[1], 53)); data, peer = s.recvfrom(10); print(data.decode(), peer[0], peer[1])
"""
UDP_CLOSED = """
import socket, sys
s = socket.socket(socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(3); s.connect((sys.argv[1], 54)); s.send(b"x")
try: s.recv(10)
except ConnectionRefusedError: print("refused")
"""


class LocalClients(Story):
    @classmethod
    def prepare(cls) -> None:
        if cls.lab.node.cgroup is None:
            cls.lab.down()
            raise cls.skipTest(cls, "no cgroup2 hierarchy is mounted")
        pod = cls.lab.pods[0]
        servers.nginx(cls.lab, pod)
        cls.echoes = [servers.udp_echo(pod, 5300), servers.udp_echo(pod, 5300, pod.address6)]
        cls.add_pools()
        cls.attach()
        for name, address, vip in (("traefik", pod.address, FIRST_VIP), ("traefik6", pod.address6, FIRST_VIP6)):
            cls.lab.node.lb("service", "add", name, "--port", "80:8000", "--port", "443:8443", "--port", "53:5300/udp",
                            "--port", "54:5400/udp", "--backend", address, "--vip", vip)

    @classmethod
    def finish(cls) -> None:
        for echo in getattr(cls, "echoes", ()):
            echo.close()

    def python(self, host: Namespace, program: str, vip: str) -> list[str]:
        return host.run(sys.executable, "-c", program, vip, timeout=10).stdout.split()

    def everywhere(self, check: Callable[[Namespace, str], None]) -> None:
        """From the node, a pod that is no backend, and the backend itself (which must reach itself)."""
        for host in (self.node, self.pods[1], self.pods[0]):
            for vip in (FIRST_VIP, FIRST_VIP6):
                with self.subTest(host=host.role, vip=vip):
                    check(host, vip)

    def test_curl(self) -> None:
        def check(host: Namespace, vip: str) -> None:
            name = f"[{vip}]" if ":" in vip else vip
            for url in (f"http://{name}/", f"https://{name}/"):
                body = host.run("curl", "-sSk", "--max-time", "3", url).stdout
                self.assertEqual(body.split()[0], "pi1-pod8")

        self.everywhere(check)

    def test_peer_name_is_the_vip(self) -> None:
        self.everywhere(lambda host, vip: self.assertEqual(self.python(host, TCP_PEER, vip), [vip]))

    def test_udp_connected(self) -> None:
        self.everywhere(lambda host, vip: self.assertEqual(self.python(host, UDP_CONNECTED, vip), ["x", vip]))

    def test_udp_answers_come_from_the_vip(self) -> None:
        self.everywhere(lambda host, vip: self.assertEqual(self.python(host, UDP_UNCONNECTED, vip), ["x", vip, "53"]))

    def test_udp_closed_port_is_refused(self) -> None:
        self.everywhere(lambda host, vip: self.assertEqual(self.python(host, UDP_CLOSED, vip), ["refused"]))

    def test_ipv4_mapped_socket(self) -> None:
        """What Go and Java open: one IPv6 socket for both families."""
        program = "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_STREAM); s.settimeout(3); " \
                  f"s.connect(('::ffff:{FIRST_VIP}', 80)); print(s.getpeername()[0])"
        for host in (self.node, self.pods[1]):
            with self.subTest(host=host.role):
                self.assertEqual(host.run(sys.executable, "-c", program).stdout.split(), [f"::ffff:{FIRST_VIP}"])

    def test_unknown_port_is_refused(self) -> None:
        def check(host: Namespace, vip: str) -> None:
            name = f"[{vip}]" if ":" in vip else vip
            done = host.run("curl", "-sS", "--max-time", "3", f"http://{name}:81/", check=False)
            self.assertEqual(done.returncode, 7, f"refused is 7, time-out 28: {done.stderr}")

        self.everywhere(check)

    def test_others_are_not_translated(self) -> None:
        """Only the node's own cgroup: the LAN client of this process goes over the wire."""
        before = self.verdicts()
        http(self.lan, FIRST_VIP)
        self.assertNotIn("socket", self.counted(before))
