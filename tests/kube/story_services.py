# SPDX-License-Identifier: Apache-2.0
"""What Services ask for, and what they are told: MetalLB's annotations, refusals and events, in a real control plane."""

from __future__ import annotations

from lab.lab import FIRST_VIP
from lab.traffic import eventually

from .nodes import NodesStory
from .story import NAMESPACE

POOL, OTHER = "192.168.0.200-192.168.0.204", "192.168.0.220-192.168.0.221"


def pool(name: str, *ranges: str, **more: object) -> dict:
    return {"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"addresses": list(ranges), **more}}


ADVERTISEMENT = {"apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement", "metadata": {"name": "all", "namespace": NAMESPACE},
                 "spec": {}}


class Services(NodesStory):
    NODES = 2

    def setUp(self) -> None:
        self.control.apply(pool("home", POOL), pool("spare", OTHER, autoAssign=False), ADVERTISEMENT)

    def tearDown(self) -> None:
        self.kubectl("delete", "services", "--selector", "!provider", "--wait=true")
        eventually("every address is given back", lambda: not self.leases(), within=20)

    def leases(self) -> list[str]:
        return [one["metadata"]["name"] for one in self.control.get("leases", "-n", NAMESPACE)["items"]
                if one["metadata"]["name"].startswith("vip-")]

    def told(self, name: str, reason: str) -> str:
        found = self.until(f"{name} is told {reason}", lambda: [message for _, what, message in self.events(name) if what == reason])
        assert isinstance(found, list)
        return found[-1]

    def annotate(self, name: str, *annotations: str) -> None:
        self.kubectl("annotate", "service", name, "--overwrite", *annotations)

    def test_addresses_are_given_in_order_and_come_back(self) -> None:
        for name, address in (("one", FIRST_VIP), ("two", "192.168.0.201")):
            self.service(name)
            self.wait_for(name, [address])
        self.assertEqual(self.leases(), ["vip-192.168.0.200", "vip-192.168.0.201"])
        self.kubectl("delete", "service", "one")
        self.until("the first is free", lambda: self.leases() == ["vip-192.168.0.201"])
        self.service("three")
        self.wait_for("three", [FIRST_VIP])
        self.assertEqual(self.addresses("two"), ["192.168.0.201"])

    def test_an_address_by_name_and_another_one_later(self) -> None:
        self.service("web", annotations={"metallb.io/loadBalancerIPs": "192.168.0.203"})
        self.wait_for("web", ["192.168.0.203"])
        self.annotate("web", "metallb.io/loadBalancerIPs=192.168.0.204")
        self.wait_for("web", ["192.168.0.204"])
        self.until("one Lease", lambda: self.leases() == ["vip-192.168.0.204"])

    def test_a_pool_by_name(self) -> None:
        self.service("web", annotations={"metallb.io/address-pool": "spare"})
        self.wait_for("web", ["192.168.0.220"])
        self.assertEqual(self.control.get("service", "web")["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"], "spare")

    def test_the_old_spelling_works_and_is_told(self) -> None:
        self.service("web", annotations={"metallb.universe.tf/address-pool": "spare"})
        self.wait_for("web", ["192.168.0.220"])
        self.assertIn("metallb.universe.tf/address-pool", self.told("web", "deprecatedAnnotation"))

    def test_what_cannot_be_is_said_in_metallbs_words(self) -> None:
        for name, annotation, sentence in (
                ("outside", {"metallb.io/loadBalancerIPs": "10.9.9.9"}, '["10.9.9.9"] is not allowed in config'),
                ("unknown", {"metallb.io/address-pool": "nowhere"}, 'unknown pool "nowhere"')):
            self.service(name, annotations=annotation)
            self.assertIn(sentence, self.told(name, "AllocationFailed"))
            self.assertEqual(self.addresses(name), [])

    def test_a_full_pool_is_said_and_the_next_free_address_is_taken(self) -> None:
        for number in range(5):
            self.service(f"full{number}")
        for number in range(5):
            self.until(f"full{number} has one", lambda: self.addresses(f"full{number}"))
        self.service("late")
        self.assertIn("no available IPs", self.told("late", "AllocationFailed"))
        gone = self.addresses("full3")
        self.kubectl("delete", "service", "full3")
        self.wait_for("late", gone)

    def test_two_share_an_address_under_one_key(self) -> None:
        shared = {"metallb.io/allow-shared-ip": "http3"}
        self.service("web", annotations=shared, ports=[{"name": "web", "port": 443, "targetPort": 8080}])
        self.wait_for("web", [FIRST_VIP])
        self.service("quic", annotations=shared, ports=[{"name": "quic", "port": 443, "protocol": "UDP", "targetPort": 8080}])
        self.wait_for("quic", [FIRST_VIP])
        self.assertEqual(self.leases(), ["vip-192.168.0.200"])

    def test_another_class_is_left_alone(self) -> None:
        self.service("theirs", loadBalancerClass="example.com/lb")
        self.service("ours")
        self.wait_for("ours", [FIRST_VIP])
        self.assertEqual(self.addresses("theirs"), [])

    def test_who_stops_to_be_a_load_balancer_gives_its_address_back(self) -> None:
        self.service("web")
        self.wait_for("web", [FIRST_VIP])
        self.kubectl("patch", "service", "web", "-p", '{"spec":{"type":"ClusterIP"}}')
        self.until("the Lease is gone", lambda: not self.leases())
        self.until("the pool is not named any more", lambda: "metallb.io/ip-allocated-from-pool" not in
                   self.control.get("service", "web")["metadata"].get("annotations", {}))

    def test_all_pools_gone_at_once_change_nothing(self) -> None:
        self.service("web")
        self.wait_for("web", [FIRST_VIP])
        # The first use of an address is asked about on the wire before it is answered for.
        self.until("a server answers", lambda: self.answers(self.lab.lan, FIRST_VIP))
        self.kubectl("delete", "ipaddresspools", "--all", "-n", NAMESPACE)
        self.until("it is said", lambda: any("all IPAddressPools are gone" in self.log(node) for node in self.lab.nodes))
        self.assertEqual(self.addresses("web"), [FIRST_VIP])
        self.assertTrue(self.answers(self.lab.lan, FIRST_VIP), "whichever node it is")
        reporters = {"controller", *(f"speaker-{node.role}" for node in self.lab.nodes)}
        self.until("each part shows it", lambda: self.configuration_states() == dict.fromkeys(reporters, "Invalid"))
        self.assertIn("all IPAddressPools are gone", self.kubectl("get", "configurationstates", "-n", NAMESPACE))
        self.setUp()
        self.until("each part takes it back", lambda: self.configuration_states() == dict.fromkeys(reporters, "Valid"))
        self.assertNotIn("gone", self.kubectl("get", "configurationstates", "-n", NAMESPACE))

    def test_an_address_that_somebody_else_has_is_not_announced(self) -> None:
        taken = "192.168.0.221"
        self.lab.add_host("printer", 221)
        self.service("squatted", annotations={"metallb.io/loadBalancerIPs": taken})
        self.wait_for("squatted", [taken])
        self.assertIn(f"{taken} ", self.told("squatted", "announceFailed"))
        self.assertNotIn("nodeAssigned", [reason for _, reason, _ in self.events("squatted")])
