# SPDX-License-Identifier: Apache-2.0
"""Many commands at once, and commands that die half-way."""

from __future__ import annotations

import concurrent.futures
import random
import subprocess
import time

from . import servers
from .story import FIRST_VIP, Story
from .traffic import http


class Concurrent(Story):
    FRESH = True
    ONLY_MODE = "tc"

    def add(self, number: int) -> subprocess.CompletedProcess[str]:
        return self.node.lb("service", "add", f"s{number}", "--port", "80:8000", "--backend", self.pods[0].address,
                            check=False, timeout=60)

    def check_all(self, count: int) -> None:
        services = self.node.lb_json("status")["services"]
        self.assertEqual(len(services), count)
        vips = [entry["vip"] for entry in services]
        self.assertEqual(len(set(vips)), count, f"one address given twice: {vips}")
        for vip in vips:
            self.assertEqual(http(self.lan, vip).pod, "pi1-pod8")

    def many(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.add_pools()
        self.attach()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for done in pool.map(self.add, range(12)):
                self.assertEqual(done.returncode, 0, done.stderr)

    def test_without_daemon(self) -> None:
        self.many()
        self.check_all(12)

    def test_with_daemon(self) -> None:
        self.node.start(str(self.lab.binary), "run", stdout=self.lab.directory / "daemon.log")
        self.many()
        self.check_all(12)

    def test_readers_beside_writers(self) -> None:
        self.many()
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            work = [pool.submit(self.node.lb, *words, check=False) for words in (
                ("status",), ("stats",), ("flows",), ("pool", "ls"), ("service", "rm", "s1"), ("upgrade",),
                ("status", "-o", "json"), ("service", "rm", "s2"), ("attach", "eth0", "--mode", "tc"))]
            for done in work:
                self.assertEqual(done.result().returncode, 0, done.result().args[-3:] + [done.result().stderr])
        self.check_all(10)

    def test_killed_commands_are_repaired_by_the_next(self) -> None:
        """SIGKILL at any instant leaves the old or the new state, and no lock behind."""
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        chance = random.Random(1)
        for number in range(25):
            words = (("service", "add", "s", "--port", "80:8000", "--backend", self.pods[0].address),
                     ("service", "rm", "s"), ("upgrade",), ("attach", "eth0", "--mode", "tc"))[number % 4]
            process = self.node.start(str(self.lab.binary), *words)
            time.sleep(chance.uniform(0.001, 0.12))
            process.kill()
            process.wait(5)
            self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8", f"after {' '.join(words)} was killed")
        self.node.lb("service", "rm", "s", check=False)
        self.node.lb("service", "add", "last", "--port", "80:8000", "--backend", self.pods[0].address)
        vip, = (s["vip"] for s in self.node.lb_json("status")["services"] if s["name"].endswith("/last"))
        self.assertEqual(http(self.lan, vip).pod, "pi1-pod8")
        self.node.lb("detach", "--all")
        self.assertFalse([p for p in self.node.pin_dir.rglob("*") if p.is_file()])

    def test_killed_first_attach(self) -> None:
        """Whatever it left: the next attach makes it whole, and detach takes it away."""
        servers.nginx(self.lab, self.pods[0])
        self.add_pools()
        self.node.lb("service", "add", "s", "--port", "80:8000", "--backend", self.pods[0].address)
        chance = random.Random(2)
        for number in range(20):
            process = self.node.start(str(self.lab.binary), "attach", "eth0")
            time.sleep(chance.uniform(0.001, 0.3))
            process.kill()
            process.wait(5)
            if number % 2:
                self.attach()
                self.assertEqual(http(self.lan, FIRST_VIP, timeout=2).pod, "pi1-pod8", f"round {number}")
            self.node.lb("detach", "--all")
            self.assertNotIn("xlb_", self.node.run("bpftool", "net").stdout)
            self.assertFalse(self.node.pin_dir.exists())
