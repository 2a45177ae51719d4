# SPDX-License-Identifier: Apache-2.0
"""The API server goes and comes, allocators die: nobody loses an address, and what changed meanwhile is applied."""

from __future__ import annotations

import signal

from lab.lab import FIRST_VIP

from .nodes import NodesStory
from .story_services import ADVERTISEMENT, POOL, pool


class Life(NodesStory):
    NODES = 2

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

    @staticmethod
    def kept(node) -> str:  # type: ignore[no-untyped-def]
        path = node.config_dir / "api.json"
        return path.read_text() if path.exists() else ""
