# SPDX-License-Identifier: Apache-2.0
"""The API server goes and comes, allocators die: nobody loses an address, and what changed meanwhile is applied."""

from __future__ import annotations

import signal

from lab.lab import FIRST_VIP, Node

from .nodes import NodesStory
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
