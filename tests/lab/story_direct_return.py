# SPDX-License-Identifier: Apache-2.0
"""The owner hands flows to pods of other nodes by their MAC, and those answer the client themselves."""

from __future__ import annotations

import collections
import contextlib
import socket
import time

from .cluster_story import PORT, VIP, ClusterStory
from .lab import Pod
from .traffic import ETH_IP, Listener, exchange, mac_text


class DirectReturn(ClusterStory):
    ONLY_MODE = None  # here the way of a packet is what matters

    @classmethod
    def declare(cls) -> None:
        super().declare()
        for node in cls.lab.nodes:
            node.lb("service", "add", "datagrams", "--port", "53:9000/udp", "--vip", "192.168.0.230",
                    *(word for pod in cls.everywhere() for word in ("--backend", f"{pod.address}@{pod.node.role}")))

    def say(self, connection: socket.socket) -> str:
        """The pod at the other end."""
        data = b""
        while not data.endswith(b"\n"):
            data += connection.recv(100)
        return data.decode().strip()

    def pod(self, name: str) -> Pod:
        return next(pod for pod in self.everywhere() if pod.role == name)

    def test_each_node_answers_with_its_own_mac_and_sees_the_client(self) -> None:
        answered: collections.Counter[str] = collections.Counter()
        ports: dict[int, str] = {}
        with Listener(self.lan, ETH_IP) as listener:
            for _ in range(60):
                with self.lan.connect(VIP, PORT) as connection:
                    name = self.say(connection)
                    answered[name] += 1
                    ports[connection.getsockname()[1]] = name
                    for _ in range(3):
                        connection.sendall(b"x" * 1000)
                        self.assertTrue(connection.recv(2000))
            time.sleep(0.3)
        self.assertEqual(set(answered), {pod.role for pod in self.everywhere()}, answered)
        frames = 0
        for _, frame in listener.frames:
            # From the VIP's port: IPv4 without options, TCP.
            if frame[23] != 6 or frame[26:30] != socket.inet_aton(VIP):
                continue
            frames += 1
            client_port = int.from_bytes(frame[36:38], "big")
            if client_port in ports:
                self.assertEqual(mac_text(frame[6:12]), self.pod(ports[client_port]).node.mac(), ports[client_port])
        self.assertGreater(frames, 60 * 5)
        for node in self.lab.nodes:
            flows = node.lb("flows").stdout
            if node is not self.owner:
                self.assertIn("192.168.0.50", flows, f"{node} has seen the client")

    def test_datagrams_short_long_and_cut(self) -> None:
        names = set()
        for number in range(40):
            with self.lan.udp("192.168.0.230", 53) as udp:
                for size in (1, 600, 1400, 1472, 3000):
                    data = bytes([number]) * size
                    answer = exchange(udp, data)
                    self.assertTrue(answer.endswith(data), f"{size} bytes")
                    self.assertEqual(len(answer) - size, len("pi1-pod8"))
                    names.add(answer[:len("pi1-pod8")].decode())
        self.assertEqual(names, {pod.role for pod in self.everywhere()})

    def test_from_outside_the_lan(self) -> None:
        answered = set()
        for _ in range(40):
            with self.wan.connect("203.0.113.1", PORT) as connection:
                answered.add(self.say(connection))
        self.assertEqual(answered, {pod.role for pod in self.everywhere()})

    def test_a_bulk_each_way(self) -> None:
        size, seen = 4 << 20, set()
        for port in range(21000, 21060):
            with self.lan.connect(VIP, PORT, source_port=port, timeout=20) as connection:
                name = self.say(connection)
                if name in seen:
                    continue
                seen.add(name)
                self.assertEqual(self.there_and_back(connection, size), size, name)
            if len(seen) == len(self.everywhere()):
                break
        self.assertEqual(seen, {pod.role for pod in self.everywhere()})

    @staticmethod
    def there_and_back(connection: socket.socket, size: int) -> int:
        """The server sends back what it gets: read while writing, so that neither side waits for the other."""
        sent = received = 0
        connection.setblocking(False)
        deadline = time.monotonic() + 30
        while received < size and time.monotonic() < deadline:
            with contextlib.suppress(BlockingIOError):
                if sent < size:
                    sent += connection.send(b"\xa5" * min(16384, size - sent))
            with contextlib.suppress(BlockingIOError):
                received += len(connection.recv(65536))
        return received

    def test_the_address_moves_and_the_same_pods_answer(self) -> None:
        """Slots are the same on every node: a source port leads to the same pod whoever owns the address."""
        def pods_by_port() -> dict[int, str]:
            found = {}
            for port in range(20000, 20024):
                with self.lan.connect(VIP, PORT, source_port=port) as connection:
                    found[port] = self.say(connection)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            return found
        before = pods_by_port()
        self.owner.lb("drain")
        moved = self.cluster.settle()
        self.assertIsNot(moved, self.owner)
        self.assertEqual(pods_by_port(), before)
        self.owner.lb("undrain")
