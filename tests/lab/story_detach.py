# SPDX-License-Identifier: Apache-2.0
"""After detach the machine is as it was before attach, by every tool that could tell."""

from __future__ import annotations

import json
import re
import subprocess

from . import servers
from .lab import BPFFS
from .story import FIRST_VIP, FIRST_VIP6, Story
from .traffic import http, who_has

COMMANDS = (
    ("ip", "addr"), ("ip", "maddr"), ("ip", "route", "show", "table", "all"), ("ip", "-6", "route", "show", "table", "all"),
    ("ip", "rule"), ("ip", "-6", "rule"), ("ip", "neigh", "show", "proxy"), ("tc", "qdisc"),
    ("nft", "-s", "list", "ruleset"), ("bpftool", "net"), ("sysctl", "-a"),
)


class Detach(Story):
    FRESH = True

    def prints(self) -> dict[str, str]:
        """Everything about the node that attach could have changed."""
        found = {}
        for command in COMMANDS:
            text = self.node.run(*command, check=False).stdout
            if command[0] == "sysctl":
                text = "\n".join(line for line in text.splitlines() if line.startswith("net.ipv"))
            found[" ".join(command)] = text
        found["ip -d link"] = json.dumps([self.settings(link) for link in json.loads(
            self.node.run("ip", "-d", "-j", "link").stdout)], indent=1, sort_keys=True)
        for interface in ("eth0", "cni0", *(pod.veth for pod in self.pods)):
            found[f"ethtool -k {interface}"] = self.node.run("ethtool", "-k", interface).stdout
            for side in ("ingress", "egress"):
                found[f"tc filter {interface} {side}"] = self.node.run("tc", "filter", "show", "dev", interface, side,
                                                                       check=False).stdout
        if self.node.cgroup:
            found["cgroup"] = self.node.run("bpftool", "cgroup", "tree", str(self.node.cgroup), check=False).stdout
            found["cgroup folders"] = "\n".join(map(str, sorted(self.node.cgroup.rglob("*/"))))
        found["bpffs"] = "\n".join(sorted(str(path) for path in BPFFS.rglob(f"{self.node.pin_dir.name}*")))
        found["namespaces"] = subprocess.run(f"ls /run/netns | grep xlb-{self.lab.name}-", shell=True,
                                             capture_output=True, text=True).stdout
        return found

    @staticmethod
    def settings(link: dict) -> dict:
        """Without the timers of a bridge and the stations that it has learned, which only count."""
        if "linkinfo" in link:
            for section in ("info_data", "info_slave_data"):
                data = link["linkinfo"].get(section, {})
                for name in [name for name in data if re.search(r"timer|fdb_n_learned", name)]:
                    del data[name]
        return link

    def assertSamePrints(self, before: dict[str, str], after: dict[str, str]) -> None:
        for name, text in before.items():
            with self.subTest(what=name):
                self.assertEqual(text.splitlines(), after[name].splitlines())

    def serve(self) -> list[int]:
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        for vip in (FIRST_VIP, FIRST_VIP6):
            http(self.lan, vip)
        http(self.pods[1], self.pods[0].address, 8000)
        maps = []
        for path in self.node.pin_dir.rglob("xlb_*"):
            shown = self.node.run("bpftool", "-j", "map", "show", "pinned", str(path), check=False)
            if shown.returncode == 0:
                maps.append(json.loads(shown.stdout)["id"])
        self.assertTrue(maps, "no pinned map was found")
        return maps

    def test_all(self) -> None:
        before = self.prints()
        maps = self.serve()
        during = self.prints()
        self.assertNotEqual(before["bpftool net"], during["bpftool net"], "the comparison sees nothing")
        self.assertNotEqual(before["bpffs"], during["bpffs"])
        self.node.lb("detach", "--all")
        self.assertSamePrints(before, self.prints())
        self.assertEqual(who_has(self.lan, FIRST_VIP, "0.0.0.0", timeout=0.2), [])
        left = [number for number in maps if self.node.run("bpftool", "map", "show", "id", str(number),
                                                           check=False).returncode == 0]
        self.assertEqual(left, [], "maps that something still holds")

    def test_one_interface(self) -> None:
        before = self.prints()
        self.serve()
        self.node.lb("detach", "eth0")
        after = self.prints()
        for name in ("bpftool net", "tc qdisc", "ip addr", "ip maddr", "ip -d link", "ethtool -k eth0"):
            with self.subTest(what=name):
                self.assertEqual(before[name].splitlines(), after[name].splitlines())
        self.attach()
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8", "attach brings back what was configured")

    def test_repeated(self) -> None:
        before = self.prints()
        for _ in range(5):
            self.add_pools() if not self.node.lb_json("pool", "ls") else None
            self.attach()
            self.node.lb("detach", "--all")
        self.node.lb("detach", "--all")  # nothing there: nothing to do, and no error
        self.assertSamePrints(before, self.prints())

    def test_after_a_killed_daemon(self) -> None:
        before = self.prints()
        self.serve()
        daemon = self.node.start(str(self.lab.binary), "run", stdout=self.lab.directory / "daemon.log")
        http(self.lan, FIRST_VIP)
        daemon.kill()
        daemon.wait(5)
        self.node.lb("detach", "--all")
        self.assertSamePrints(before, self.prints())

    def test_link_that_has_gone(self) -> None:
        """The interface was deleted under the programs: detach still cleans up the pins."""
        self.serve()
        self.node.ip("link del eth0")
        self.node.lb("detach", "--all")
        self.assertEqual([str(path) for path in self.node.pin_dir.rglob("*") if path.is_file()], [])
