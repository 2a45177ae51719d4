# SPDX-License-Identifier: Apache-2.0
"""`xdp-lb run`: follows the manifests and the network, and is not missed when it dies."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from . import metrics, servers
from .lab import ROOT
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

    def test_under_the_units_limits(self) -> None:
        """With the capabilities, stack and memory lock of the systemd unit, and not a capability more."""
        unit = (ROOT / "packaging/xdp-lb.service").read_text()
        names = re.search(r"^CapabilityBoundingSet=(.*)$", unit, re.M)[1].lower().replace("cap_", "").split()
        self.assertEqual(len(names), 4)
        servers.nginx(self.lab, self.pods[0])
        self.add_pools()
        self.log = self.lab.directory / "daemon.log"
        # In some containers not even root may raise it.
        may_lock = subprocess.run(["prlimit", "--memlock=unlimited", "true"], capture_output=True).returncode == 0
        daemon = self.node.start("prlimit", *(["--memlock=unlimited"] if may_lock else []), "--stack=1048576", "setpriv", "--no-new-privs",
                                 "--bounding-set", "-all," + ",".join(f"+{name}" for name in names),
                                 str(self.lab.binary), "run", stdout=self.log)
        eventually("the control socket", lambda: any(self.node.run_dir.rglob("*.sock")), within=15)
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines())
        numbers = {"net_admin": 12, "net_raw": 13, "perfmon": 38, "bpf": 39}  # linux/capability.h
        self.assertEqual(int(status["CapEff"], 16), sum(1 << numbers[name] for name in names))
        self.attach()
        for name, address, vip in (("web", self.pods[0].address, FIRST_VIP), ("web6", self.pods[0].address6, FIRST_VIP6)):
            self.node.lb("service", "add", name, "--port", "80:8000", "--backend", address, "--vip", vip)
            self.assertEqual(http(self.lan, vip).pod, "pi1-pod8")
        self.node.lb("upgrade")
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")
        self.node.run("curl", "-sS", "--max-time", "3", f"http://{FIRST_VIP}/")  # a client on the node: the cgroup's programs
        self.node.lb("detach", "--all")
        self.assertEqual(who_has(self.lan, FIRST_VIP, "0.0.0.0", timeout=0.2), [])
        self.assertIsNone(daemon.poll(), self.log.read_text())
        status = dict(line.split(":\t", 1) for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines())
        self.assertLess(int(status["VmRSS"].split()[0]), 16 * 1024, "the goal, in KiB")
        if not may_lock:
            self.skipTest("all of it held but the lock on memory: RLIMIT_MEMLOCK cannot be raised here")
        self.assertGreater(int(status["VmLck"].split()[0]), 0, "memory is locked")

    def test_a_daemon_that_hangs_falls_silent(self) -> None:
        """The service manager is told when it is ready, and then that it is alive; while it is stopped, nothing is."""
        self.attach()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(str(self.lab.directory / "notify"))
            manager.settimeout(15)
            self.node.environment |= {"NOTIFY_SOCKET": str(self.lab.directory / "notify"), "WATCHDOG_USEC": "900000"}
            daemon = self.run_daemon()
            self.assertEqual([manager.recv(100).decode() for _ in range(4)], ["READY=1", *["WATCHDOG=1"] * 3])
            daemon.send_signal(signal.SIGSTOP)
            manager.settimeout(1.5)
            with self.assertRaises(TimeoutError):
                for _ in range(5):  # some may be under way
                    manager.recv(100)
            daemon.send_signal(signal.SIGCONT)
            manager.settimeout(15)
            self.assertEqual(manager.recv(100).decode(), "WATCHDOG=1")
            daemon.send_signal(signal.SIGTERM)
            while (last := manager.recv(100).decode()) == "WATCHDOG=1":
                pass
            self.assertEqual(last, "STOPPING=1")

    def test_metrics(self) -> None:
        """The page is what Prometheus expects, by its own parser where there is one, and says what happened."""
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        self.run_daemon()
        eventually("the page", lambda: metrics.served(self.node))
        self.lan.forget_neighbours()
        for _ in range(7):
            http(self.lan, FIRST_VIP)
        who_has(self.lan, FIRST_VIP, "0.0.0.0")
        time.sleep(1.1)  # a page is kept for a second
        page = metrics.page(self.node)
        lines = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
        self.assertEqual(len(lines), sum(not line.startswith("#") for line in page.splitlines()), "each sample once")
        labels = f'service="default/traefik",ip="{FIRST_VIP}",port="80",protocol="TCP"'
        self.assertEqual(lines[f"xdp_lb_service_flows_total{{{labels}}}"], "7")
        self.assertGreater(int(lines[f'xdp_lb_service_bytes_total{{{labels},direction="out"}}']), 700)
        self.assertEqual(lines['metallb_allocator_addresses_total{pool="ipaddresspool"}'], "51")
        self.assertEqual(lines['metallb_allocator_ipv4_addresses_in_use_total{pool="ipaddresspool"}'], "1")
        self.assertEqual(lines[f'metallb_speaker_announced{{service="default/traefik",protocol="layer2",node="pi1",ip="{FIRST_VIP}"}}'],
                         "1")
        self.assertEqual(lines[f'metallb_layer2_requests_received{{ip="{FIRST_VIP}"}}'],
                         lines['xdp_lb_verdict_packets_total{verdict="arp_reply",outcome="answer"}'])
        self.assertGreaterEqual(int(lines[f'metallb_layer2_responses_sent{{ip="{FIRST_VIP}"}}']), 2)
        self.assertEqual(lines["metallb_k8s_client_config_stale_bool"], "0")
        self.assertEqual(lines["xdp_lb_vips_owned"], "2")
        self.assertEqual(lines["xdp_lb_peers"], "0")
        self.drop("broken.yaml", "kind: [")
        eventually("it is said that what is declared is not in force",
                   lambda: "metallb_k8s_client_config_stale_bool 1" in metrics.page(self.node), within=15)
        try:
            self.assertEqual(len(metrics.Metrics(page).samples), len(lines))
        except metrics.NoParser as missing:
            self.skipTest(str(missing))

    def test_metrics_elsewhere_and_nowhere(self) -> None:
        self.attach()
        for wish, why in (("7472", "the port is missing"), ("192.0.2.1:7472", "Cannot assign requested address")):
            refused = self.node.lb("run", "--metrics", wish, check=False, timeout=10)
            self.assertEqual(refused.returncode, 1)
            self.assertEqual(len(refused.stderr.strip().splitlines()), 1, refused.stderr)
            self.assertIn(why, refused.stderr)
        self.node.start(str(self.lab.binary), "run", "--metrics", "[::1]:9000", stdout=self.lab.directory / "daemon.log")
        eventually("the page", lambda: "xdp_lb_build_info" in self.node.run("curl", "-sS", "http://[::1]:9000/metrics").stdout)
        self.assertNotEqual(self.node.run("curl", "-sS", "http://127.0.0.1:7472/metrics", check=False).returncode, 0)

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
