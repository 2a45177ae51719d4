# SPDX-License-Identifier: Apache-2.0
"""Firewalls that nobody thought of, forged and replayed frames, missing keys, a name that two nodes have: without effect,
counted, and said."""

from __future__ import annotations

import contextlib
import signal
import time
from typing import Iterator

from .cluster_story import VIP, ClusterStory
from .faults import allow_udp, drop_all_udp
from .traffic import arp_frame, eventually, mac_bytes

ETH_ALL, ETH_PEERS = 0x0003, 0x88B5  # the latter of maps/abi.h


class Firewall(ClusterStory):
    def test_all_udp_is_dropped_everywhere(self) -> None:
        with self.watching() as seen:
            for node in self.lab.nodes:
                drop_all_udp(node)
            time.sleep(2)
        self.assert_moves(seen, 0)
        self.assert_no_outage(seen)
        with self.watching() as seen:
            cut = time.monotonic()
            self.faults.cut(self.owner)
            time.sleep(1)
        self.assert_served_again(seen, cut)
        self.faults.heal()
        self.cluster.settle()
        for node in self.lab.nodes:
            allow_udp(node)


class Forgers(ClusterStory):
    """A host on the LAN that lies."""

    def setUp(self) -> None:
        super().setUp()
        self.liar = self.watcher

    def test_forged_gratuitous_arp_is_defended_against(self) -> None:
        own = self.liar.mac()
        before = {node: self.cluster.log(node) for node in self.lab.nodes}
        with self.watching() as seen, self.liar.packets("eth0", 0x0806) as raw:
            for operation in (1, 2):
                raw.send(arp_frame(own, operation, VIP, VIP, target_mac=own if operation == 2 else "00:00:00:00:00:00"))
            time.sleep(2)
        self.assert_moves(seen, 0)
        self.assertEqual(self.lan.neighbour(VIP)["lladdr"], self.owner.mac(), "the client believes the owner again")
        said = "".join(self.cluster.log(node)[len(before[node]):] for node in self.lab.nodes)
        self.assertIn(own, said, "whose frame it was")

    def test_replayed_frames_of_peers_change_nothing(self) -> None:
        """Everything that the nodes have said to each other, again, from another host and from their own MACs."""
        with self.watching() as seen:
            with self.frames_of_peers(2) as frames:
                pass
            self.assertGreater(len(frames), 50, "the nodes say nothing to each other")
            self.faults.cut(self.owner)
            time.sleep(1)
            moved = self.cluster.owner()
            self.assertNotIn(moved, (None, self.owner))
            # The old owner's statements among them: a claim that has ended.
            with self.liar.packets("eth0", ETH_PEERS) as raw:
                for _ in range(3):
                    for frame in frames:
                        raw.send(frame)
                        time.sleep(0.0005)
            time.sleep(1)
            self.assertIs(self.cluster.owner(), moved)
        self.assert_moves(seen, 1)

    @contextlib.contextmanager
    def frames_of_peers(self, seconds: float) -> Iterator[list[bytes]]:
        """What nodes say to each other, echoes and statements, as a host at a mirror port sees it."""
        frames: list[bytes] = []
        # All kinds: what a bridge port takes in reaches no socket that asks for one.
        with self.lab.switch.packets(self.owner.role, ETH_ALL) as raw:
            raw.settimeout(0.2)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    frame = raw.recv(2048)
                    if frame[12:14] == ETH_PEERS.to_bytes(2, "big"):
                        frames.append(frame)
        yield frames

    def test_garbage_among_what_peers_say(self) -> None:
        with self.watching() as seen:
            with self.frames_of_peers(1) as frames:
                pass
            # Bent in one bit and cut short, from the right MACs; and plain noise from our own.
            with self.liar.packets("eth0", ETH_PEERS) as raw:
                for number, frame in enumerate(frames[:300]):
                    bent = bytearray(frame)
                    bent[14 + number % (len(frame) - 14)] ^= 1 << number % 8
                    raw.send(bytes(bent))
                    raw.send(frame[:max(15, len(frame) - 1 - number % 40)])
                for node in self.lab.nodes:
                    head = mac_bytes(node.mac()) + mac_bytes(self.liar.mac()) + ETH_PEERS.to_bytes(2, "big")
                    for size in (1, 17, 64, 300, 1400):
                        raw.send(head + b"xlb1" + bytes(range(256)) * 5 if size > 256 else head + bytes(size))
            # The switch has learnt from the forged sources that the nodes are at the liar's port: until they speak again.
            time.sleep(1)
        self.assertGreater(len(frames), 50, "the nodes say nothing to each other")
        self.assert_moves(seen, 0)
        self.assert_never_two(seen)
        self.cluster.settle()


class Keys(ClusterStory):
    """One node has no key: it is heard by nobody who has one, and that is said."""

    FRESH = True

    @classmethod
    def declare(cls) -> None:
        cls.cluster.prepare(without_key=cls.lab.nodes[2:])
        cls.cluster.serve("web", 80, cls.everywhere())

    def setUp(self) -> None:
        super(ClusterStory, self).setUp()

    def test_key_missing_on_one_node_is_said(self) -> None:
        keyed, keyless = self.lab.nodes[:2], self.lab.nodes[2]
        eventually("somebody answers", lambda: self.cluster.owner(), within=10)
        with self.watching() as seen:
            time.sleep(3)
        self.assertLessEqual(seen.watch.double(), 3500)
        said = "".join(self.cluster.log(node) for node in keyed)
        self.assertRegex(said + self.cluster.log(keyless), "key", "the log says that it is the key")
        # The two with a key go on among themselves.
        for node in keyed:
            states = {peer["name"]: peer["state"] for peer in node.lb_json("peer", "ls")}
            other = next(self.cluster.names[one] for one in keyed if one is not node)
            self.assertEqual(states[other], "reached", f"{states}\n{self.said()}")


class Names(ClusterStory):
    """A node without backends runs under the name of another one, as after copying a disk."""

    FRESH = True
    OPTIONS = {"lease_s": 1.0}

    @classmethod
    def declare(cls) -> None:
        cls.cluster.prepare()
        cls.cluster.serve("web", 80, [pod for node in cls.lab.nodes[:2] for pod in node.pods])

    def test_a_second_node_of_the_same_name_is_said_and_moves_nothing(self) -> None:
        twin, named = self.lab.nodes[2], self.lab.nodes[1]
        self.cluster.signal(twin, signal.SIGKILL)
        time.sleep(1.5)  # the lease, if it was the owner
        self.cluster.settle()
        twin.environment["XDP_LB_NODE"] = named.role
        with self.watching() as seen:
            self.cluster.start(twin)
            time.sleep(3)
        self.assert_moves(seen, 0)
        self.assert_no_outage(seen)
        self.assert_never_two(seen)
        said = "".join(self.cluster.log(node) for node in self.lab.nodes)
        self.assertRegex(said, "name", "the log says that two nodes have one name")
