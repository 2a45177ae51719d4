# SPDX-License-Identifier: Apache-2.0
"""Two nodes with one address: a mistake in a file, or of a DHCP server. Nodes know each other by name, key and MAC, so
clients do not notice; the user is told."""

from __future__ import annotations

import time

from .cluster_story import ClusterStory
from .lab import GATEWAY, Node
from .traffic import eventually


class SameAddress(ClusterStory):
    FRESH = True

    def take_the_address(self, node: Node, of: Node) -> None:
        """The node has the other's address instead of its own. With the last address go all routes."""
        others = [other for other in self.lab.nodes if other not in (node, of)]
        node.ip(f"addr del {node.address}/24 dev eth0", f"addr add {of.address}/24 dev eth0", f"route replace default via {GATEWAY}",
                *(f"route replace 10.42.{other.subnet}.0/24 via {other.address}" for other in others))

    def assert_served_and_the_owner_replaceable(self) -> None:
        with self.watching() as seen:
            time.sleep(2)
        self.assert_no_outage(seen)
        self.assert_moves(seen, 0)
        self.assert_never_two(seen)
        with self.watching() as seen:
            cut = time.monotonic()
            self.faults.cut(self.owner)
            time.sleep(1)
        self.assert_served_again(seen, cut)
        self.assert_never_two(seen)

    def test_a_standby_has_the_owners_address(self) -> None:
        twin = self.standbys[0]
        self.take_the_address(twin, self.owner)
        eventually("the user is told", lambda: f"Node {self.owner.role} is declared with {self.owner.address}, an address of this machine"
                   in self.cluster.log(twin))
        self.cluster.settle()
        self.assert_served_and_the_owner_replaceable()

    def test_two_standbys_have_one_address(self) -> None:
        self.take_the_address(*self.standbys)
        self.cluster.settle()
        self.assert_served_and_the_owner_replaceable()

    def test_one_address_declared_for_two_nodes_is_refused(self) -> None:
        one, other = self.standbys
        manifest = self.manifest("".join(
            f"---\napiVersion: v1\nkind: Node\nmetadata: {{name: {node.role}}}\n"
            f"status: {{addresses: [{{type: InternalIP, address: {one.address}}}]}}\n" for node in (one, other)))
        for node in self.lab.nodes:
            refused = node.lb("apply", "-f", str(manifest), check=False)
            self.assertEqual(refused.returncode, 1)
            self.assertIn(f"{one.address} is the address of node", refused.stderr)
        self.cluster.settle()
        self.assert_served_and_the_owner_replaceable()
