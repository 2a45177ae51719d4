# SPDX-License-Identifier: Apache-2.0
"""`attach --try`: who locks themselves out over SSH gets the machine back by waiting."""

from __future__ import annotations

import time

from . import servers
from .story import FIRST_VIP, Story
from .traffic import eventually, http, who_has


class Try(Story):
    FRESH = True

    def serve(self, *options: str) -> float:
        servers.nginx(self.lab, self.pods[0])
        self.add_pools()
        since = time.monotonic()
        self.attach(*options)
        self.node.lb("service", "add", "traefik", "--port", "80:8000", "--backend", self.pods[0].address)
        return since

    def silent(self) -> bool:
        return who_has(self.lan, FIRST_VIP, "0.0.0.0", timeout=0.1) == []

    def test_passes_everything_after_the_deadline(self) -> None:
        # Long enough for a loaded machine to set up and ask once within the trial.
        since = self.serve("--try", "15s")
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")
        for pid in self.node.pids():
            self.fail(f"process {pid} has to survive for --try")
        eventually("the VIP is not answered for any more", self.silent, within=20)
        self.assertGreater(time.monotonic() - since, 14.0, "ended before its time")
        self.lan.forget_neighbours()
        with self.assertRaises(OSError):
            http(self.lan, FIRST_VIP, timeout=0.5)
        with servers.tcp_server(self.node, 2222, servers.say_name("sshd")):
            with self.lan.connect(self.node.address, 2222) as ssh:
                self.assertEqual(ssh.recv(10), b"sshd\n")

    def test_confirmed_by_attaching_again(self) -> None:
        since = self.serve("--try", "4s")
        self.attach()
        time.sleep(max(0, since + 5 - time.monotonic()))
        self.assertFalse(self.silent())
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")

    def test_running_connections_survive_the_confirmation(self) -> None:
        since = self.serve("--try", "8s")
        with servers.tcp_server(self.pods[0], 9000, servers.echo):
            self.node.lb("service", "add", "e", "--port", "7:9000", "--backend", self.pods[0].address)
            vip, = (s["vip"] for s in self.node.lb_json("status")["services"] if s["name"].endswith("/e"))
            with self.lan.connect(vip, 7) as connection:
                self.attach()
                time.sleep(max(0, since + 9 - time.monotonic()))
                connection.sendall(b"x")
                self.assertEqual(connection.recv(1), b"x")

    def test_nonsense(self) -> None:
        for text in ("", "soon", "-3s", "0"):
            done = self.node.lb("attach", "eth0", "--try", text, check=False)
            self.assertIn(done.returncode, (1, 2), text)
            self.assertNotIn("xlb_", self.node.run("bpftool", "net").stdout)
