# SPDX-License-Identifier: Apache-2.0
"""Upgrades and dying user space under load: no request is lost."""

from __future__ import annotations

import os
import signal
import time

from . import servers
from .story import FIRST_VIP, FIRST_VIP6, FULL, Story
from .traffic import Load, eventually, http

REQUESTS = 10_000 if FULL else 4_000


class Upgrade(Story):
    FRESH = True

    def serve(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()

    def finish_load(self, load: Load) -> None:
        eventually(f"{REQUESTS} requests", lambda: load.done >= REQUESTS or load.errors, within=120)
        load.stop()
        self.assertEqual(dict(load.errors), {}, str(load))
        self.assertGreaterEqual(load.done, REQUESTS)

    def test_twenty_upgrades_under_load(self) -> None:
        self.serve()
        with servers.tcp_server(self.pods[0], 9000, servers.echo):
            self.node.lb("service", "add", "old", "--port", "7:9000", "--backend", self.pods[0].address,
                         "--vip", "192.168.0.210")
            with self.lan.connect("192.168.0.210", 7) as old:
                load = Load(self.lan, FIRST_VIP).start()
                ids = self.program_ids()
                for number in range(20):
                    self.node.lb("upgrade")
                    old.sendall(b"x")
                    self.assertEqual(old.recv(1), b"x", f"a connection opened before upgrade {number + 1}")
                self.assertTrue(ids.isdisjoint(self.program_ids()), "no program was exchanged")
                self.finish_load(load)
        self.assertEqual(http(self.lan, FIRST_VIP6).pod, "pi1-pod8")

    def program_ids(self) -> set[str]:
        """What is on eth0, as bpftool tells it."""
        lines = self.node.run("bpftool", "net").stdout.splitlines()
        ids = {line.split(" id ")[1].split()[0] for line in lines if "eth0" in line and "xlb_" in line and " id " in line}
        self.assertTrue(ids, "\n".join(lines))
        return ids

    def test_every_process_killed_under_load(self) -> None:
        self.serve()
        daemon = self.node.start(str(self.lab.binary), "run", stdout=self.lab.directory / "daemon.log")
        eventually("the daemon serves", lambda: http(self.lan, FIRST_VIP))
        load = Load(self.lan, FIRST_VIP).start()
        time.sleep(0.3)
        for pid in self.node.pids():
            os.kill(pid, signal.SIGKILL)
        daemon.wait(5)
        self.finish_load(load)

    def test_daemon_killed_and_started_again_under_load(self) -> None:
        self.serve()
        load = Load(self.lan, FIRST_VIP).start()
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            daemon = self.node.start(str(self.lab.binary), "run", stdout=self.lab.directory / "daemon.log")
            time.sleep(0.5)
            self.assertIsNone(daemon.poll(), (self.lab.directory / "daemon.log").read_text()[-500:])
            daemon.send_signal(number)
            daemon.wait(5)
        self.finish_load(load)

    def test_attach_again_changes_nothing_for_clients(self) -> None:
        self.serve()
        load = Load(self.lan, FIRST_VIP, threads=2).start()
        for _ in range(5):
            self.attach()
        load.stop()
        self.assertEqual(dict(load.errors), {}, str(load))
        self.assertEqual(len(self.node.lb_json("status")["links"]), 1)
