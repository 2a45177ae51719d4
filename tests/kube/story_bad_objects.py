# SPDX-License-Identifier: Apache-2.0
"""What users write into a cluster that makes no sense, or too much of it: said in a sentence, and nobody loses an address."""

from __future__ import annotations

import json

from lab.lab import FIRST_VIP
from lab.traffic import eventually

from .nodes import NodesStory
from .story import NAMESPACE
from .story_services import ADVERTISEMENT, POOL, pool


class BadObjects(NodesStory):
    NODES = 2

    def setUp(self) -> None:
        self.control.apply(pool("home", POOL), ADVERTISEMENT)
        self.until("it makes sense", lambda: set(self.configuration_states().values()) == {"Valid"})

    def tearDown(self) -> None:
        self.kubectl("delete", "services", "--selector", "!provider", "--wait=true")
        self.kubectl("delete", "ipaddresspools", "--all", "-n", NAMESPACE)
        eventually("every address is given back", lambda: not self.leases(), within=20)

    def leases(self) -> list[str]:
        return [one["metadata"]["name"] for one in self.control.get("leases", "-n", NAMESPACE)["items"]
                if one["metadata"]["name"].startswith("vip-")]

    def summaries(self) -> set[str]:
        return {one.get("status", {}).get("errorSummary", "") for one in self.control.get("configurationstates", "-n", NAMESPACE)["items"]}

    def served(self) -> None:
        self.service("web")
        self.wait_for("web", [FIRST_VIP])
        self.until("a server answers", lambda: self.answers(self.lab.lan, FIRST_VIP))

    def test_pools_that_overlap_leave_the_last_good_ones_in_force(self) -> None:
        self.served()
        self.control.apply(pool("more", "192.168.0.204-192.168.0.210"))
        self.until("it is said", lambda: set(self.configuration_states().values()) == {"Invalid"})
        self.assertRegex(next(iter(self.summaries())), "overlaps with already defined CIDR")
        stale = self.lab.nodes[0].run("curl", "-s", "http://127.0.0.1:7472/metrics").stdout
        self.assertIn("metallb_k8s_client_config_stale_bool 1", stale)
        self.service("late")
        self.wait_for("late", ["192.168.0.201"])
        self.assertTrue(self.answers(self.lab.lan, FIRST_VIP))
        self.kubectl("delete", "ipaddresspool", "more", "-n", NAMESPACE)
        self.until("it is over", lambda: set(self.configuration_states().values()) == {"Valid"})

    def test_a_pool_is_deleted_under_its_services(self) -> None:
        self.served()
        self.control.apply(pool("spare", "192.168.0.220-192.168.0.221"))
        self.kubectl("delete", "ipaddresspool", "home", "-n", NAMESPACE)
        self.wait_for("web", ["192.168.0.220"])
        self.until("the other pool serves", lambda: self.answers(self.lab.lan, "192.168.0.220"))
        self.assertEqual(self.answers(self.lab.lan, FIRST_VIP), "")

    def test_a_service_is_edited_while_it_is_allocated(self) -> None:
        self.served()
        for number in range(20):
            self.kubectl("annotate", "service", "web", "--overwrite", f"metallb.io/loadBalancerIPs=192.168.0.{200 + number % 5}")
        self.wait_for("web", ["192.168.0.204"])
        self.until("one Lease is left", lambda: self.leases() == ["vip-192.168.0.204"])
        self.until("it is served", lambda: self.answers(self.lab.lan, "192.168.0.204"))

    def test_names_as_long_as_they_may_be(self) -> None:
        long = ".".join(["p" * 63] * 3 + ["q" * 61])
        self.assertEqual(len(long), 253)
        self.control.apply(pool(long, "192.168.0.220-192.168.0.221"),
                           {**ADVERTISEMENT, "metadata": {"name": long, "namespace": NAMESPACE}})
        self.addCleanup(self.kubectl, "delete", "l2advertisement", long, "-n", NAMESPACE)
        name = "s" * 63
        self.service(name, annotations={"metallb.io/address-pool": long})
        self.wait_for(name, ["192.168.0.220"])
        self.assertEqual(self.control.get("service", name)["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"], long)
        self.until("its announcer is shown", lambda: name in self.kubectl("get", "servicel2statuses", "-A"))

    def test_an_annotation_as_large_as_a_server_takes(self) -> None:
        """kubectl writes it down a second time: twice this, and no more, is allowed."""
        self.service("web", annotations={"example.com/certificate": "x" * 120_000})
        self.wait_for("web", [FIRST_VIP])
        self.until("a server answers", lambda: self.answers(self.lab.lan, FIRST_VIP))

    def test_definitions_that_are_gone_take_nothing_away(self) -> None:
        self.served()
        definition = json.loads(self.kubectl("get", "crd", "ipaddresspools.metallb.io", "-o", "json"))
        self.kubectl("delete", "crd", "ipaddresspools.metallb.io")
        self.until("it is said", lambda: all("does not know IPAddressPool" in self.log(node) for node in self.lab.nodes), within=60)
        self.assertEqual(self.addresses("web"), [FIRST_VIP])
        self.assertTrue(self.answers(self.lab.lan, FIRST_VIP))
        fresh = {"apiVersion": definition["apiVersion"], "kind": definition["kind"], "metadata": {"name": definition["metadata"]["name"]},
                 "spec": definition["spec"]}
        self.control.apply(fresh)
        self.kubectl("wait", "--for", "condition=established", "--timeout=20s", "crd/ipaddresspools.metallb.io")
        self.control.apply(pool("home", POOL))
        self.until("it is read again", lambda: set(self.configuration_states().values()) == {"Valid"}, within=60)
        self.service("late")
        self.wait_for("late", ["192.168.0.201"])
        self.assertEqual(self.addresses("web"), [FIRST_VIP])
