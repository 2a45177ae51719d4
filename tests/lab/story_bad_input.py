# SPDX-License-Identifier: Apache-2.0
"""Bad input gets one clear sentence, and nothing half-done."""

from __future__ import annotations

import subprocess
from pathlib import Path

from . import servers
from .story import EXAMPLE_POOL, FIRST_VIP, Story, service
from .traffic import http, who_has

POOL = """apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {{name: {name}, namespace: metallb-system}}
spec: {{addresses: [{addresses}]}}
"""


class BadInput(Story):
    """No packet passes here, so one mode is enough."""
    ONLY_MODE = "tc"

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(self.node.config_dir.rglob("*")) if path.is_file()}

    def assertRefused(self, *words: str, code: int = 1, says: tuple[str, ...] = (), stdin: str | None = None) -> str:
        before = (self.files(), self.programs())
        done = self.node.lb(*words, check=False, stdin=stdin, timeout=20)
        said = done.stderr.strip()
        self.assertEqual(done.returncode, code, f"{words}: {said or done.stdout}")
        for part in says:
            self.assertIn(part.lower(), said.lower(), words)
        self.assertTrue(said, f"{words}: not a word")
        if code == 1:
            self.assertEqual(len(said.splitlines()), 1, f"{words}: one sentence, not\n{said}")
        self.assertLess(len(said), 600 if code == 1 else 5000)
        for word in ("exception", "terminate", "std::", "what():", "Aborted", "errno"):
            self.assertNotIn(word, said)
        self.assertEqual((self.files(), self.programs()), before, f"{words}: something was half-done")
        return said

    def programs(self) -> str:
        qdiscs = self.node.run("tc", "qdisc").stdout
        return qdiscs + "\n".join(line for line in self.node.run("bpftool", "net").stdout.splitlines() if "xlb_" in line)

    # -- attach --------------------------------------------------------------------------------------------------

    def test_attach_unknown_interface(self) -> None:
        self.assertRefused("attach", "eth7", says=("eth7",))

    def test_attach_loopback(self) -> None:
        self.assertRefused("attach", "lo", says=("lo",))

    def test_attach_bridge_port_names_the_bridge(self) -> None:
        self.assertRefused("attach", self.pods[0].veth, says=(self.pods[0].veth, "cni0"))

    def test_attach_interface_that_is_down(self) -> None:
        self.node.ip("link add idle0 type veth peer name idle1")
        try:
            self.assertRefused("attach", "idle0", says=("idle0", "down"))
        finally:
            self.node.ip("link del idle0")

    def test_attach_unknown_mode(self) -> None:
        self.assertRefused("attach", "eth0", "--mode", "warp", code=2, says=("warp",))

    def test_table_sizes_that_are_none(self) -> None:
        for sizes, says in (("vips=100", "vips=100"), ("backends=63", "from 64 to"), ("slots=4096,slots=4096", "twice")):
            self.assertRefused("attach", "eth0", "--table-sizes", sizes, code=2, says=("--table-sizes", says))
        self.assertRefused("run", "--table-sizes", "slots=4096", code=2, says=("--table-sizes", "--attach"))

    def test_attach_without_bpffs(self) -> None:
        self.node.environment["XDP_LB_PIN_DIR"] = "/var/tmp/xlb-lab/not-bpffs"
        try:
            self.assertRefused("attach", "eth0", says=("bpf", "not-bpffs"))
        finally:
            self.node.environment["XDP_LB_PIN_DIR"] = str(self.node.pin_dir)

    def test_attach_with_a_cgroup_that_is_none(self) -> None:
        for path in ("/nonexistent", "/tmp"):
            self.assertRefused("--cgroup", path, "attach", "eth0", says=(path,))

    def test_attach_without_capabilities(self) -> None:
        said = self.node.run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--", str(self.lab.binary),
                             "attach", "eth0", check=False)
        self.assertEqual(said.returncode, 1, said.stderr)
        self.assertTrue(any(word in said.stderr for word in ("root", "CAP_", "capabilit")), said.stderr)

    def test_upgrade_and_detach_of_nothing(self) -> None:
        self.assertRefused("upgrade")
        self.assertRefused("detach", "eth7", says=("eth7",))
        self.assertRefused("detach", code=2)
        self.node.lb("detach", "--all")

    # -- words ---------------------------------------------------------------------------------------------------

    def test_usage(self) -> None:
        for words in ((), ("frobnicate",), ("attach",), ("pool", "add"), ("pool", "add", "x"), ("service", "add"),
                      ("status", "-o", "xml"), ("attach", "eth0", "eth1"), ("service", "add", "s", "--port", "80:8000:9"),
                      ("service", "add", "s", "--port", "80/sctp", "--backend", "10.42.0.8")):
            with self.subTest(words=words):
                self.assertRefused(*words, code=2)

    def test_help_and_version(self) -> None:
        self.assertIn("attach", self.node.lb("--help").stdout)
        self.assertRegex(self.node.lb("version").stdout, r"\d+\.\d+")

    def test_service_ports(self) -> None:
        self.node.lb("apply", "-f", str(EXAMPLE_POOL))
        try:
            for port in ("0:80", "70000:80", "80:0", "80:70000", "-1:80", "http"):
                with self.subTest(port=port):
                    done = self.node.lb("service", "add", "s", "--port", port, "--backend", "10.42.0.8", check=False)
                    self.assertIn(done.returncode, (1, 2))
                    self.assertIn(port.split(":")[0].lstrip("-"), done.stderr)
            self.assertRefused("service", "add", "s", "--port", "80:8000", "--backend", "10.42.0.800",
                               code=2, says=("10.42.0.800",))
        finally:
            self.clear()

    # -- pools ---------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        for path in self.files():
            Path(path).unlink()

    def test_pool_ranges(self) -> None:
        for text, says in (("192.168.0.250-192.168.0.200", "192.168.0.250"), ("192.168.0.200", "192.168.0.200"),
                           ("192.168.0.0/33", "/33"), ("192.168.0.1-fd00::1", "famil"), ("somewhere", "somewhere"),
                           ("192.168.0.200-", "192.168.0.200-"), ("1.2.3.4-1.2.3.999", "1.2.3.999"),
                           ("192.168.0.200-192.168.0.210,192.168.0.205/32", "overlap")):
            with self.subTest(range=text):
                manifest = POOL.format(name="home", addresses=", ".join(f'"{t}"' for t in text.split(",")))
                self.assertRefused("apply", "-f", str(self.manifest(manifest)), says=(says, "home"))
                self.assertRefused("check", "-f", str(self.manifest(manifest)), says=(says, "home"))
                if "," not in text:
                    self.assertRefused("pool", "add", "home", text, says=(says,))

    def test_pools_that_overlap_or_repeat(self) -> None:
        self.node.lb("apply", "-f", str(EXAMPLE_POOL))
        try:
            for name, addresses, says in (("other", '"192.168.0.250-192.168.0.252"', ("other", "overlap")),):
                text = POOL.format(name=name, addresses=addresses)
                self.assertRefused("apply", "-f", str(self.manifest(text)), says=says)
            twice = POOL.format(name="x", addresses='"10.9.0.0/24"') + "---\n" + POOL.format(name="x",
                                                                                             addresses='"10.8.0.0/24"')
            self.assertRefused("apply", "-f", str(self.manifest(twice)), says=("x",))
        finally:
            self.clear()

    # -- manifests -----------------------------------------------------------------------------------------------

    def test_manifests(self) -> None:
        for name, text, says in (
                ("no-yaml", "{{{", ()), ("list", "- 1\n- 2\n", ()), ("no-kind", "metadata: {name: x}\n", ("kind",)),
                ("unknown-kind", "apiVersion: v1\nkind: Gizmo\nmetadata: {name: x}\n", ("Gizmo",)),
                ("wrong-type", POOL.format(name="x", addresses="").replace("[]", "7"), ("addresses",)),
                ("no-name", POOL.format(name='""', addresses='"10.0.0.0/24"'), ("name",)),
                ("port-70000", service("s", [(70000, 80, "TCP")], ["10.42.0.8"]), ("70000",)),
                ("port-0", service("s", [(0, 80, "TCP")], ["10.42.0.8"]), ("port",)),
                ("bad-protocol", service("s", [(80, 80, "SMTP")], ["10.42.0.8"]), ("SMTP",)),
                ("bad-endpoint", service("s", [(80, 80, "TCP")], ["10.42.0.800"]), ("10.42.0.800",)),
        ):
            with self.subTest(manifest=name):
                path = self.manifest(text, f"{name}.yaml")
                self.assertRefused("apply", "-f", str(path), says=(path.name, *says))

    def test_one_bad_document_and_nothing_of_the_file_is_taken(self) -> None:
        text = EXAMPLE_POOL.read_text() + "---\nkind: Gizmo\napiVersion: v1\nmetadata: {name: x}\n"
        self.assertRefused("apply", "-f", str(self.manifest(text)), says=("Gizmo",))
        good, bad = self.manifest(EXAMPLE_POOL.read_text(), "good.yaml"), self.manifest("kind: Gizmo\n", "bad.yaml")
        self.assertRefused("apply", "-f", str(good), "-f", str(bad), says=("bad.yaml",))

    def test_files_that_are_none(self) -> None:
        self.assertRefused("apply", "-f", "/nonexistent/x.yaml", says=("/nonexistent/x.yaml",))
        self.assertRefused("apply", "-f", "/dev/null")
        self.assertRefused("apply", "-f", "/proc")
        binary = self.lab.directory / "binary.yaml"
        binary.write_bytes(bytes(range(256)) * 40)
        self.assertRefused("apply", "-f", str(binary), says=("binary.yaml",))

    def test_hostile_yaml(self) -> None:
        bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n"
        for previous, name in zip("abcdefgh", "bcdefghi"):
            bomb += f"{name}: &{name} [{','.join(['*' + previous] * 9)}]\n"
        for name, text in (("bomb", bomb), ("deep", "[" * 20_000), ("deep-map", "{a: " * 20_000),
                           ("huge", "a: " + "x" * (10 << 20))):
            with self.subTest(yaml=name):
                path = self.manifest(text, f"{name}.yaml")
                self.assertRefused("apply", "-f", str(path), says=(path.name,))
        self.node.lb("pool", "ls")

    # -- services ------------------------------------------------------------------------------------------------

    def test_exhausted_pool_and_clashes(self) -> None:
        """A service that cannot have an address is kept and said to wait, as in Kubernetes; a wrong wish is refused."""
        self.node.lb("pool", "add", "tiny", "192.168.0.240/32")
        try:
            self.node.lb("service", "add", "one", "--port", "80:8000", "--backend", "10.42.0.8")
            done = self.node.lb("service", "add", "two", "--port", "81:8000", "--backend", "10.42.0.8", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("no available IPs", done.stderr + done.stdout)
            done = self.node.lb("service", "add", "three", "--port", "80:8000", "--backend", "10.42.0.8",
                                "--vip", "192.168.0.240", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("address also in use by default/one", done.stderr)
            done = self.node.lb("service", "add", "four", "--port", "80:8000", "--backend", "10.42.0.8",
                                "--vip", "192.168.99.1", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("192.168.99.1", done.stderr + done.stdout)
        finally:
            self.clear()

    def test_removing_what_is_not_there(self) -> None:
        self.assertRefused("service", "rm", "ghost", says=("ghost",))
        self.assertRefused("pool", "rm", "ghost", says=("ghost",))


class BadAddresses(Story):
    """VIPs that cannot be this node's to answer for."""
    FRESH = True
    ONLY_MODE = "tc"

    def add(self, vip: str) -> subprocess.CompletedProcess[str]:
        self.node.lb("pool", "add", "p", f"{vip}/32")
        self.attach()
        return self.node.lb("service", "add", "s", "--port", "80:8000", "--backend", self.pods[0].address,
                            "--vip", vip, check=False)

    def assertNotTaken(self, vip: str, *says: str, code: int = 1) -> None:
        done = self.add(vip)
        self.assertEqual(done.returncode, code, done.stdout)
        for part in (vip, *says):
            self.assertIn(part, done.stderr)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        for entry in self.node.lb_json("status")["vips"]:
            self.assertFalse(entry["address"] == vip and entry["owned"], f"{vip} was taken")

    def test_the_nodes_own_address(self) -> None:
        self.assertNotTaken(self.node.address)
        with servers.tcp_server(self.node, 80, servers.say_name("own")):
            with self.lan.connect(self.node.address, 80) as connection:
                self.assertEqual(connection.recv(10), b"own\n")

    def test_the_gateways_address(self) -> None:
        self.assertNotTaken("192.168.0.1")

    def test_outside_every_subnet(self) -> None:
        # A warning: the link that it belongs to may be attached later.
        self.assertNotTaken("172.20.0.5", "outside every subnet", code=0)
        self.assertEqual(who_has(self.lan, "172.20.0.5", "0.0.0.0", timeout=0.2), [])


class Damage(Story):
    """State that somebody else has cut, or that another version wrote."""
    FRESH = True
    ONLY_MODE = "tc"

    def test_state_file_cut_in_half(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        files = [path for folder in (self.node.config_dir, self.node.run_dir) for path in folder.rglob("*")
                 if path.is_file() and path.stat().st_size > 20 and "lock" not in path.name]
        self.assertTrue(files)
        for path in files:
            with self.subTest(file=path.name):
                whole = path.read_bytes()
                path.write_bytes(whole[: len(whole) // 2])
                done = self.node.lb("status", check=False)
                self.assertIn(done.returncode, (0, 1))
                self.assertNotIn("terminate", done.stderr)
                change = self.node.lb("service", "add", "more", "--port", "81:8000", "--backend", self.pods[0].address,
                                      check=False)
                self.assertNotIn("terminate", change.stderr)
                if change.returncode:
                    self.assertIn(path.name, change.stderr, "which file is broken")
                self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8", "serving goes on")
                path.write_bytes(whole)
                self.node.lb("service", "rm", "more", check=False)
