# SPDX-License-Identifier: Apache-2.0
"""What the flow table must not forget, and must not confuse."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time

from . import servers
from .story import FIRST_VIP, FIRST_VIP6, FULL, Story, service
from .traffic import Load, eventually, http

# The documented size is 262,144 entries, two a flow: 100,000 stay inside it, 500,000 go far beyond and must still not
# cost a connection that is in use.
OTHERS = 500_000 if FULL else 60_000
ADDRESSES = 20


class Idle(Story):
    """Connections that wait for the server to speak first (a mail client in IDLE, a push channel)."""

    @classmethod
    def prepare(cls) -> None:
        cls.speak = threading.Event()
        cls.pod = cls.lab.pods[0]

        def late(connection: socket.socket) -> None:
            cls.speak.wait(600)
            connection.sendall(b"you have mail\n")
            connection.recv(100)

        cls.server = servers.tcp_server(cls.pod, 9000, late)
        cls.echo = servers.udp_echo(cls.pod, 5300)
        cls.add_pools()
        cls.attach()
        cls.lab.node.lb("service", "add", "push", "--port", "25:9000", "--port", "53:5300/udp",
                        "--backend", cls.pod.address, "--vip", FIRST_VIP)
        cls.lab.lan.ip(*(f"addr add 192.168.0.{100 + n}/24 dev eth0" for n in range(ADDRESSES)))

    @classmethod
    def finish(cls) -> None:
        cls.speak.set()
        cls.server.close()
        cls.echo.close()

    def test_server_speaks_first_after_many_other_flows(self) -> None:
        waiting = [self.lan.connect(FIRST_VIP, 25, timeout=20) for _ in range(50)]
        try:
            before = self.verdicts()
            answered = self.other_flows(OTHERS)
            self.assertGreater(answered, OTHERS * 0.9, "most of the other flows got through")
            self.assertGreaterEqual(self.counted(before).get("to_pod", 0), OTHERS * 0.9)
            self.speak.set()
            silent = 0
            for connection in waiting:
                with contextlib.suppress(OSError):
                    if connection.recv(100) == b"you have mail\n":
                        continue
                silent += 1
            self.assertEqual(silent, 0, f"of {len(waiting)} idle connections lost among {OTHERS} other flows")
        finally:
            for connection in waiting:
                connection.close()

    def other_flows(self, count: int) -> int:
        """UDP flows, each from a client port of its own and answered by the pod; returns how many were answered.

        Sent as frames, because half a million sockets are no way to make half a million flows; the client's kernel
        drops the answers to ports that nobody has, silently (a closed port would cost an ICMP error each).
        """
        self.lan.run("nft", "-f", "-", stdin="""
            table inet quiet {
                chain input {
                    type filter hook input priority raw; policy accept;
                    udp sport 53 drop
                }
            }""")
        raw = self.lan.packets("eth0", 0x0800)
        head = (bytes.fromhex(self.node.mac().replace(":", "")) + bytes.fromhex(self.lan.mac().replace(":", ""))
                + b"\x08\x00")
        payload = b"x" * 18
        length = 28 + len(payload)
        begun = len(self.echo.peers)
        sent = 0
        try:
            while sent < count:
                # A window, so that neither the ring of the pod's socket nor the reply path overflows.
                for _ in range(200):
                    source = f"192.168.0.{100 + sent % ADDRESSES}"
                    port = 1024 + (sent // ADDRESSES) % 60_000
                    ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0x4000, 64, 17, 0,
                                     socket.inet_aton(source), socket.inet_aton(FIRST_VIP))
                    total = sum(struct.unpack("!10H", ip))
                    total = (total & 0xFFFF) + (total >> 16)
                    ip = ip[:10] + struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF) + ip[12:]
                    raw.send(head + ip + struct.pack("!HHHH", port, 53, 8 + len(payload), 0) + payload)
                    sent += 1
                deadline = time.monotonic() + 0.5
                while len(self.echo.peers) - begun < sent - 400 and time.monotonic() < deadline:
                    time.sleep(0.001)
            time.sleep(0.2)
            return len(self.echo.peers) - begun
        finally:
            raw.close()
            self.lan.run("nft", "delete", "table", "inet", "quiet")


class SamePort(Story):
    """One client port, used again at once or twice at a time."""

    @classmethod
    def prepare(cls) -> None:
        for pod in cls.lab.pods:
            servers.nginx(cls.lab, pod)
        cls.servers = [servers.tcp_server(pod, 9000, servers.echo) for pod in cls.lab.pods]
        cls.add_pools()
        cls.attach()
        one, two = (pod.address for pod in cls.lab.pods)
        cls.apply("---\n".join((
            service("a", [(80, 8000, "TCP"), (7, 9000, "TCP")], [one], vip="192.168.0.200"),
            service("b", [(80, 8000, "TCP"), (7, 9000, "TCP")], [one], vip="192.168.0.201"),
            service("c", [(7, 9000, "TCP")], [one, two], vip="192.168.0.202"),
            service("d", [(7, 9000, "TCP")], [one, two], vip="192.168.0.203"),
        )))
        # Off the VIP the pods are reached as hosts of the LAN reach pods: through the node.
        cls.lab.lan.ip(f"route add 10.42.0.0/24 via {cls.lab.node.address}")

    @classmethod
    def finish(cls) -> None:
        for server in cls.servers:
            server.close()

    def test_reused_at_once_through_the_vip_and_directly(self) -> None:
        pod = self.pods[0].address
        for round_ in range(20):
            port = 40_000 + round_ % 4
            for address, target in (("192.168.0.200", 80), (pod, 8000), ("192.168.0.201", 80), (pod, 8000)):
                answer = http(self.lan, address, target, source_port=port, timeout=2)
                self.assertEqual(answer.client, "192.168.0.50", f"round {round_}, {address}")

    def test_pod_talks_to_the_client_from_the_same_port(self) -> None:
        """The pod's own connection to that client and port is not the VIP's any more once the flow has ended."""
        http(self.lan, "192.168.0.200", source_port=41_000)
        with servers.tcp_server(self.lan, 41_000, servers.say_name("client")):
            with self.pods[0].connect("192.168.0.50", 41_000, source_port=8001, timeout=2) as tcp:
                self.assertEqual(tcp.recv(100), b"client\n")

    def talk(self, connection: socket.socket, word: bytes) -> bool:
        try:
            connection.settimeout(1)
            connection.sendall(word)
            return connection.recv(100) == word
        except OSError:
            return False

    def test_two_vips_on_one_backend_from_one_client_port(self) -> None:
        """There is only one backend to give: the second connection is refused, the first lives on."""
        before = self.verdicts()
        with self.lan.connect("192.168.0.200", 7, source_port=42_000) as first:
            self.assertTrue(self.talk(first, b"one"))
            with contextlib.suppress(OSError):
                with self.lan.connect("192.168.0.201", 7, source_port=42_000, timeout=1.5) as second:
                    self.assertFalse(self.talk(second, b"two"), "both at once cannot be told apart by the pod")
            self.assertTrue(self.talk(first, b"three"), "the first connection died")
        self.assertGreater(self.counted(before).get("flow_clash", 0), 0)

    def test_two_vips_with_a_second_backend(self) -> None:
        for port in range(43_000, 43_008):
            with self.lan.connect("192.168.0.202", 7, source_port=port) as first:
                self.assertTrue(self.talk(first, b"one"))
                with self.lan.connect("192.168.0.203", 7, source_port=port, timeout=3) as second:
                    self.assertTrue(self.talk(second, b"two"))
                    self.assertTrue(self.talk(first, b"three"), "the first connection died")
                    self.assertTrue(self.talk(second, b"four"))


class ReusedBackend(Story):
    FRESH = True

    def test_a_backend_id_given_to_another_pod_is_not_the_old_flow(self) -> None:
        self.add_pools()
        self.attach()
        one, two = self.pods
        with servers.tcp_server(one, 9000, servers.echo), servers.tcp_server(two, 9000, servers.say_name("two")) as other:
            self.node.lb("service", "add", "old", "--port", "7:9000", "--backend", one.address, "--vip", FIRST_VIP)
            with self.lan.connect(FIRST_VIP, 7, source_port=44_000) as connection:
                connection.sendall(b"x")
                self.assertEqual(connection.recv(10), b"x")
                self.node.lb("service", "rm", "old")
                self.node.lb("service", "add", "new", "--port", "7:9000", "--backend", two.address, "--vip", FIRST_VIP)
                connection.settimeout(2)
                with self.assertRaises(ConnectionError, msg="told at once that its backend is gone"):
                    connection.sendall(b"still there?")
                    if connection.recv(10) == b"":
                        raise ConnectionError("closed")
                self.assertEqual(other.peers, [], "a packet of the old flow reached the new backend")
            with self.lan.connect(FIRST_VIP, 7, source_port=44_001) as connection:
                self.assertEqual(connection.recv(10), b"two\n")

    def test_connections_to_a_pod_that_is_not_listed_any_more_go_on_while_it_runs(self) -> None:
        self.add_pools()
        self.attach()
        one, two = self.pods
        with servers.tcp_server(one, 9000, servers.echo), servers.tcp_server(two, 9000, servers.say_name("two")):
            self.apply(service("web", [(7, 9000, "TCP")], [one.address], vip=FIRST_VIP))
            with self.lan.connect(FIRST_VIP, 7) as connection:
                self.apply(service("web", [(7, 9000, "TCP")], [two.address], vip=FIRST_VIP))
                for word in (b"still", b"there"):
                    connection.sendall(word)
                    self.assertEqual(connection.recv(10), word)
                with self.lan.connect(FIRST_VIP, 7) as new:
                    self.assertEqual(new.recv(10), b"two\n")
                self.node.ip(f"link del {one.veth}")  # that is what is seen of a pod's end
                self.apply(service("web", [(7, 9000, "TCP")], [two.address], vip=FIRST_VIP))
                connection.settimeout(2)
                with self.assertRaises(ConnectionError, msg="told at once that its backend is gone"):
                    connection.sendall(b"now?")
                    if connection.recv(10) == b"":
                        raise ConnectionError("closed")

    def test_removed_and_added_again_while_loaded(self) -> None:
        for pod in self.pods:
            servers.nginx(self.lab, pod)
        self.add_pools()
        self.attach()
        one, two = (pod.address for pod in self.pods)
        both = service("web", [(80, 8000, "TCP")], [one, two], vip=FIRST_VIP)
        self.apply(both)
        load = Load(self.lan, FIRST_VIP, threads=2).start()
        for _ in range(5):
            # The leaving endpoint finishes what it has: that is what terminating means.
            self.apply(both.replace(f'addresses: ["{two}"]\n    nodeName: pi1\n    conditions: {{ready: true}}',
                                    f'addresses: ["{two}"]\n    nodeName: pi1\n    conditions: '
                                    "{ready: false, serving: true, terminating: true}"))
            time.sleep(0.2)
            self.apply(both)
            time.sleep(0.2)
        load.stop()
        self.assertEqual(dict(load.errors), {}, str(load))
        self.assertEqual(set(load.pods), {"pi1-pod8", "pi1-pod9"})


class LongLived(Story):
    @classmethod
    def prepare(cls) -> None:
        cls.server = servers.tcp_server(cls.lab.pods[0], 9000, servers.echo, "::")
        cls.add_pools()
        cls.attach()
        pod = cls.lab.pods[0]
        for name, address, vip in (("e", pod.address, FIRST_VIP), ("e6", pod.address6, FIRST_VIP6)):
            cls.lab.node.lb("service", "add", name, "--port", "7:9000", "--backend", address, "--vip", vip)

    @classmethod
    def finish(cls) -> None:
        cls.server.close()

    def test_half_closed_connection_still_carries_the_other_direction(self) -> None:
        """The client has nothing more to say, the server has: `ssh host cat file < /dev/null`."""
        release = threading.Event()
        data = os.urandom(1 << 20)

        def answer_after_eof(connection: socket.socket) -> None:
            while connection.recv(4096):
                pass
            release.wait(5)
            connection.sendall(data)

        with servers.tcp_server(self.pods[0], 9001, answer_after_eof):
            self.node.lb("service", "add", "half", "--port", "8:9001", "--backend", self.pods[0].address,
                         "--vip", "192.168.0.210")
            with self.lan.connect("192.168.0.210", 8) as connection:
                connection.sendall(b"request")
                connection.shutdown(socket.SHUT_WR)
                time.sleep(0.3)
                release.set()
                got = b""
                while part := connection.recv(65536):
                    got += part
        self.assertEqual(len(got), len(data))

    def test_reset_is_passed_on_both_ways(self) -> None:
        for vip in (FIRST_VIP, FIRST_VIP6):
            connection = self.lan.connect(vip, 7)
            connection.sendall(b"x")
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()

        def gone() -> bool:
            text = self.pods[0].run("ss", "-Htn", "state", "established", "sport", "=", ":9000").stdout
            return text.strip() == ""

        eventually("the pod's sockets are closed by the client's reset", gone, within=10)
