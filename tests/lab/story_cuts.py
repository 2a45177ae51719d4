# SPDX-License-Identifier: Apache-2.0
"""Cables and switches: a port that is cut, a cable that flaps, a LAN that splits; and all of it healed."""

from __future__ import annotations

import time

from .cluster_story import DETECTION, HELD, PORT, SETTLED, VIP, WATCHER, ClusterStory, Seen
from .lab import Node
from .story import FIRST_VIP, FIRST_VIP6, POOL6
from .traffic import ETH_IPV6, Listener, eventually, solicit, who_has


class Cuts(ClusterStory):
    def server(self) -> bytes:
        with self.lan.connect(VIP, PORT) as connection:
            return connection.recv(100)

    def test_the_owners_port_is_cut_and_heals(self) -> None:
        with self.watching() as seen:
            cut = time.monotonic()
            self.faults.cut(self.owner)
            time.sleep(0.8)
            mended = time.monotonic()
            self.faults.heal()
            time.sleep(1.2)
        self.assert_served_again(seen, cut, until=mended)
        self.assertGreater(seen.failed, 20, "the cut was none")
        self.assert_served_again(seen, mended, 150)
        self.assert_never_two(seen, mended + SETTLED / 1000)
        self.assert_moves(seen, 1)
        self.assertIsNot(self.cluster.settle(), self.owner, "nothing moves back at once")

    def test_the_owners_cable_is_pulled(self) -> None:
        with self.watching() as seen:
            pulled = time.monotonic()
            self.faults.unplug(self.owner)
            time.sleep(0.8)
            plugged = time.monotonic()
            self.faults.heal()
            time.sleep(1.2)
        self.assert_served_again(seen, pulled, until=plugged)
        self.assert_never_two(seen, plugged + SETTLED / 1000)
        self.assert_moves(seen, 1)

    def test_a_standbys_cable_flaps_ten_times(self) -> None:
        with self.watching() as seen:
            for _ in range(10):
                self.faults.cut(self.standbys[0])
                time.sleep(0.15)
                self.faults.heal()
                time.sleep(0.15)
            time.sleep(1)
        self.assert_moves(seen, 0)
        self.assert_never_two(seen)
        self.assertIs(self.cluster.settle(), self.owner)

    def test_the_owners_cable_flaps_ten_times(self) -> None:
        with self.watching() as seen:
            for _ in range(10):
                self.faults.cut(self.owner)
                time.sleep(0.15)
                self.faults.heal()
                time.sleep(0.15)
            quiet = time.monotonic()
            time.sleep(1.5)
        self.assert_served_again(seen, quiet, DETECTION)
        self.assertLessEqual(seen.watch.moves(), 4, seen.watch.seen["runs"])
        self.assert_never_two(seen, quiet + SETTLED / 1000)

    def blink(self, node: Node) -> Seen:
        """Its port is dead for a fifth of a second: long enough to be found lost, too short for a client to notice."""
        eventually("flows go to every node", lambda: len({self.server() for _ in range(20)}) == 3)
        with self.watching(held=HELD) as seen:
            for _ in range(3):
                self.faults.cut(node)
                time.sleep(0.2)
                self.faults.heal()
                time.sleep(1)
        assert seen.held
        self.assertEqual(len(seen.held["servers"]), 3, seen.held)
        self.assertIn("peer lost", "".join(self.cluster.log(other) for other in self.lab.nodes if other is not node))
        return seen

    def test_a_standbys_port_blinks_and_no_connection_breaks(self) -> None:
        seen = self.blink(self.standbys[0])
        self.assertEqual(seen.held["broken"], 0, f"{seen.held}\n{self.said()}")
        self.assert_moves(seen, 0)

    def test_the_owners_port_blinks_and_no_connection_breaks(self) -> None:
        seen = self.blink(self.owner)
        self.assertEqual(seen.held["broken"], 0, f"{seen.held}\n{self.said()}")

    def test_a_standby_dies_and_only_its_own_connections_break(self) -> None:
        doomed = self.standbys[0]
        # Who answers is settled before the tables list the backends of peers.
        eventually("flows go to every node", lambda: len({self.server() for _ in range(20)}) == 3)
        with self.watching(held=HELD) as seen:
            cut = time.monotonic()
            self.lab.power_off(doomed)
            time.sleep(1)
        self.assert_served_again(seen, cut)
        self.assert_moves(seen, 0)
        assert seen.held
        for pod, counts in seen.held["servers"].items():
            expected = counts["opened"] if pod.startswith(doomed.role + "-") else 0
            self.assertEqual(counts["broken"], expected, f"{pod}: {seen.held}")
        self.assertEqual(len(seen.held["servers"]), 3, seen.held)
        self.power_on(doomed)

    def test_the_switch_reboots(self) -> None:
        everybody = [self.lan, self.router, self.watcher, *self.lab.nodes]
        with self.watching() as seen:
            self.faults.unplug(*everybody)
            time.sleep(1.5)
            back = time.monotonic()
            self.faults.heal()
            time.sleep(2)
        self.assert_served_again(seen, back, 1200)
        self.assert_never_two(seen, back + SETTLED / 1000)
        self.cluster.settle()

    def test_two_nodes_do_not_hear_each_other(self) -> None:
        with self.watching(held=HELD) as seen:
            self.faults.part(self.owner, self.standbys[0])
            time.sleep(2)
            self.faults.heal()
            time.sleep(0.5)
        self.assert_moves(seen, 0)
        self.assert_never_two(seen)

    def test_a_standby_that_hears_nothing(self) -> None:
        with self.watching() as seen:
            self.faults.deafen(self.standbys[0])
            time.sleep(2)
            self.faults.heal()
            time.sleep(1)
        self.assert_moves(seen, 0)
        self.assert_never_two(seen)

    def test_a_standby_that_nobody_hears(self) -> None:
        with self.watching() as seen:
            self.faults.mute(self.standbys[0])
            time.sleep(2)
            self.faults.heal()
            time.sleep(1)
        self.assert_moves(seen, 0)
        self.assert_never_two(seen)

    def test_an_owner_that_hears_nothing(self) -> None:
        with self.watching() as seen:
            deaf = time.monotonic()
            self.faults.deafen(self.owner)
            time.sleep(1.5)
            healed = time.monotonic()
            self.faults.heal()
            time.sleep(1)
        self.assert_served_again(seen, deaf, 1000, until=healed)
        self.assert_never_two(seen, healed + SETTLED / 1000)

    def test_an_owner_that_nobody_hears(self) -> None:
        with self.watching() as seen:
            mute = time.monotonic()
            self.faults.mute(self.owner)
            time.sleep(1.5)
            healed = time.monotonic()
            self.faults.heal()
            time.sleep(1)
        self.assert_served_again(seen, mute, 1000, until=healed)
        self.assertGreater(seen.failed, 20, "the fault was none")
        self.assert_never_two(seen, healed + SETTLED / 1000)

    def test_one_way_between_the_owner_and_a_standby_is_cut(self) -> None:
        """Its echoes do not come home either way, so new flows go elsewhere; everybody hears of everybody by the third node."""
        other = self.standbys[0]
        for name, way in (("there", (self.owner, other)), ("back", (other, self.owner))):
            with self.subTest(name):
                with self.watching() as seen:
                    cut = time.monotonic()
                    self.faults.silence(*way)
                    time.sleep(2)
                    healed = time.monotonic()
                    self.faults.heal()
                    time.sleep(0.5)
                self.assert_served_again(seen, cut, until=healed)
                self.assertEqual(seen.flows.outage(healed).failed, 0, f"{seen.flows.seen}\n{self.said()}")
                self.assert_moves(seen, 0)
                self.assert_never_two(seen)
                self.cluster.settle()

    def test_five_percent_are_lost(self) -> None:
        with self.watching() as seen:
            since = time.monotonic()
            self.faults.lose(5)
            time.sleep(5)
            until = time.monotonic()
            self.faults.heal()
            time.sleep(0.5)
        owners = {mac for run in seen.watch.seen["runs"] for mac in run["macs"]}
        self.assertEqual(owners, {self.owner.mac()}, self.said())
        # A handshake is up to eight frames across the switch, of which any may be lost: a third fails by chance, never all.
        outage = seen.flows.outage(since, until)
        self.assertLess(outage.gap, DETECTION, f"the longest time without any success: {outage}\n{self.said()}")
        self.assertLess(seen.failed / seen.flows.seen["flows"], 0.45, seen.flows.seen)
        self.assertGreater(seen.failed, 20, "the loss was none")

    def test_the_owner_dies_while_five_percent_are_lost(self) -> None:
        self.faults.lose(5)
        time.sleep(1)
        with self.watching() as seen:
            cut = time.monotonic()
            self.faults.cut(self.owner)
            time.sleep(1.5)
            mended = time.monotonic()
        outage = seen.flows.outage(cut, mended)
        self.assertLess(outage.gap, DETECTION, f"{outage}\n{self.said()}")
        answered = {mac for run in seen.watch.seen["runs"] if run["from"] > cut + DETECTION / 1000 for mac in run["macs"]}
        self.assertEqual(len(answered), 1, f"{seen.watch.seen['runs']}\n{self.said()}")
        self.assertNotIn(self.owner.mac(), answered)


class Six(ClusterStory):
    @classmethod
    def declare(cls) -> None:
        cls.cluster.prepare()
        for node in cls.lab.nodes:
            node.lb("pool", "add", "six", POOL6)
        cls.cluster.serve("web", PORT, cls.everywhere())
        cls.cluster.serve("web6", PORT, cls.everywhere(), vip=FIRST_VIP6)

    def answering(self) -> list[str]:
        return [mac for mac, _ in solicit(self.watcher, FIRST_VIP6, "fd00:0:0:1::60", timeout=0.1)]

    def test_the_owner_of_an_ipv6_address_is_cut(self) -> None:
        owner = next(node for node in self.lab.nodes if [node.mac()] == self.answering())
        self.lan.connect(FIRST_VIP6, PORT).close()
        with Listener(self.watcher, ETH_IPV6) as heard:
            cut = time.monotonic()
            self.faults.cut(owner)
            eventually("served again", lambda: self.lan.connect(FIRST_VIP6, PORT, timeout=0.1).close() is None, within=2, every=0.01)
            self.assertLess(time.monotonic() - cut, 1, self.said())
            time.sleep(0.3)
        told = [(source, flags) for at, source, flags in heard.advertisements(FIRST_VIP6) if at > cut]
        self.assertTrue(told, "nobody was told")
        for source, flags in told:
            self.assertNotEqual(source, owner.mac())
            self.assertTrue(flags & 0x20, "the override flag is set")
        self.faults.heal()
        self.cluster.settle(FIRST_VIP)
        eventually("one answers", lambda: len(self.answering()) == 1)


class Halves(ClusterStory):
    """Two switches, a client at each; the cable between them dies and is mended."""

    LAB = {"nodes": 4, "pods": 1}

    @classmethod
    def prepare(cls) -> None:
        super().prepare()
        cls.far_client = cls.lab.add_host("far", 70)
        cls.cluster.settle()
        cls.faults.two_switches(cls.far_client, *cls.lab.nodes[2:])

    def test_each_half_is_served_and_one_owner_is_left(self) -> None:
        with self.watching() as near, self.watching(client=self.far_client) as far:
            split = time.monotonic()
            self.faults.split()
            time.sleep(1)
            joined = time.monotonic()
            self.faults.heal()
            time.sleep(1.5)
        for seen in (near, far):
            self.assert_served_again(seen, split, 2 * DETECTION, until=joined)
        self.assert_never_two(near, joined + SETTLED / 1000)
        for client in (self.lan, self.far_client):
            client.connect(VIP, 80).close()
        self.assertEqual(len(who_has(self.watcher, VIP, WATCHER)), 1)


class LastOne(ClusterStory):
    FRESH = True

    def test_the_last_survivor_serves(self) -> None:
        self.lab.power_off(self.owner)
        second = self.cluster.settle()
        survivor = next(node for node in self.standbys if node is not second)
        with self.watching() as seen:
            died = time.monotonic()
            self.lab.power_off(second)
            time.sleep(1)
        self.assert_served_again(seen, died)
        self.assert_never_two(seen)
        self.assertIs(self.cluster.owner(), survivor)

    def test_two_die_at_once(self) -> None:
        with self.watching() as seen:
            died = time.monotonic()
            self.faults.cut(self.owner, self.standbys[0])
            time.sleep(1)
        self.assert_served_again(seen, died)
        self.assertIs(self.cluster.owner(), self.standbys[1])

    def test_the_gateway_is_silent_and_the_owner_dies(self) -> None:
        self.faults.cut(self.router, self.standbys[1])
        time.sleep(1)
        with self.watching() as seen:
            died = time.monotonic()
            self.faults.cut(self.owner)
            time.sleep(1)
        self.assert_served_again(seen, died)
        self.assertEqual(who_has(self.watcher, VIP, WATCHER), [self.standbys[0].mac()])
