# SPDX-License-Identifier: Apache-2.0
"""Daemons that hang, die, are replaced or drained while clients talk: they are not missed, and two nodes never answer."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import time
from typing import Mapping

from . import servers
from .cluster import BACKEND_PORT
from .cluster_story import DETECTION, HANDED, HELD, PORT, VIP, ClusterStory, Seen
from .lab import Node, Pod
from .story import FULL
from .traffic import Load, eventually

LEASE = 1.0  # seconds; the default is five
REQUESTS = 10_000 if FULL else 1_500
WEB = "192.168.0.210"  # nginx behind it: whole requests, not only handshakes


class Daemons(ClusterStory):
    OPTIONS = {"lease_s": LEASE}

    @classmethod
    def declare(cls) -> None:
        super().declare()
        for pod in cls.everywhere():
            servers.nginx(cls.lab, pod)
        cls.cluster.serve("nginx", 80, cls.everywhere(), vip=WEB, target=servers.HTTP_PORT)

    def setUp(self) -> None:
        super().setUp()
        self.cluster.settle(WEB)

    def requests(self) -> Load:
        return Load(self.lan, WEB, threads=2).start()

    def finish_requests(self, load: Load) -> None:
        eventually(f"{REQUESTS} requests", lambda: load.done >= REQUESTS or load.errors, within=60)
        load.stop()
        self.assertEqual(dict(load.errors), {}, f"{load}\n{self.said()}")

    def assert_nothing_lost(self, seen: Seen, hand_overs: int = 0) -> None:
        self.assert_no_outage(seen)
        self.assertLessEqual(seen.watch.double(), HANDED * hand_overs, f"{seen.watch.seen['runs']}\n{self.said()}")
        assert seen.held
        self.assertEqual(seen.held["broken"], 0, f"{seen.held}\n{self.said()}")

    def test_owner_hangs_for_longer_than_its_lease_and_comes_back(self) -> None:
        load = self.requests()
        with self.watching(held=HELD) as seen:
            hung = time.monotonic()
            self.cluster.signal(self.owner, signal.SIGSTOP)
            time.sleep(20 if FULL else 2.5)
            back = time.monotonic()
            self.cluster.signal(self.owner, signal.SIGCONT)
            time.sleep(2)
        self.finish_requests(load)
        self.assert_nothing_lost(seen)
        self.assert_moves(seen, 1)
        self.assertLessEqual(seen.watch.silence(hung), DETECTION, seen.watch.seen["runs"])
        moved = [run["from"] for run in seen.watch.seen["runs"] if run["macs"] and run["macs"] != [self.owner.mac()]][0]
        self.assertGreater(moved - hung, LEASE * 0.8, "not before its lease was over")
        self.assertLess(moved, back)

    def test_owner_is_killed_and_nobody_starts_it_again(self) -> None:
        load = self.requests()
        with self.watching(held=HELD) as seen:
            self.cluster.signal(self.owner, signal.SIGKILL)
            time.sleep(LEASE + 1.5)
        self.finish_requests(load)
        self.assert_nothing_lost(seen)
        self.assert_moves(seen, 1)

    def test_owner_is_killed_or_ended_and_started_again_within_its_lease(self) -> None:
        load = self.requests()
        with self.watching(held=HELD) as seen:
            for number in (signal.SIGKILL, signal.SIGTERM):
                self.cluster.signal(self.owner, number)
                self.cluster.start(self.owner)
                time.sleep(1.5)
        self.finish_requests(load)
        self.assert_nothing_lost(seen)
        self.assert_moves(seen, 0)

    def test_programs_are_upgraded_on_every_node(self) -> None:
        load = self.requests()
        with self.watching(held=HELD) as seen:
            for node in self.lab.nodes:
                node.lb("upgrade")
            time.sleep(0.5)
        self.finish_requests(load)
        self.assert_nothing_lost(seen)
        self.assert_moves(seen, 0)

    def test_owner_is_drained_and_comes_back(self) -> None:
        load = self.requests()
        with self.watching(held=HELD) as seen:
            self.owner.lb("drain")
            time.sleep(1)
            self.assertIsNot(self.cluster.owner(), self.owner)
            self.owner.lb("undrain")
            time.sleep(1)
        self.finish_requests(load)
        self.assert_nothing_lost(seen, hand_overs=1)
        self.assert_moves(seen, 1)

    def test_a_port_that_was_used_again_while_the_address_was_elsewhere(self) -> None:
        """What a former owner remembers of it leads to another backend than the connection has."""
        lost = self.standbys[0]
        servers_of = {pod.role: pod.node for pod in self.everywhere()}
        self.faults.cut(lost)
        eventually("new flows avoid the lost node",
                   lambda: lost not in {servers_of[self.opened_from(port)] for port in range(41000, 41040)}, within=5)
        for port in range(42000, 42040):
            self.opened_from(port)
        self.faults.heal()
        self.cluster.settle()
        self.owner.lb("drain")
        self.assertIsNot(self.cluster.settle(), self.owner)
        with contextlib.ExitStack() as open_connections:
            kept = []
            for port in range(42000, 42040):
                connection = open_connections.enter_context(self.lan.connect(VIP, PORT, source_port=port))
                if servers_of[connection.recv(64).decode().strip()] is lost:
                    kept.append(connection)
            self.assertGreater(len(kept), 2, "ports whose connections belong to the node that was lost")
            self.owner.lb("undrain")
            eventually("the others know that it may have it back", lambda: all(map(self.may_hand_back, self.standbys)), within=5)
            for node in self.standbys:
                node.lb("drain")
                self.addCleanup(node.lb, "undrain")
            eventually("it is back", lambda: self.cluster.owner() is self.owner, within=5)
            self.assertEqual([said_back(connection) for connection in kept], [b"ping"] * len(kept))

    def may_hand_back(self, node: Node) -> bool:
        peers = node.lb_json("status")["peers"]
        return next(peer["reason"] for peer in peers if peer["name"] == self.cluster.names[self.owner]) == "is well"

    def opened_from(self, port: int) -> str:
        """Who serves a connection from that port, which the client then resets."""
        with self.lan.connect(VIP, PORT, source_port=port) as connection:
            name = connection.recv(64).decode().strip()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return name

    def test_a_rolling_restart_with_drains(self) -> None:
        load = self.requests()
        with self.watching(held=HELD) as seen:
            for node in self.lab.nodes:
                node.lb("drain")
                time.sleep(0.5)
                self.cluster.signal(node, signal.SIGTERM)
                self.cluster.start(node)
                node.lb("undrain")
                self.cluster.settle()
                self.cluster.settle(WEB)
        self.finish_requests(load)
        self.assert_nothing_lost(seen, hand_overs=seen.watch.moves())

    def test_a_standbys_daemon_hangs_and_then_the_owner_dies(self) -> None:
        hung, other = self.standbys
        self.cluster.signal(hung, signal.SIGSTOP)
        time.sleep(0.3)
        with self.watching() as seen:
            died = time.monotonic()
            self.faults.cut(self.owner)
            time.sleep(1.5)
        self.assert_served_again(seen, died, 1200)
        self.assertIs(self.cluster.owner(), other)


class BackendsElsewhere(ClusterStory):
    """The owner holds no backend: what dies with it is only a way."""

    FRESH = True
    VIPS = ("192.168.0.201", "192.168.0.202", "192.168.0.203")

    @classmethod
    def declare(cls) -> None:
        cls.cluster.prepare()
        cls.cluster.serve("web", PORT, cls.everywhere())
        # For whichever node owns them there is one of these services without a backend there.
        for vip, node in zip(cls.VIPS, cls.lab.nodes):
            cls.cluster.serve(f"not-on-{node.role}", PORT, [pod for pod in cls.everywhere() if pod.node is not node], vip=vip)

    def setUp(self) -> None:
        super().setUp()
        for vip in self.VIPS:
            self.cluster.settle(vip)

    def chosen(self) -> tuple[str, Node]:
        """A VIP whose owner has none of its backends."""
        for vip, node in zip(self.VIPS, self.lab.nodes):
            if self.cluster.owner(vip) is node:
                return vip, node
        self.skipTest("every service has a backend at the node that owns its address")

    def test_owner_dies_and_no_connection_breaks(self) -> None:
        vip, owner = self.chosen()
        with self.watching(held=200, vip=vip) as seen:
            died = time.monotonic()
            self.lab.power_off(owner)
            time.sleep(1.5)
        self.assert_served_again(seen, died)
        assert seen.held
        self.assertEqual(seen.held["broken"], 0, f"{seen.held}\n{self.said()}")


def said_back(connection: socket.socket) -> bytes:
    connection.sendall(b"ping")
    return connection.recv(16)


def is_told(connection: socket.socket) -> bool:
    connection.settimeout(0.2)
    try:
        said_back(connection)
    except ConnectionError:
        return True
    except TimeoutError:
        pass
    return False


class Listed(ClusterStory):
    """Backends as the EndpointSlices of an API server have them."""

    FRESH = True
    POLICY = "Cluster"

    @classmethod
    def declare(cls) -> None:
        cls.cluster.prepare()
        cls.apply({pod: "ready: true" for pod in cls.everywhere()})

    @classmethod
    def apply(cls, conditions: Mapping[Pod, str]) -> None:
        """As the API server tells every node, one after the other."""
        endpoints = "".join(f'\n  - {{addresses: ["{pod.address}"], nodeName: {pod.node.role}, conditions: {{{said}}}}}'
                            for pod, said in conditions.items())
        manifest = cls.manifest(f"""\
apiVersion: v1
kind: Service
metadata:
  name: web
  namespace: default
  annotations: {{metallb.io/loadBalancerIPs: {VIP}}}
spec:
  type: LoadBalancer
  externalTrafficPolicy: {cls.POLICY}
  clusterIP: 10.43.0.99
  ports: [{{name: http, port: {PORT}, targetPort: {BACKEND_PORT}}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-lab
  namespace: default
  labels: {{kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{{name: http, port: {BACKEND_PORT}, protocol: TCP}}]
endpoints:{endpoints}
""")
        for node in cls.lab.nodes:
            node.lb("apply", "-f", str(manifest))


class LastBackend(Listed):
    """`externalTrafficPolicy: Local`: a backend that ends keeps the address where it is as long as it serves; when it has gone it is handed over."""

    POLICY = "Local"

    def test_its_last_backend_ends_and_the_address_is_handed_over(self) -> None:
        conditions = {pod: "ready: true" for pod in self.everywhere()}
        ending = self.owner.pods[0]
        with self.watching() as seen, self.lan.connect(VIP, PORT) as open_before:
            self.assertEqual(open_before.recv(64).decode().strip(), ending.role)
            conditions[ending] = "ready: false, serving: true, terminating: true"
            self.apply(conditions)
            time.sleep(1)
            self.assertIs(self.cluster.owner(), self.owner, "it serves, and has connections, until it has gone")
            self.assertEqual(said_back(open_before), b"ping")
            del conditions[ending]
            self.apply(conditions)
            eventually("handed over", lambda: self.cluster.owner() not in (None, self.owner), within=5)
            self.servers[ending].kill()
            time.sleep(0.5)
        self.assertEqual(seen.failed, 0, f"{seen.flows.seen}\n{self.said()}")
        self.assertLessEqual(seen.watch.double(), HANDED, seen.watch.seen["runs"])
        self.assert_moves(seen, 1)


class Unlisted(Listed):
    """As when a selector changes from one version of an application to the next one."""

    def test_connections_go_on_while_their_pods_run(self) -> None:
        opened: dict[str, socket.socket] = {}
        pods = {pod.role: pod for pod in self.everywhere()}
        with contextlib.ExitStack() as stack:
            while len(opened) < len(pods):
                connection = stack.enter_context(self.lan.connect(VIP, PORT))
                opened.setdefault(connection.recv(64).decode().strip(), connection)
            stays = next(pod for pod in pods.values() if pod.node is not self.owner)
            self.apply({stays: "ready: true"})
            for name, connection in opened.items():
                self.assertEqual(said_back(connection), b"ping", name)
            for _ in range(20):
                with self.lan.connect(VIP, PORT) as connection:
                    self.assertEqual(connection.recv(64).decode().strip(), stays.role)
            gone = [pod for pod in pods.values() if pod is not stays]
            for pod in gone:
                pod.remove()
            for pod in gone:
                eventually(f"who was at {pod.role} is told", lambda: is_told(opened[pod.role]), within=3)
            self.assertEqual(said_back(opened[stays.role]), b"ping")


class NobodyLeft(ClusterStory):
    """The last node that lives, and its daemon is ended: no successor comes."""

    OPTIONS = {"lease_s": LEASE}
    FRESH = True

    def taking(self) -> list[str]:
        return [backend["node"] for backend in self.owner.lb_json("status")["services"][0]["backends"] if backend["healthy"]]

    def test_what_is_set_up_goes_on(self) -> None:
        for node in self.standbys:
            self.lab.power_off(node)
        self.assertIs(self.cluster.settle(), self.owner)
        # Until it has noticed both, a connection whose slot names the two is refused.
        eventually("its own pod alone takes new flows", lambda: self.taking() == [self.owner.role])
        with self.watching(held=HELD) as seen:
            ended = time.monotonic()
            self.cluster.signal(self.owner, signal.SIGTERM)
            self.assertEqual(self.cluster.daemons[self.owner].returncode, 0, self.said())
            time.sleep(LEASE + 1.5)
        # Who knows the MAC is served for as long as he does; past the lease nobody is told of it any more, because whoever is
        # not there now may come back and own the address.
        self.assert_no_outage(seen)
        assert seen.held
        self.assertEqual(seen.held["broken"], 0, f"{seen.held}\n{self.said()}")
        self.assertLess(seen.watch.silence(ended, ended + LEASE * 0.8), DETECTION, seen.watch.seen["runs"])
        self.assertGreater(seen.watch.silence(ended), 500, seen.watch.seen["runs"])
        self.cluster.start(self.owner)
        self.assertIs(self.cluster.settle(), self.owner)
        self.lan.forget_neighbours()
        self.lan.connect(VIP, PORT).close()


class Orphaned(ClusterStory):
    """Without a key: whom it lists is all that a node knows of others."""

    OPTIONS = {"lease_s": LEASE}
    FRESH = True

    @classmethod
    def declare(cls) -> None:
        cls.cluster.prepare(without_key=cls.lab.nodes)
        cls.cluster.serve("web", PORT, cls.everywhere())

    def test_the_last_peer_is_removed_after_the_daemon_died(self) -> None:
        self.cluster.signal(self.owner, signal.SIGKILL)
        for node in self.standbys:
            self.lab.power_off(node)
        eventually("the lease is over", lambda: self.cluster.owner() is None, within=LEASE + 3)
        for node in self.standbys:
            self.owner.lb("peer", "rm", node.role)
        eventually("it answers again", lambda: self.cluster.owner() is self.owner, within=1)
        time.sleep(LEASE + 0.5)
        self.assertIs(self.cluster.owner(), self.owner, "nobody has to renew anything")
        self.lan.connect(VIP, PORT).close()
