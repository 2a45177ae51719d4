# SPDX-License-Identifier: Apache-2.0
"""`xdp-lb trace`: frames that XDP sends back are invisible to tcpdump, so the programs tell the story themselves."""

from __future__ import annotations

import json
import subprocess
import time

from . import servers
from .lab import LAN_CLIENT
from .story import FIRST_VIP, Story
from .traffic import eventually, http, who_has


class Trace(Story):
    FRESH = True

    def listen(self, *options: str) -> list[dict]:
        """What is traced while a client resolves the VIP, asks once, and knocks at a closed port."""
        process = self.node.start(str(self.lab.binary), "trace", *options, "-o", "json", stdout=subprocess.PIPE)
        time.sleep(0.7)
        self.assertIsNone(process.poll(), "trace ended by itself")
        who_has(self.lan, FIRST_VIP, LAN_CLIENT)
        http(self.lan, FIRST_VIP)
        with self.assertRaises(ConnectionRefusedError):
            self.lan.connect(FIRST_VIP, 99)
        time.sleep(0.5)
        process.terminate()
        out = process.communicate(timeout=5)[0]
        self.assertEqual(process.returncode, 0)
        return [json.loads(line) for line in out.splitlines()]

    def serve(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()

    def check(self, events: list[dict]) -> None:
        verdicts = {event["verdict"] for event in events}
        self.assertTrue({"arp_reply", "to_pod", "returned", "rejected_tcp"} <= verdicts, verdicts)

    def test_without_daemon(self) -> None:
        self.serve()
        self.check(self.listen())

    def test_with_daemon(self) -> None:
        self.serve()
        self.node.start(str(self.lab.binary), "run", stdout=self.lab.directory / "daemon.log")
        eventually("the control socket", lambda: any(self.node.run_dir.rglob("*.sock")), within=15)
        self.check(self.listen())

    def test_filters(self) -> None:
        self.serve()
        self.assertTrue(self.listen("--client", LAN_CLIENT, "--vip", FIRST_VIP))
        self.assertEqual(self.listen("--client", "192.168.0.99"), [])

    def test_killed_trace_stops_sampling_by_itself(self) -> None:
        self.serve()
        process = self.node.start(str(self.lab.binary), "trace")
        time.sleep(0.5)
        process.kill()
        process.wait(5)
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")
        self.check(self.listen())
