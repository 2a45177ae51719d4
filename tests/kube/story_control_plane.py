# SPDX-License-Identifier: Apache-2.0
"""The instruments: what a story reports of pods arrives where it would in a cluster."""

from __future__ import annotations

import socket
import threading

from lab.namespace import stop
from lab.traffic import eventually

from .story import ClusterStory

POD = "10.42.0.8"


class Reported(ClusterStory):
    @classmethod
    def prepare(cls) -> None:
        cls.host.ip(f"addr add {POD}/32 dev lo")
        # A proxy does nothing before it has found its own node.
        cls.control.report_node(cls.host.role, [cls.control.address])
        listener = cls.host.listen(POD, 8000)
        cls.addClassCleanup(listener.close)

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                connection.sendall(b"here")
                connection.close()

        threading.Thread(target=serve, daemon=True).start()
        cls.control.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {
            "selector": {"app": "web"}, "ports": [{"name": "web", "port": 80, "targetPort": "http"}]}})
        cls.control.report_pod("web-1", "pi1", [POD], "192.168.0.11", {"app": "web"}, ports={"http": 8000})
        cls.service = cls.control.get("service", "web")["spec"]["clusterIP"]

    def slices(self) -> list[tuple[str, bool, str, list[int]]]:
        return [(endpoint["addresses"][0], endpoint["conditions"]["ready"], endpoint["nodeName"], [port["port"] for port in one["ports"]])
                for one in self.control.get("endpointslices", "-l", "kubernetes.io/service-name=web")["items"]
                for endpoint in one.get("endpoints") or []]

    def answered(self) -> bool:
        try:
            with self.host.connect(self.service, 80, timeout=1) as connection:
                return connection.recv(4) == b"here"
        except (OSError, socket.timeout):
            return False

    def test_slices_follow_readiness(self) -> None:
        eventually("the pod is listed", lambda: self.slices() == [(POD, True, "pi1", [8000])], within=10)
        self.control.report_ready("web-1", False)
        eventually("it is not ready", lambda: self.slices() == [(POD, False, "pi1", [8000])], within=10)
        self.control.report_ready("web-1", True)
        eventually("it is ready", lambda: self.slices() == [(POD, True, "pi1", [8000])], within=10)

    def test_kube_proxy_serves_the_cluster_address(self) -> None:
        for mode in ("nftables", "iptables"):
            with self.subTest(mode):
                proxy = self.control.start_proxy(self.host, mode)
                self.addCleanup(stop, proxy)
                eventually(f"{mode}: the service answers", lambda: proxy.poll() is not None or self.answered(), within=30)
                self.assertIsNone(proxy.poll(), self.control.log(f"kube-proxy-{self.host.role}")[-2000:])
                self.control.report_ready("web-1", False)
                eventually(f"{mode}: it does not", lambda: not self.answered(), within=10)
                self.control.report_ready("web-1", True)
                eventually(f"{mode}: it does again", self.answered, within=10)
                stop(proxy)
                # The rules stay, as they do on a node; the next mode's are written beside them.
                self.host.run("nft", "flush", "ruleset")

    def test_a_pod_is_bound_and_runs(self) -> None:
        self.install()
        pods = self.control.pods_of("xdp-lb", "metallb-system")
        self.assertEqual(sorted(pods), ["control", "pi1", "pi2"])
        for node, pod in pods.items():
            self.control.bind(pod, node, "metallb-system")
            self.control.patch_status("pod", pod["metadata"]["name"], {
                "phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}, "metallb-system")
        said = self.control.kubectl("-n", "metallb-system", "rollout", "status", "daemonset/xdp-lb", "--timeout=20s")
        self.assertIn("successfully rolled out", said.stdout)
        bound = {one["metadata"]["name"]: one["spec"]["nodeName"] for one in self.control.get("pods", "-n", "metallb-system")["items"]}
        self.assertEqual(bound, {pod["metadata"]["name"]: node for node, pod in pods.items()})
