# SPDX-License-Identifier: Apache-2.0
"""`peer`, `why` and `drain`: what one node says of others, with a daemon and without."""

from __future__ import annotations

import subprocess

from . import servers
from .story import EXAMPLE_POOL, FIRST_VIP, Story
from .traffic import eventually


class PeerCommands(Story):
    FRESH = True
    ONLY_MODE = "tc"

    def run_daemon(self) -> subprocess.Popen[str]:
        self.log = self.lab.directory / "daemon.log"
        daemon = self.node.start(str(self.lab.binary), "run", stdout=self.log)
        eventually("the daemon listens", lambda: (self.node.run_dir / "control.sock").exists(), within=15)
        return daemon

    def refused(self, *words: str, stdin: str | None = None, code: int = 1) -> str:
        before = self.files()
        done = self.node.lb(*words, check=False, stdin=stdin)
        self.assertEqual(done.returncode, code, f"{words}: {done.stdout}{done.stderr}")
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, f"{words}: one sentence, not\n{done.stderr}")
        self.assertEqual(self.files(), before, f"{words}: nothing half-done")
        return done.stderr

    def files(self) -> dict[str, bytes]:
        return {str(path): path.read_bytes() for path in sorted(self.node.config_dir.rglob("*")) if path.is_file()}

    def names(self) -> list[str]:
        return [peer["name"] for peer in self.node.lb_json("peer", "ls")]

    def test_added_listed_moved_and_removed(self) -> None:
        for daemon in (False, True):
            with self.subTest(daemon=daemon):
                if daemon:
                    self.run_daemon()
                self.node.lb("peer", "add", "pi2", "192.168.0.12")
                self.node.lb("peer", "add", "pi3", "192.168.0.13", "fd00:0:0:1::13")
                self.assertEqual(self.names(), ["pi2", "pi3"])
                peer = self.node.lb_json("peer", "ls")[0]
                self.assertEqual((peer["address"], peer["state"], peer["detection_ms"], peer["last_change"]),
                                 ("192.168.0.12", "unknown", 0, None))
                self.assertIn("no daemon that keeps peers", peer["reason"])
                self.assertIn("configured", self.node.lb("peer", "add", "pi2", "192.168.0.22").stdout)
                self.assertEqual(self.node.lb_json("peer", "ls")[0]["address"], "192.168.0.22")
                self.assertEqual([peer["name"] for peer in self.node.lb_json("status")["peers"]], ["pi2", "pi3"])
                self.node.lb("peer", "rm", "pi3")
                self.node.lb("peer", "rm", "pi2")
                self.assertEqual(self.names(), [])

    def test_labels_of_a_node_outlive_its_move(self) -> None:
        self.apply("apiVersion: v1\nkind: Node\nmetadata: {name: pi2, labels: {rack: a}}\n"
                   "status: {addresses: [{type: InternalIP, address: 192.168.0.12}]}\n")
        self.node.lb("peer", "add", "pi2", "192.168.0.22")
        declared = "".join(path.read_text() for path in (self.node.config_dir / "manifests").glob("*.y*ml"))
        self.assertIn("rack: a", declared)
        self.assertIn("192.168.0.22", declared)

    def test_who_can_be_no_peer(self) -> None:
        own = self.node.environment["XDP_LB_NODE"]
        self.node.lb("peer", "add", "pi2", "192.168.0.12")
        self.assertIn("own name", self.refused("peer", "add", own, "192.168.0.99"))
        self.assertIn("an address of this machine", self.refused("peer", "add", "pi9", self.node.address))
        self.assertIn("the address of node pi2 already", self.refused("peer", "add", "pi9", "192.168.0.12"))
        self.assertIn("loopback", self.refused("peer", "add", "pi9", "127.0.0.1"))
        self.assertIn("192.168.0.300", self.refused("peer", "add", "pi9", "192.168.0.300", code=2))
        self.assertIn("small letters", self.refused("peer", "add", "Pi9", "192.168.0.19"))
        self.assertIn("no such peer", self.refused("peer", "rm", "pi9"))
        self.assertIn("the address of node", self.refused("apply", "-f", "-", stdin=(
            "apiVersion: v1\nkind: Node\nmetadata: {name: pi9}\n"
            "status: {addresses: [{type: InternalIP, address: 192.168.0.12}]}\n")))

    def test_a_peer_behind_a_router_is_warned_about(self) -> None:
        self.attach()
        said = self.node.lb("peer", "add", "far", "10.99.0.1").stderr
        self.assertIn("10.99.0.1 is in no subnet of the attached links", said)
        self.assertIn("192.168.0.0/24", said)

    def test_a_peers_address_is_given_to_no_service(self) -> None:
        self.node.lb("peer", "add", "pi2", FIRST_VIP)
        self.node.lb("apply", "-f", str(EXAMPLE_POOL))
        self.node.lb("service", "add", "web", "--port", "80:8000", "--backend", self.pods[0].address)
        self.assertEqual(self.node.lb_json("service", "ls")[0]["vip"], "192.168.0.201")
        self.assertIn("the address of node pi2", self.refused(
            "service", "add", "other", "--port", "80:8000", "--backend", self.pods[0].address, "--vip", FIRST_VIP))

    def test_the_key(self) -> None:
        file = self.node.config_dir / "cluster.key"
        said = self.node.lb("peer", "key").stdout
        self.assertIn("Made a key", said)
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        text = file.read_text()
        self.assertNotIn(text.strip(), said, "a key is not shown unasked")
        again = self.node.lb("peer", "key").stdout
        self.assertIn(said.split("fingerprint ")[1].split()[0], again)
        self.assertEqual(file.read_text(), text)
        self.node.lb("peer", "key", "--import", "-", stdin=f"  {text.upper()}\n")
        other = self.lab.directory / "other"
        other.mkdir()
        self.node.environment["XDP_LB_CONFIG_DIR"] = str(other)
        try:
            self.node.lb("peer", "key", "--import", str(file))
            self.assertEqual((other / "cluster.key").read_text(), text)
            (other / "cluster.key").unlink()
            self.node.lb("peer", "key")
            foreign = (other / "cluster.key").read_text()
        finally:
            self.node.environment["XDP_LB_CONFIG_DIR"] = str(self.node.config_dir)
        self.assertIn("--replace", self.refused("peer", "key", "--import", "-", stdin=foreign))
        self.assertIn("a digit of the key is wrong", self.refused(
            "peer", "key", "--replace", "--import", "-", stdin=text[:10] + ("0" if text[10] != "0" else "1") + text[11:]))
        self.node.lb("peer", "key", "--replace", "--import", "-", stdin=foreign)
        self.assertEqual(file.read_text(), foreign)
        self.assertIn("Made another key", self.node.lb("peer", "key", "--replace").stdout)
        self.assertNotIn(file.read_text(), (text, foreign))
        file.chmod(0o644)
        self.assertIn("chmod 600", self.refused("peer", "key"))

    def test_why(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        own = self.node.environment["XDP_LB_NODE"]
        self.node.lb("peer", "add", "pi2", "192.168.0.12")
        for daemon in (False, True):
            with self.subTest(daemon=daemon):
                if daemon:
                    self.run_daemon()
                # A daemon that has just started owns what it did, and listens before it may take more.
                eventually("it listens no more", lambda: self.node.lb_json("why", FIRST_VIP)["candidates"][0]["eligible"], within=15)
                why = self.node.lb_json("why", FIRST_VIP)
                self.assertEqual((why["vip"], why["owner"]), (FIRST_VIP, own))
                self.assertEqual(why["candidates"][0]["node"], own)
                self.assertTrue(why["candidates"][0]["eligible"])
                if not daemon:
                    self.assertEqual(why["candidates"][1]["node"], "pi2")
                    self.assertIn("not known", why["candidates"][1]["reason"])
                of_service = self.node.lb_json("why", "traefik")
                self.assertEqual((of_service["service"], of_service["reason"], of_service["vips"]), ("default/traefik", "", [why]))
                self.assertIn("no service holds it", self.refused("why", "192.168.0.9"))
                self.assertIn("no service", self.refused("why", "nobody"))
                self.assertIn(f"is answered for by {own}", self.node.lb("why", "default/traefik").stdout)

    def test_why_a_service_has_no_address(self) -> None:
        self.node.lb("pool", "add", "tiny", "192.168.0.240/32")
        self.node.lb("service", "add", "web", "--port", "80:8000", "--backend", self.pods[0].address)
        self.node.lb("pool", "rm", "tiny")
        reason = next(s["reason"] for s in self.node.lb_json("service", "ls"))
        self.assertTrue(reason)
        self.assertEqual(self.node.lb_json("why", "web")["reason"], reason)
        self.assertIn(reason, self.node.lb("why", "web").stdout)

    def test_drain_needs_a_daemon_and_somebody_else(self) -> None:
        for verb in ("drain", "undrain"):
            self.assertIn("no daemon runs", self.refused(verb))
        self.run_daemon()
        for verb in ("drain", "undrain"):
            self.assertIn("xdp-lb peer add", self.refused(verb))
