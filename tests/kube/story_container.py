# SPDX-License-Identifier: Apache-2.0
"""The rights that the chart asks for are enough, and none is too many: the container is run with exactly these."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import unittest

from lab import lab as topology
from lab.namespace import CommandFailed, Namespace, stop
from lab.traffic import eventually

from . import partner
from .container import Container
from .story import BINARY, CHART, NAMESPACE, RELEASE, lab_name, need, objects, of_kind

SECRET = "xdp-lb-key"


class Rights(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        need(partner.tools, partner.containerd)
        if not shutil.which("runc"):
            raise unittest.SkipTest("runc is not installed (packaging/debian-packages.txt)")
        name = lab_name()
        cls.addClassCleanup(topology.down, name)
        topology.mount_bpffs()
        cls.directory = topology.STATE / name
        cls.directory.mkdir(parents=True)
        cls.node = Namespace(name, "node")
        cls.node.create()
        cls.addClassCleanup(cls.node.remove)
        # No LAN is needed to attach to its interface; nobody is at the other end.
        cls.node.ip("link add eth0 type veth peer name far", "link set eth0 up", "addr add 192.168.0.11/24 dev eth0 nodad")
        cls.bpf = topology.BPFFS / cls.node.name
        cgroups = topology.cgroup2_mount()
        if cgroups is None:
            raise unittest.SkipTest("no cgroup2 hierarchy is mounted")
        cls.folders = {"/sys/fs/bpf": cls.bpf, "/sys/fs/cgroup": cgroups / cls.node.name, "/var/lib/xdp-lb": cls.directory / "state",
                       "/run/xdp-lb": cls.directory / "run"}
        for folder in cls.folders.values():
            folder.mkdir()
        rendered = objects(subprocess.run([str(partner.tools.get() / "helm"), "template", RELEASE, str(CHART), "-n", NAMESPACE], text=True,
                                          capture_output=True, check=True, env={"HOME": str(cls.directory)}).stdout)
        key = subprocess.run([str(BINARY), "--config-dir", str(cls.directory), "--run-dir", str(cls.directory), "peer", "key"],
                             capture_output=True, text=True, check=True)
        cls.fingerprint = re.search(r"fingerprint (\w+)", key.stdout)[1]
        cls.container = Container(
            of_kind(rendered, "DaemonSet")[0]["spec"]["template"]["spec"], cls.node, cls.directory, BINARY, node_folders=cls.folders,
            fields={"spec.nodeName": "pi1", "metadata.namespace": NAMESPACE, "metadata.name": "xdp-lb-abcde", "metadata.uid": "0-1"},
            secrets={SECRET: {"cluster.key": (cls.directory / "cluster.key").read_text()}})
        cls.addClassCleanup(cls.container.stop)
        first = cls.container.run("version", check=False)
        if first.returncode != 0 and os.environ.get("CI") != "true":
            raise unittest.SkipTest(f"runc starts no container here: {first.stderr.strip()[-300:]}")
        if first.returncode != 0:
            raise CommandFailed(f"runc starts no container here: {first.stderr.strip()}")

    def tearDown(self) -> None:
        self.container.stop()
        self.container.run("detach", "--all")

    def links(self) -> list[dict]:
        return json.loads(self.container.run("status", "-o", "json").stdout)["links"]

    def test_it_attaches_in_each_mode(self) -> None:
        for mode in ("tc", "native", "generic"):
            with self.subTest(mode):
                self.container.run("attach", "eth0", "--mode", mode)
                self.assertEqual([link["name"] for link in self.links()], ["eth0"])
                self.assertTrue(any(self.bpf.rglob("xlb_vips")), "pinned on the node")
                self.container.run("detach", "--all")
                self.assertEqual(self.links(), [])

    def test_the_next_one_takes_over_what_the_last_one_has_attached(self) -> None:
        """With so few capabilities the kernel does not tell whose tables a program uses."""
        for mode in ("tc", "native"):
            with self.subTest(mode):
                self.container.run("attach", "eth0", "--mode", mode)
                self.container.run("attach", "eth0", "--mode", mode)
                self.assertEqual([link["name"] for link in self.links()], ["eth0"])
                self.container.run("detach", "--all")

    def test_programs_of_another_are_left_alone(self) -> None:
        """They have other tables, which have no row of the interface here."""
        self.container.run("attach", "eth0", "--mode", "tc")
        done = self.container.run("--pin-dir", "/sys/fs/bpf/another", "attach", "eth0", "--mode", "tc", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("of another xdp-lb", done.stderr)

    def test_none_of_the_capabilities_is_too_many(self) -> None:
        for capability in ("NET_ADMIN", "NET_RAW", "BPF", "PERFMON"):
            with self.subTest(capability):
                done = self.container.run("attach", "eth0", "--mode", "tc", without=capability, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(f"CAP_{capability}", done.stderr)

    def test_its_root_is_read_only(self) -> None:
        done = self.container.run("--config-dir", "/srv", "peer", "key", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("Read-only file system", done.stderr)

    def test_it_takes_the_key_of_the_secret(self) -> None:
        self.assertIn(f"fingerprint {self.fingerprint}", self.container.run("peer", "key").stdout)

    def test_the_daemon_runs_within_its_memory(self) -> None:
        """The limit counts the tables, because the daemon that attaches first makes them."""
        log = self.directory / "daemon.log"
        self.container.run("attach", "eth0", "--mode", "tc")
        self.container.run("detach", "--all")
        process = self.container.start("run", "--metrics", "127.0.0.1:7474", "--lease", "15s", log=log)
        try:
            eventually("metrics are served", lambda: process.poll() is not None or self.metrics(), within=20)
            self.assertIsNone(process.poll(), log.read_text())
            self.container.run_inside("xdp-lb", "attach", "eth0", "--mode", "tc")
            self.assertEqual(json.loads(self.container.run_inside("xdp-lb", "status", "-o", "json").stdout)["node"], "pi1")
            used, limit = self.container.memory()
            self.assertGreater(used, 40 << 20, "the tables are counted")
            self.assertLess(used, limit, f"{used >> 20} of {limit >> 20} MiB")
            print(f"        uses {used >> 20} MiB of {limit >> 20}", flush=True)
        finally:
            self.container.stop()
            stop(process)

    def metrics(self) -> str:
        try:
            with self.node.connect("127.0.0.1", 7474, timeout=2) as connection:
                connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")
                return connection.makefile().read()
        except OSError:
            return ""
