# SPDX-License-Identifier: Apache-2.0
"""Power that comes back: one node or all of them; no address flaps, and each moves at most once."""

from __future__ import annotations

import itertools
import time

from .cluster_story import HANDED, VIP, ClusterStory
from .story import FULL
from .traffic import eventually

FAIL_BACK = 3.0  # seconds; the default is thirty


class Returning(ClusterStory):
    OPTIONS = {"fail_back_s": FAIL_BACK}
    FRESH = True

    def setUp(self) -> None:
        """Begins where it will end: with the best placed node."""
        super().setUp()
        best = self.cluster.best()
        eventually("the best placed node has it", lambda: self.cluster.owner() is best, within=FAIL_BACK + 10)
        self.owner = self.cluster.settle()
        self.standbys = [node for node in self.lab.nodes if node is not self.owner]

    def test_the_owner_loses_power_and_comes_back(self) -> None:
        with self.watching() as seen:
            died = time.monotonic()
            self.lab.power_off(self.owner)
            time.sleep(1)
            back = time.monotonic()
            self.power_on(self.owner)
            time.sleep(1)
            early = time.monotonic()
            eventually("it has its address back", lambda: self.cluster.owner() is self.owner, within=FAIL_BACK + 10)
            time.sleep(1)
        self.assert_served_again(seen, died, until=back)
        self.assertEqual(seen.flows.outage(back).failed, 0, f"{seen.flows.seen}\n{self.said()}")
        self.assertEqual(seen.watch.moves(until=early), 1, "not before the fail-back delay is over")
        self.assert_moves(seen, 2)
        self.assertEqual(seen.watch.double(until=early), 0, seen.watch.seen["runs"])
        self.assertLessEqual(seen.watch.double(), HANDED, "while it was handed back")

    def test_all_lose_power_and_come_back_in_any_order(self) -> None:
        orders = list(itertools.permutations(range(3)))
        for order in orders if FULL else (orders[0], orders[-1]):
            with self.subTest(order=[f"pi{index + 1}" for index in order]):
                nodes = [self.lab.nodes[index] for index in order]
                self.power_off(*nodes)
                with self.watching() as seen:
                    for node in nodes:
                        self.power_on(node)
                    eventually("the best one has it", lambda: self.cluster.owner() is self.owner, within=FAIL_BACK + 10)
                    time.sleep(FAIL_BACK + 1)
                self.assertLessEqual(seen.watch.moves(), 1, f"{seen.watch.seen['runs']}\n{self.said()}")
                self.assertLessEqual(seen.watch.double(), HANDED, seen.watch.seen["runs"])
                self.cluster.settle(VIP)

    def test_first_answer_after_a_power_cut_of_all(self) -> None:
        self.power_off(*self.lab.nodes)
        for node in self.lab.nodes:
            self.lab.power_on(node)
        with self.watching() as seen:
            for node in self.lab.nodes:
                self.restart(node)
            last = time.monotonic()
            time.sleep(2.5)
        self.assertTrue(any(run["macs"] for run in seen.watch.seen["runs"]), self.said())
        first = next(run["from"] for run in seen.watch.seen["runs"] if run["macs"])
        self.assertLess(first - last, 2.0, f"one second of listening\n{self.said()}")
        self.assert_never_two(seen)
