# SPDX-License-Identifier: Apache-2.0
"""The tutorial that everybody follows: a pool, an advertisement, Traefik's Service; an address; a node dies and it moves."""

from __future__ import annotations

from lab.lab import FIRST_VIP

from .nodes import NodesStory
from .story import NAMESPACE, TUTORIAL


class Tutorial(NodesStory):
    def test_the_reader_sees_what_the_tutorial_shows(self) -> None:
        self.report_pods(self.lab.nodes, "kube-system")
        self.service("traefik", "kube-system")
        self.control.apply(text=TUTORIAL.read_text())
        self.wait_for("traefik", [FIRST_VIP], "kube-system")
        shown = self.kubectl("get", "svc", "-n", "kube-system", "traefik")
        self.assertRegex(shown, rf"traefik\s+LoadBalancer\s+\S+\s+{FIRST_VIP}\s+80:")
        service = self.control.get("service", "traefik", "-n", "kube-system")
        self.assertEqual(service["status"]["loadBalancer"]["ingress"][0]["ipMode"], "VIP")
        self.assertEqual(service["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"], "ipaddresspool")

        owner = self.until("one node answers", lambda: self.owner(FIRST_VIP), within=20)
        self.until("the server answers", lambda: self.answers(self.lab.lan, FIRST_VIP) != "", within=20)
        def told() -> list[tuple[str, str, str]]:
            events = self.events("traefik", "kube-system")
            return events if {reason for _, reason, _ in events} >= {"IPAllocated", "nodeAssigned"} else []

        events = self.until("it is told", told)
        self.assertIn(("Normal", "IPAllocated", f'Assigned IP ["{FIRST_VIP}"]'), events)
        self.assertIn(("Normal", "nodeAssigned", f'announcing from node "{owner.role}" with protocol "layer2"'), events)
        shown = self.until("the status says who announces", lambda: self.kubectl("get", "servicel2statuses", "-A", "--no-headers"))
        self.assertRegex(shown, rf"{owner.role}\s+traefik\s+kube-system")
        pool = self.until("the pool is counted", lambda: self.control.get("ipaddresspool", "-n", NAMESPACE)["items"][0].get("status"))
        self.assertEqual((pool["assignedIPv4"], pool["availableIPv4"]), (1, 50))

        self.lab.power_off(owner)
        other = self.until("another node answers", lambda: self.owner(FIRST_VIP), within=10)
        self.assertNotEqual(other, owner)
        self.until("the server answers again", lambda: self.answers(self.lab.lan, FIRST_VIP) != "", within=5)
        self.assertEqual(self.addresses("traefik", "kube-system"), [FIRST_VIP])
