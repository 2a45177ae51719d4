# SPDX-License-Identifier: Apache-2.0
"""The pods of the chart on two nodes, as their kubelets would run them: its arguments, its rights, its account. A user types
`helm install` and the manifest of the tutorial; clients are answered, also while pods are replaced."""

from __future__ import annotations

import re
import unittest

from lab import lab as topology
from lab import servers
from lab.lab import FIRST_VIP, ROUTER_WAN, WAN_CLIENT, Lab
from lab.traffic import eventually, http

from . import partner
from .control_plane import ControlPlane, pod_name
from .installation import Installation, Machine
from .story import BINARY, NAMESPACE, TUTORIAL, lab_name, need

CONTROL_TAIL = 100  # 192.168.0.100
TRAEFIK = {"app.kubernetes.io/name": "traefik"}
SERVICE = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "traefik", "namespace": "kube-system"}, "spec": {
    "type": "LoadBalancer", "selector": TRAEFIK, "ports": [{"name": "web", "port": 80, "targetPort": "web"}]}}


class Pods(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        need(partner.tools, partner.etcd, partner.kubernetes, partner.containerd)
        name = lab_name()
        cls.addClassCleanup(topology.down, name)
        cls.lab = Lab(name, nodes=2, pods=1, binary=BINARY).up()
        cls.addClassCleanup(cls.lab.down)
        cls.control = ControlPlane(cls.lab.add_host("control", CONTROL_TAIL), f"192.168.0.{CONTROL_TAIL}", name).up()
        cls.chart = Installation(cls.control, {node.role: Machine.of(node) for node in cls.lab.nodes}, BINARY)
        cls.addClassCleanup(cls.chart.stop)
        for node in cls.lab.nodes:
            cls.control.report_node(node.role, [node.address])
            for pod in node.pods:
                servers.nginx(cls.lab, pod)
                cls.control.report_pod(pod_name(pod), node.role, [pod.address], node.address, TRAEFIK, namespace="kube-system",
                                       ports={"web": servers.HTTP_PORT})
        cls.control.apply(SERVICE)
        # What a user types. The lab's NICs are veths, whose native mode asks for more than a NIC's.
        cls.chart.install("--set", "mode=tc")
        cls.chart.start()
        cls.control.apply(text=TUTORIAL.read_text())

    def setUp(self) -> None:
        try:
            for name in self.chart.machines:
                self.chart.alive(name)
            eventually("the service has its address", lambda: self.external_address() == FIRST_VIP, within=60)
            eventually("a client is answered", lambda: http(self.lab.lan, FIRST_VIP).pod, within=30)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.chart.logs()}") from None

    def external_address(self) -> str:
        shown = self.control.kubectl("get", "service", "-n", "kube-system", "traefik").stdout
        found = re.search(r"^traefik +LoadBalancer +\S+ +(\d\S*) +80:", shown, re.M)
        return found[1] if found else ""

    def test_clients_outside_are_answered_with_their_own_address(self) -> None:
        self.assertEqual(http(self.lab.wan, ROUTER_WAN).client, WAN_CLIENT)

    def test_both_pods_get_clients(self) -> None:
        wanted = {pod_name(pod) for node in self.lab.nodes for pod in node.pods}
        eventually("both do", lambda: {http(self.lab.lan, FIRST_VIP).pod for _ in range(40)} == wanted, within=60)

    def test_what_is_reported_belongs_to_the_pod_that_reports(self) -> None:
        def reported() -> dict:
            items = self.control.get("servicel2statuses", "-n", NAMESPACE)["items"]
            return items[0] if len(items) == 1 and "status" in items[0] else {}

        status = eventually("one ServiceL2Status", reported, within=30)
        owner = status["metadata"]["ownerReferences"][0]
        pods = self.control.pods_of("xdp-lb", NAMESPACE)
        self.assertEqual((owner["kind"], owner["uid"]), ("Pod", pods[status["status"]["node"]]["metadata"]["uid"]))
        uids = {pod["metadata"]["uid"] for pod in pods.values()}
        for state in self.control.get("configurationstates", "-n", NAMESPACE)["items"]:
            self.assertIn(state["metadata"]["ownerReferences"][0]["uid"], uids, state["metadata"]["name"])

    def test_pods_are_replaced_and_clients_do_not_notice(self) -> None:
        for name in self.chart.machines:
            self.chart.kill(name)
            self.ten_requests(f"{name} is gone")
            self.chart.start(name)
            self.ten_requests(f"{name} starts")
            eventually(f"{name} is there again", lambda: self.chart.alive(name) and "eth0" in self.chart.run(name, "status"), within=30)
        self.assertEqual(self.external_address(), FIRST_VIP)

    def ten_requests(self, when: str) -> None:
        for number in range(10):
            try:
                http(self.lab.lan, FIRST_VIP, timeout=3)
            except OSError as broken:
                shown = "".join(f"--- {node}\n{node.lb('stats', check=False).stdout}" for node in self.lab.nodes)
                raise AssertionError(f"{when}, request {number}: {broken}\n{shown}{self.chart.logs()}") from None

    def test_the_hook_before_a_stop_leaves_a_node_alone_that_is_not_being_emptied(self) -> None:
        for name, pod in self.control.pods_of("xdp-lb", NAMESPACE).items():
            hook = pod["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
            self.assertIn("not cordoned", self.chart.containers[name].run_inside(*hook).stdout)
            self.assertNotIn("draining", self.chart.run(name, "status").splitlines()[0])

    def test_the_account_is_enough(self) -> None:
        """Nothing that a daemon asked for was refused; the API server would have said `forbidden`."""
        for name in self.chart.machines:
            self.assertNotIn("forbidden", self.chart.log(name).lower())
