# SPDX-License-Identifier: Apache-2.0
"""`xdp-lb run`: follows the manifests and the network, and is not missed when it dies."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

from . import servers
from .story import EXAMPLE_POOL, FIRST_VIP, FIRST_VIP6, Story, service
from .traffic import eventually, http, who_has


class Daemon(Story):
    FRESH = True

    def run_daemon(self) -> subprocess.Popen[str]:
        self.log = self.lab.directory / "daemon.log"
        return self.node.start(str(self.lab.binary), "run", stdout=self.log)

    @property
    def manifests(self) -> Path:
        path = self.node.config_dir / "manifests"
        path.mkdir(exist_ok=True)
        return path

    def drop(self, name: str, text: str) -> None:
        """As an editor saves: a new file under another name, then renamed over."""
        temporary = self.manifests / f".{name}.tmp"
        temporary.write_text(text)
        temporary.rename(self.manifests / name)

    def test_manifest_dropped_into_the_folder_is_picked_up(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.attach()
        self.run_daemon()
        self.drop("pool.yaml", EXAMPLE_POOL.read_text())
        self.drop("web.yaml", service("web", [(80, 8000, "TCP")], [self.pods[0].address]))
        eventually("served", lambda: http(self.lan, FIRST_VIP, timeout=0.5), within=15)
        self.drop("web.yaml", service("web", [(81, 8000, "TCP")], [self.pods[0].address]))
        eventually("the other port", lambda: http(self.lan, FIRST_VIP, 81, timeout=0.5), within=15)
        with self.assertRaises(ConnectionRefusedError):
            http(self.lan, FIRST_VIP, 80, timeout=1)
        (self.manifests / "web.yaml").unlink()
        eventually("withdrawn", lambda: who_has(self.lan, FIRST_VIP, "0.0.0.0", timeout=0.1) == [], within=15)

    def test_broken_manifest_keeps_the_last_good_one(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.attach()
        self.run_daemon()
        self.drop("pool.yaml", EXAMPLE_POOL.read_text())
        self.drop("web.yaml", service("web", [(80, 8000, "TCP")], [self.pods[0].address]))
        eventually("served", lambda: http(self.lan, FIRST_VIP, timeout=0.5), within=15)
        self.drop("pool.yaml", EXAMPLE_POOL.read_text().replace("192.168.0.250", "192.168.0.190"))
        eventually("it says which file", lambda: "pool.yaml" in self.log.read_text(), within=15)
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")
        self.drop("pool.yaml", EXAMPLE_POOL.read_text())
        time.sleep(0.5)
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")

    def test_commands_go_through_the_daemon(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.attach()
        daemon = self.run_daemon()
        eventually("the control socket", lambda: any(self.node.run_dir.rglob("*.sock")), within=15)
        self.node.lb("apply", "-f", str(EXAMPLE_POOL))
        self.node.lb("service", "add", "traefik", "--port", "80:8000", "--backend", self.pods[0].address)
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8", "when the command returns it is served")
        done = self.node.lb("service", "add", "bad", "--port", "80:8000", "--backend", self.pods[0].address,
                            "--vip", "192.168.99.9", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("192.168.99.9", done.stderr)
        self.node.lb("service", "rm", "traefik")
        self.assertEqual(who_has(self.lan, FIRST_VIP, "0.0.0.0", timeout=0.2), [])
        self.assertIsNone(daemon.poll())

    def test_killed_it_leaves_serving_and_its_successor_takes_over(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        for number in (signal.SIGKILL, signal.SIGTERM):
            daemon = self.run_daemon()
            time.sleep(0.7)
            self.assertIsNone(daemon.poll(), self.log.read_text()[-500:])
            daemon.send_signal(number)
            daemon.wait(5)
            for vip in (FIRST_VIP, FIRST_VIP6):
                self.assertEqual(http(self.lan, vip).pod, "pi1-pod8")
            self.assertEqual(who_has(self.lan, FIRST_VIP, "0.0.0.0"), [self.node.mac()])
            # A command after that finds no daemon, and does not wait for a dead one's socket.
            since = time.monotonic()
            self.node.lb("service", "add", f"after{number}", "--port", "80:8000", "--backend", self.pods[0].address)
            self.assertLess(time.monotonic() - since, 5)
        self.assertEqual(signal.SIGTERM and daemon.returncode, 0, "SIGTERM is an orderly end")

    def test_second_daemon_is_refused(self) -> None:
        self.attach()
        self.run_daemon()
        eventually("the control socket", lambda: any(self.node.run_dir.rglob("*.sock")), within=15)
        second = self.node.lb("run", check=False, timeout=10)
        self.assertEqual(second.returncode, 1)
        self.assertEqual(len(second.stderr.strip().splitlines()), 1, second.stderr)

    def test_steady_state_logs_nothing(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        self.run_daemon()
        time.sleep(2)
        before = self.log.read_text()
        for _ in range(20):
            http(self.lan, FIRST_VIP)
        time.sleep(3)
        self.assertEqual(self.log.read_text()[len(before):], "")

    def test_json_log(self) -> None:
        self.attach()
        daemon = self.node.start(str(self.lab.binary), "--log-format", "json", "run",
                                 stdout=self.lab.directory / "daemon.log")
        time.sleep(1)
        self.assertIsNone(daemon.poll())
        lines = (self.lab.directory / "daemon.log").read_text().splitlines()
        self.assertTrue(lines)
        for line in lines:
            json.loads(line)

    def test_follows_the_interface(self) -> None:
        """The NIC goes down and comes back, as when a cable is pulled: served again without a command."""
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        self.run_daemon()
        eventually("served", lambda: http(self.lan, FIRST_VIP))
        self.node.ip("link set eth0 down")
        time.sleep(0.5)
        self.node.ip("link set eth0 up", f"route replace default via 192.168.0.1")
        eventually("served again", lambda: http(self.lan, FIRST_VIP, timeout=0.5), within=15)
