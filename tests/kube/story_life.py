# SPDX-License-Identifier: Apache-2.0
"""The API server goes and comes, allocators die: nobody loses an address, and what changed meanwhile is applied."""

from __future__ import annotations

import shutil
import signal
import time
import unittest

from lab.faults import Faults
from lab.lab import FIRST_VIP, Node
from lab.traffic import Load

from .nodes import NodesStory
from .story import FULL
from .story_services import ADVERTISEMENT, POOL, pool


class Life(NodesStory):
    NODES = 2

    def tearDown(self) -> None:
        self.kubectl("delete", "services", "--selector", "!provider")

    def test_without_the_api_server(self) -> None:
        self.control.apply(pool("home", POOL), ADVERTISEMENT)
        self.service("web")
        self.wait_for("web", [FIRST_VIP])
        self.until("a server answers", lambda: self.answers(self.lab.lan, FIRST_VIP))
        self.until("it is kept", lambda: all("192.168.0.200" in self.kept(node) for node in self.lab.nodes), within=30)

        self.control.stop("kube-apiserver")
        self.assertTrue(self.answers(self.lab.lan, FIRST_VIP))
        for node in self.lab.nodes:  # each daemon is replaced while there is no server
            self.daemons[node].send_signal(signal.SIGTERM)
            self.daemons[node].wait(10)
            self.start(node)
            self.assertTrue(self.answers(self.lab.lan, FIRST_VIP), f"with the daemon of {node} replaced")
            self.assertEqual([vip["address"] for vip in node.lb_json("status")["vips"]], [FIRST_VIP])

        self.control.start_server()
        self.service("more")
        self.wait_for("more", ["192.168.0.201"], within=60)
        self.assertEqual(self.addresses("web"), [FIRST_VIP])
        self.assertTrue(self.answers(self.lab.lan, FIRST_VIP))

        # Who gives addresses out dies: another one does after the Lease's fifteen seconds.
        holder = self.control.get("lease", "xdp-lb-allocator", "-n", "metallb-system")["spec"]["holderIdentity"]
        leader = next(node for node in self.lab.nodes if node.role == holder)
        self.daemons[leader].kill()
        self.daemons[leader].wait(10)
        self.service("third")
        self.wait_for("third", ["192.168.0.202"], within=60)
        self.start(leader)
        self.assertEqual(self.addresses("web"), [FIRST_VIP])

    def test_daemons_that_start_know_less_than_their_tables(self) -> None:
        """What a node has on its disk is some seconds older than what it serves; the API server knows better."""
        self.control.apply(pool("home", POOL), ADVERTISEMENT)
        self.service("before")
        before = self.until("it has an address", lambda: self.addresses("before"))[0]  # type: ignore[index]
        self.until("it is kept", lambda: all(before in self.kept(node) for node in self.lab.nodes), within=30)
        old = {node: self.kept(node) for node in self.lab.nodes}
        self.service("young")
        vip = self.until("it has an address", lambda: self.addresses("young"))[0]  # type: ignore[index]
        self.until("a server answers", lambda: self.answers(self.lab.lan, vip))
        self.until("it is kept soon", lambda: all(vip in self.kept(node) for node in self.lab.nodes), within=5)
        load = Load(self.lab.lan, vip, threads=1).start()
        for node in self.lab.nodes:
            self.daemons[node].kill()
            self.daemons[node].wait(10)
            (node.config_dir / "api.json").write_text(old[node])
            self.start(node)
            time.sleep(1)
        load.stop()
        self.assertEqual(dict(load.errors), {}, f"{load}\n{self.logs()}")
        self.assertLess(load.slowest, 0.9, f"a packet was lost, and sent again after a second: {load}\n{self.logs()}")

    def test_a_cordoned_node_hands_over_until_it_is_uncordoned(self) -> None:
        self.control.apply(pool("home", POOL), ADVERTISEMENT)
        self.service("moved")
        address = self.until("it has an address", lambda: self.addresses("moved"))[0]  # type: ignore[index]
        node = self.until("one node answers", lambda: self.owner(address))
        assert isinstance(node, Node)
        self.assertIn("not cordoned", node.lb("drain", "--if-cordoned").stdout)
        self.kubectl("cordon", node.role)
        self.until("it is handed over", lambda: "for no VIP" in node.lb("drain", "--if-cordoned", check=False).stdout, within=40)
        self.assertNotEqual(self.until("another node answers", lambda: self.owner(address)), node)
        self.daemons[node].send_signal(signal.SIGTERM)
        self.daemons[node].wait(10)
        self.start(node)
        self.assertTrue(node.lb_json("status")["draining"], "whoever comes next goes on draining")
        self.kubectl("uncordon", node.role)
        self.until("it takes part again", lambda: not node.lb_json("status")["draining"])

    @staticmethod
    def kept(node) -> str:  # type: ignore[no-untyped-def]
        path = node.config_dir / "api.json"
        return path.read_text() if path.exists() else ""


class UnderLoad(NodesStory):
    """Clients ask for three minutes, 10,000 times, and notice nothing of what the API server goes through."""

    NODES = 2
    THREADS, REQUESTS, SECONDS = 4, 10_000, 170

    def test_what_a_server_goes_through_is_no_matter_of_clients(self) -> None:
        if not FULL:
            raise unittest.SkipTest("takes four minutes: run with --full")
        self.control.apply(pool("home", POOL), ADVERTISEMENT)
        self.service("web")
        self.wait_for("web", [FIRST_VIP])
        self.until("a server answers", lambda: self.answers(self.lab.lan, FIRST_VIP))
        before = self.copy_of_etcd()
        load = Load(self.lab.lan, FIRST_VIP, threads=self.THREADS, limit=self.REQUESTS,
                    pause=self.THREADS * self.SECONDS / self.REQUESTS).start()
        try:
            self.killed()
            self.parted_from_one_node()
            self.restored_from(before)
        finally:
            load.wait()
        print(f"        {load}", flush=True)
        self.assertEqual((load.done, dict(load.errors)), (self.REQUESTS, {}))
        self.assertEqual(self.addresses("web"), [FIRST_VIP])

    def copy_of_etcd(self):  # type: ignore[no-untyped-def]
        copy = self.control.folder / "older"
        self.control.stop("kube-apiserver")
        self.control.stop("etcd")
        shutil.copytree(self.control.folder / "etcd", copy)
        self.control.start_etcd()
        self.control.start_server()
        return copy

    def killed(self) -> None:
        self.control.stop("kube-apiserver", signal.SIGKILL)
        self.control.start_server()
        self.service("after-the-kill")
        self.wait_for("after-the-kill", ["192.168.0.201"], within=60)

    def parted_from_one_node(self) -> None:
        holder = self.control.get("lease", "xdp-lb-allocator", "-n", "metallb-system")["spec"]["holderIdentity"]
        node = next(node for node in self.lab.nodes if node.role == holder)
        faults = Faults(self.lab)
        self.addCleanup(faults.heal)
        faults.part(self.host, node)
        self.service("while-parted")
        self.wait_for("while-parted", ["192.168.0.202"], within=60)  # from the other node, when the Lease has run out
        faults.heal()
        self.until("the node knows it too", lambda: "192.168.0.202" in self.vips(node), within=60)

    @staticmethod
    def vips(node: Node) -> list[str]:
        return [vip["address"] for vip in node.lb_json("status")["vips"]]

    def restored_from(self, copy) -> None:  # type: ignore[no-untyped-def]
        """Watches begin at versions from the future then, and say nothing at all."""
        self.control.stop("kube-apiserver")
        self.control.stop("etcd")
        shutil.rmtree(self.control.folder / "etcd")
        copy.rename(self.control.folder / "etcd")
        self.control.start_etcd()
        self.control.start_server()
        for node in self.lab.nodes:
            self.until(f"{node} serves what the copy holds and no more",
                       lambda: self.vips(node) == [FIRST_VIP], within=150)
        self.service("after-the-restoration")
        self.wait_for("after-the-restoration", ["192.168.0.201"], within=60)
