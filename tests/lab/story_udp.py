# SPDX-License-Identifier: Apache-2.0
"""Datagrams of every kind through a VIP; the pods' links have flannel's MTU of 1450, the LAN 1500."""

from __future__ import annotations

import errno
import os
import socket
import time

from . import servers
from .namespace import family_of
from .story import FIRST_VIP, FIRST_VIP6, Story
from .traffic import eventually, exchange

SO_NO_CHECK = 11
IP_MTU_DISCOVER, IP_PMTUDISC_DO = 10, 2
IPV6_MTU_DISCOVER = 23
SIZES = (0, 1, 100, 1400, 1422, 1423, 1472, 5000, 20000)


class Datagrams(Story):
    @classmethod
    def prepare(cls) -> None:
        pod = cls.lab.pods[0]
        cls.echoes = [servers.udp_echo(pod, 5300), servers.udp_echo(pod, 5300, pod.address6)]
        cls.add_pools()
        cls.attach()
        for name, address, vip in (("dns", pod.address, FIRST_VIP), ("dns6", pod.address6, FIRST_VIP6)):
            cls.lab.node.lb("service", "add", name, "--port", "53:5300/udp", "--port", "54:5400/udp",
                            "--backend", address, "--vip", vip)

    @classmethod
    def finish(cls) -> None:
        for echo in cls.echoes:
            echo.close()

    def both_ways(self, vip: str, size: int, without_checksum: bool = False) -> None:
        with self.lan.udp(vip, 53, timeout=2) as udp:
            if without_checksum:
                udp.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
            if family_of(vip) == socket.AF_INET:  # fragments are what is looked at here
                udp.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 0)
            data = os.urandom(size)
            self.assertEqual(exchange(udp, data), data)

    def test_sizes_ipv4(self) -> None:
        for size in SIZES:
            with self.subTest(size=size):
                self.both_ways(FIRST_VIP, size)

    def test_sizes_ipv6(self) -> None:
        for size in (0, 1, 100, 1400, 5000, 20000):
            with self.subTest(size=size):
                self.both_ways(FIRST_VIP6, size)

    def test_without_checksum(self) -> None:
        for size in SIZES:
            with self.subTest(size=size):
                self.both_ways(FIRST_VIP, size, without_checksum=True)

    def test_many_fragmented_datagrams(self) -> None:
        for _ in range(50):
            self.both_ways(FIRST_VIP, 5000)

    def test_client_address_is_kept(self) -> None:
        self.echoes[0].peers.clear()
        self.both_ways(FIRST_VIP, 10)
        self.assertEqual(self.echoes[0].peers[0][0], "192.168.0.50")

    def test_closed_port_of_the_pod_is_refused_at_once(self) -> None:
        """The pod's own ICMP error, translated so that the client's socket understands it."""
        for vip in (FIRST_VIP, FIRST_VIP6):
            with self.subTest(vip=vip), self.lan.udp(vip, 54) as udp:
                since = time.monotonic()
                udp.send(b"anybody?")
                with self.assertRaises(ConnectionRefusedError):
                    udp.recv(100)
                self.assertLess(time.monotonic() - since, 0.5)

    def test_path_mtu_towards_the_pod(self) -> None:
        """1472 bytes fit the LAN and not the pod's link: the sender is told, once, and then sends less."""
        for vip, option, level, headers in ((FIRST_VIP, IP_MTU_DISCOVER, socket.IPPROTO_IP, 28),
                                            (FIRST_VIP6, IPV6_MTU_DISCOVER, socket.IPPROTO_IPV6, 48)):
            with self.subTest(vip=vip), self.lan.udp(vip, 53) as udp:
                udp.setsockopt(level, option, IP_PMTUDISC_DO)

                def too_long() -> bool:
                    try:
                        udp.send(bytes(1500 - headers))
                    except OSError as problem:
                        return problem.errno == errno.EMSGSIZE
                    return False

                eventually("EMSGSIZE for a datagram longer than the pod's link takes", too_long, within=10)
                udp.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)  # the same news, kept for the next call
                data = bytes(1450 - headers)
                udp.send(data)
                while (answer := udp.recv(65535)) != data:
                    self.assertEqual(len(answer), 1500 - headers)

    def test_many_clients(self) -> None:
        sockets = [self.lan.udp(FIRST_VIP, 53) for _ in range(200)]
        try:
            for number, udp in enumerate(sockets):
                udp.send(str(number).encode())
            for number, udp in enumerate(sockets):
                self.assertEqual(udp.recv(100), str(number).encode())
        finally:
            for udp in sockets:
                udp.close()


class PodsWithTheLansMtu(Datagrams):
    """Every piece fits: none of a datagram's pieces leaves the fast path."""
    LAB = {"pod_mtu": 1500}
    test_path_mtu_towards_the_pod = None  # there is nothing to discover

    def test_pieces_stay_on_the_fast_path(self) -> None:
        before = self.verdicts()
        for vip in (FIRST_VIP, FIRST_VIP6):
            for _ in range(20):
                self.both_ways(vip, 5000)
        counted = self.counted(before)
        self.assertGreaterEqual(counted.get("fragment_in", 0), 120)
        self.assertGreaterEqual(counted.get("fragment_out", 0), 120)
        self.assertFalse(set(counted) & {"to_kernel", "fragment_unknown", "returned_kernel"}, counted)
