# SPDX-License-Identifier: Apache-2.0
"""The tutorial to its end: a real Traefik behind the address serves a real Ingress, by HTTP, HTTPS and HTTP/3, from the Internet,
and its log has the clients' own addresses; then the port of the node that answers is cut."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Mapping

from lab.faults import Faults
from lab.lab import FIRST_VIP, ROUTER_WAN, WAN_CLIENT, Node
from lab.traffic import eventually

from . import partner
from .nodes import NodesStory
from .story import NAMESPACE, TUTORIAL, need

# nginx has 8000 and 8443 of every pod of the lab; it is what the Ingress leads to.
WEB, WEBSECURE = 9080, 9443
HOST = "whoami.example"
SYSTEM = "kube-system"

READER = [
    {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "traefik", "namespace": SYSTEM}},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "traefik"}, "rules": [
        {"apiGroups": [""], "resources": ["services", "secrets", "nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses", "ingressclasses"], "verbs": ["get", "list", "watch"]}]},
    {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "traefik"},
     "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "traefik"},
     "subjects": [{"kind": "ServiceAccount", "name": "traefik", "namespace": SYSTEM}]},
]
INGRESS = {
    "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "whoami"},
    "spec": {"rules": [{"host": HOST, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {
        "service": {"name": "whoami", "port": {"number": 80}}}}]}}]}}
# As Traefik's chart writes it, with HTTP/3 on the same port of the other protocol.
SERVICE = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "traefik", "namespace": SYSTEM},
    "spec": {"type": "LoadBalancer", "selector": {"app.kubernetes.io/name": "traefik"}, "ports": [
        {"name": "web", "port": 80, "targetPort": "web", "protocol": "TCP"},
        {"name": "websecure", "port": 443, "targetPort": "websecure", "protocol": "TCP"},
        {"name": "websecure-http3", "port": 443, "targetPort": WEBSECURE, "protocol": "UDP"}]}}


class Traefik(NodesStory):
    LABELS: Mapping[str, str] = {"app": "whoami"}
    TRAEFIK: Mapping[str, str] = {"app.kubernetes.io/name": "traefik"}

    @classmethod
    def setUpClass(cls) -> None:
        need(partner.traefik)
        super().setUpClass()
        cls.control.apply(*READER)
        cls.control.kubectl("create", "service", "clusterip", "whoami", "--tcp=80:8000")
        cls.control.apply(INGRESS)
        cls.logs_of_traefik: dict[Node, Path] = {}
        for node in cls.lab.nodes:
            cls.start_traefik(node)
            cls.control.report_pod(f"traefik-{node.role}", node.role, [node.pods[0].address], node.address, cls.TRAEFIK, namespace=SYSTEM,
                                   ports={"web": WEB, "websecure": WEBSECURE})

    @classmethod
    def start_traefik(cls, node: Node) -> None:
        folder = cls.lab.directory / node.role / "traefik"
        folder.mkdir()
        cls.logs_of_traefik[node] = folder / "access.log"
        token = folder / "token"
        token.write_text(cls.control.token(SYSTEM, "traefik"))
        options = {
            "entrypoints.web.address": f":{WEB}",
            "entrypoints.websecure.address": f":{WEBSECURE}",
            "entrypoints.websecure.http.tls": "true",
            "entrypoints.websecure.http3": "true",
            "entrypoints.websecure.http3.advertisedport": "443",
            "providers.kubernetesingress": "true",
            "providers.kubernetesingress.endpoint": cls.control.url,
            "providers.kubernetesingress.token": token,
            "providers.kubernetesingress.certauthfilepath": cls.control.ca,
            "accesslog": "true",
            "accesslog.format": "json",
            "accesslog.filepath": cls.logs_of_traefik[node],
            "global.checknewversion": "false",
            "global.sendanonymoususage": "false",
        }
        node.pods[0].start(str(partner.traefik.get() / "traefik"), *(f"--{name}={value}" for name, value in options.items()),
                           stdout=folder / "traefik.log")

    # -- a client somewhere in the Internet, before whom the router stands ------------------------------------------------

    def web(self) -> str:
        return self.curl("http", 80)

    def tls(self) -> str:
        return self.curl("https", 443)

    def curl(self, scheme: str, port: int) -> str:
        return self.lab.wan.run("curl", "-s", "-k", "-m", "5", "--resolve", f"{HOST}:{port}:{ROUTER_WAN}", f"{scheme}://{HOST}/",
                                check=False).stdout

    def http3(self, count: int = 1) -> str:
        return self.lab.wan.run(str(partner.traefik.get() / "http3"), "-n", str(count), "-resolve", f"{HOST}:443:{ROUTER_WAN}",
                                f"https://{HOST}/", check=False).stdout

    def accesses(self) -> list[dict]:
        return [json.loads(line) for log in self.logs_of_traefik.values() if log.exists() for line in log.read_text().splitlines()]

    def pod_that_answered(self, said: str) -> bool:
        return any(pod.role in said for node in self.lab.nodes for pod in node.pods)

    def test_the_tutorial_to_its_end(self) -> None:
        self.control.apply(SERVICE)
        self.control.apply(text=TUTORIAL.read_text())
        since = time.monotonic()
        shown = self.until("kubectl shows the address", lambda: FIRST_VIP in (
            said := self.kubectl("get", "svc", "-n", SYSTEM, "traefik")) and said)
        print(f"        the address is shown {time.monotonic() - since:.2f} s after the pool was applied", flush=True)
        self.assertRegex(str(shown), rf"traefik\s+LoadBalancer\s+\S+\s+{FIRST_VIP}\s+80:\d+/TCP,443:\d+/TCP,443:\d+/UDP")
        self.until("HTTP", lambda: self.pod_that_answered(self.web()), within=30)
        self.until("HTTPS", lambda: self.pod_that_answered(self.tls()))
        answer = self.until("HTTP/3", lambda: self.http3())
        self.assertTrue(str(answer).startswith("HTTP/3.0 ") and self.pod_that_answered(str(answer)), answer)
        self.assertEqual(len(self.http3(20).splitlines()), 20)

        def entry_points() -> dict[str, set[str]]:
            seen: dict[str, set[str]] = {}
            for access in self.accesses():
                if access.get("RequestHost") == HOST:
                    seen.setdefault(f"{access['entryPointName']} {access['RequestProtocol']}", set()).add(access["ClientHost"])
            return seen

        eventually("the logs are written", lambda: len(entry_points()) == 3, within=10)
        self.assertEqual(entry_points(), {name: {WAN_CLIENT} for name in ("web HTTP/1.1", "websecure HTTP/2.0", "websecure HTTP/3.0")})

        owner = self.until("one node answers", lambda: self.owner(FIRST_VIP))
        assert isinstance(owner, Node)
        faults = Faults(self.lab)
        self.addCleanup(faults.heal)
        faults.cut(owner)
        # Kubernetes still lists the pods of the node that is gone, Traefik asks every third of its own backends there: which of
        # them a request gets is not the load balancer's doing. That it is answered is.
        self.until("HTTP again", self.web, within=10)
        self.until("HTTP/3 again", self.http3, within=10)
        other = self.until("another node answers", lambda: self.owner(FIRST_VIP))
        self.assertNotEqual(other, owner)
        self.assertEqual(self.addresses("traefik", SYSTEM), [FIRST_VIP])
        self.assertIn(NAMESPACE, self.kubectl("get", "ipaddresspools", "-A"))
