# SPDX-License-Identifier: Apache-2.0
"""What the fast path takes over from kube-proxy, a row of the contract a test, with a real kube-proxy beside it.

Four nodes, one for each way to be: kube-proxy with nftables or with iptables, xdp-lb at tc or at native XDP as well. A node answers
for the addresses of its own pool, so each row is declared once for each node, and asked of all four.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import time
from typing import Callable, Iterable

from lab import servers
from lab.lab import LAN_CLIENT, LAN_CLIENT6, Node, Pod
from lab.namespace import CommandFailed, Namespace, stop
from lab.traffic import eventually, http, who_has

from .api import Api
from .nodes import NodesStory
from .story import NAMESPACE

SETTINGS = {"pi1": ("nftables", "tc"), "pi2": ("iptables", "tc"), "pi3": ("nftables", "native"), "pi4": ("iptables", "native")}
MERGE = "application/merge-patch+json"
STICKY = 4  # seconds
PROXY_TAKES = 60  # seconds at most: one that failed to write its rules tries again after half a minute
STRANGER = 60  # 192.168.0.60
OTHER_HTTP, OWN_HTTP = 8001, 8002  # where the second pod of each node serves the same as at 8000
NEW_CLIENTS = [f"192.168.0.{number}" for number in (*range(15, 50), *range(81, 100))]
ALL = {"app": "web"}


def web(target: object = servers.HTTP_PORT, **more: object) -> dict:
    return {"name": "web", "port": 80, "targetPort": target, **more}


def on(node: Node, **labels: str) -> dict:
    return {"selector": {**labels, "on": node.role}}


def answer_http(pod: Pod) -> Callable[[socket.socket], None]:
    """As the lab's nginx does."""
    def talk(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(f"HTTP/1.0 200 OK\r\n\r\n{pod.role} {connection.getpeername()[0]}\n".encode())
    return talk


# The Service of each row, as its node declares it.
ROWS: dict[str, Callable[[Node], dict]] = {
    "cluster": lambda node: {"selector": ALL},
    "local": lambda node: {"selector": ALL, "externalTrafficPolicy": "Local"},
    "emptied": lambda node: {**on(node, row="emptied"), "externalTrafficPolicy": "Local"},
    "deleted": lambda node: {"selector": ALL, "externalTrafficPolicy": "Local"},
    "sticky": lambda node: {**on(node, row="sticky"), "sessionAffinity": "ClientIP",
                            "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": STICKY}}},
    "ranges": lambda node: {"selector": ALL, "loadBalancerSourceRanges": [f"{LAN_CLIENT}/32"], "ipFamilyPolicy": "RequireDualStack"},
    "named": lambda node: {**on(node, app="web"), "ports": [web("http")]},
    "leaving": lambda node: on(node, row="leaving"),
    "last": lambda node: {"selector": {"row": f"last-{node}"}, "externalTrafficPolicy": "Local"},
    "dual": lambda node: {"selector": ALL, "ipFamilyPolicy": "RequireDualStack"},
    "http3": lambda node: {**on(node, app="web"), "ports": [web(port=443), {"name": "quic", "port": 443, "targetPort": 4433,
                                                                           "protocol": "UDP"}]},
    "unready": lambda node: {**on(node, row="unready"), "publishNotReadyAddresses": True},
    "waiting": lambda node: on(node, row="unready"),
    "policed": lambda node: on(node, row="policed"),
    # At a port that no other row uses: of Services that share a backend, the kernel path wins.
    "hurried": lambda node: {**on(node, row="policed"), "ports": [web(OWN_HTTP)]},
    "portless": lambda node: {"selector": ALL, "allocateLoadBalancerNodePorts": False},
    "by-hand": lambda node: {},
    "theirs": lambda node: {"selector": ALL, "loadBalancerClass": "example.com/another"},
}
ANNOTATIONS = {"hurried": {"xdp-lb.io/path": "fast"}}


class Takeover(NodesStory):
    NODES, PODS, MODE = 4, 2, "native"
    LABELS = ALL

    @classmethod
    def mode(cls, node: Node) -> str:
        return SETTINGS[node.role][1]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.lan = cls.lab.lan
        cls.stranger = cls.lab.add_host("stranger", STRANGER)
        cls.proxies: dict[Node, subprocess.Popen[str]] = {}
        for node in cls.lab.nodes:
            node.run("nft", "flush", "ruleset")  # the lab's own idea of kube-proxy
        cls.start_proxies()
        cls.declare()
        for pod in (pod for node in cls.lab.nodes for pod in node.pods):
            cls.addClassCleanup(servers.udp_echo(pod, 4433, name=f"{pod.role} ").close)
        for node in cls.lab.nodes:
            for port in (OTHER_HTTP, OWN_HTTP):
                cls.addClassCleanup(servers.tcp_server(node.pods[1], port, answer_http(node.pods[1])).close)
        cls.vips: dict[str, list[str]] = {}
        try:
            eventually("every Service has its addresses", cls.all_have_addresses, within=60)
            for node in cls.lab.nodes:
                eventually(f"{node} serves", lambda: http(cls.lan, cls.vip("cluster", node), timeout=1), within=30)
            cls.give_addresses_to_theirs()
            cls.let_proxies_catch_up()
        except AssertionError as never:
            raise AssertionError(f"{never}\n{cls.logs()}") from None

    @classmethod
    def start_proxies(cls) -> None:
        for node in cls.lab.nodes:
            cls.proxies[node] = cls.control.start_proxy(node, SETTINGS[node.role][0])

    @classmethod
    def give_addresses_to_theirs(cls) -> None:
        """As the other class's load balancer does; the router knows on which node it put each."""
        for node in cls.lab.nodes:
            address = cls.theirs(node)
            cls.control.patch_status("service", f"theirs-{node}", {"loadBalancer": {"ingress": [{"ip": address, "ipMode": "VIP"}]}})
            cls.lan.ip(f"route replace {address}/32 via {node.address}")

    @staticmethod
    def theirs(node: Node) -> str:
        return f"10.99.0.{node.number}"

    @classmethod
    def logs(cls) -> str:
        proxies = (cls.control.folder / f"kube-proxy-{node.role}.log" for node in cls.lab.nodes)
        return super().logs() + "".join(f"\n--- {log.stem}\n{log.read_text()[-1500:]}" for log in proxies if log.exists())

    @classmethod
    def let_proxies_catch_up(cls) -> None:
        """A kube-proxy that serves what is declared last has seen, and written, all that came before."""
        cls.control.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "last-of-all"},
                           "spec": {"selector": ALL, "ports": [web()], "ipFamilyPolicy": "RequireDualStack"}})
        for address in cls.control.get("service", "last-of-all")["spec"]["clusterIPs"]:
            for node in cls.lab.nodes:
                eventually(f"kube-proxy of {node} has caught up", lambda: http(node, address, timeout=1), within=PROXY_TAKES)

    # -- what is declared ----------------------------------------------------------------------------------------------

    @classmethod
    def report_pods(cls, nodes: Iterable[Node], namespace: str = "default") -> None:
        cls.api = Api(cls.control, cls.control.token_of_admin)
        cls.addClassCleanup(cls.api.close)
        for node in nodes:
            cls.control.report_node(node.role, [node.address, node.address6])
            for pod, port in zip(node.pods, (servers.HTTP_PORT, OTHER_HTTP)):
                cls.report(pod.role, pod, ALL, port=port)

    @classmethod
    def report(cls, name: str, pod: Pod, labels: dict, *, ready: bool = True, port: int = servers.HTTP_PORT) -> None:
        """A pod as its kubelet reports it. Several may stand for one of the lab, each with labels of its own."""
        container = {"name": "server", "image": "none", "ports": [{"name": "http", "containerPort": port}]}
        cls.tell("POST", "/api/v1/namespaces/default/pods", {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {**labels, "on": pod.node.role}},
            "spec": {"nodeName": pod.node.role, "containers": [container]}})
        cls.set_status(name, phase="Running", hostIP=pod.node.address, podIP=pod.address,
                       podIPs=[{"ip": pod.address}, {"ip": pod.address6}],
                       conditions=[{"type": "Ready", "status": str(ready)}])

    @classmethod
    def set_ready(cls, name: str, ready: bool) -> None:
        cls.set_status(name, conditions=[{"type": "Ready", "status": str(ready)}])

    @classmethod
    def set_status(cls, name: str, **status: object) -> None:
        cls.tell("PATCH", f"/api/v1/namespaces/default/pods/{name}/status", {"status": status}, MERGE)

    @classmethod
    def tell(cls, method: str, path: str, body: dict | None = None, kind: str = "application/json") -> dict:
        code, said = cls.api.ask(method, path, body, kind)
        if code not in (200, 201, 202):
            raise CommandFailed(f"{method} {path}: {code}: {said.get('message')}")
        return said

    @classmethod
    def declare(cls) -> None:
        documents: list[dict] = []
        for node in cls.lab.nodes:
            base = 90 + 30 * node.number  # 192.168.0.120 and on
            pool = {"metadata": {"name": node.role, "namespace": NAMESPACE}, "apiVersion": "metallb.io/v1beta1"}
            documents += [
                {**pool, "kind": "IPAddressPool", "spec": {"addresses": [f"192.168.0.{base}-192.168.0.{base + 29}",
                                                                         f"fd00:0:0:1::{node.number}:0/124"]}},
                {**pool, "kind": "L2Advertisement", "spec": {
                    "ipAddressPools": [node.role], "nodeSelectors": [{"matchLabels": {"kubernetes.io/hostname": node.role}}]}}]
            for row, spec in ROWS.items():
                documents.append({
                    "apiVersion": "v1", "kind": "Service", "metadata": {"name": f"{row}-{node}", "annotations": {
                        "metallb.io/address-pool": node.role, **ANNOTATIONS.get(row, {})}},
                    "spec": {"type": "LoadBalancer", "ports": [web()], **spec(node)}})
            first, second = node.pods
            for row, pods in {"emptied": (first,), "sticky": (first, second), "leaving": (first, second), "unready": (first,),
                              "policed": (second,)}.items():
                for number, pod in enumerate(pods):
                    ready = row != "unready" and (row, number) not in (("sticky", 1), ("leaving", 1))
                    cls.report(f"{row}-{node}-{number}", pod, {"row": row}, ready=ready)
            other = cls.lab.nodes[node.number % len(cls.lab.nodes)]
            for number, pod in enumerate((first, other.pods[0])):
                cls.report(f"last-{node}-{number}", pod, {"row": f"last-{node}"})
            documents.append({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": f"by-hand-{node}", "labels": {"kubernetes.io/service-name": f"by-hand-{node}",
                                                                   "endpointslice.kubernetes.io/managed-by": "somebody"}},
                "ports": [{"name": "web", "port": servers.HTTP_PORT, "protocol": "TCP"}],
                "endpoints": [{"addresses": [first.address], "nodeName": node.role, "conditions": {"ready": True}}]})
        cls.control.apply(*documents)

    @classmethod
    def all_have_addresses(cls) -> bool:
        cls.services = {one["metadata"]["name"]: one for one in cls.tell("GET", "/api/v1/namespaces/default/services")["items"]}
        cls.vips = {name: [entry["ip"] for entry in one["status"]["loadBalancer"].get("ingress") or []]
                    for name, one in cls.services.items()}
        return all(len(cls.vips[name]) == len(one["spec"]["ipFamilies"]) for name, one in cls.services.items()
                   if one["spec"]["type"] == "LoadBalancer" and not name.startswith("theirs"))

    # -- what is asked -------------------------------------------------------------------------------------------------

    @classmethod
    def vip(cls, row: str, node: Node, family: int = 4) -> str:
        return next(address for address in cls.vips[f"{row}-{node}"] if (":" in address) == (family == 6))

    def spec(self, row: str, node: Node) -> dict:
        return self.services[f"{row}-{node}"]["spec"]

    def on_each(self, check: Callable[[Node], object]) -> None:
        """`check` for each node. What takes time to become true is asked of one after the other, and becomes so at the same time."""
        for node in self.lab.nodes:
            proxy, attached = SETTINGS[node.role]
            with self.subTest(f"kube-proxy {proxy}, {attached}"):
                check(node)

    def pods_seen(self, client: Namespace, address: str, times: int = 40, **options: object) -> set[str]:
        answers = [http(client, address, **options) for _ in range(times)]  # type: ignore[arg-type]
        if client is self.lan:
            self.assertEqual({answer.client for answer in answers}, {LAN_CLIENT6 if ":" in address else LAN_CLIENT})
        return {answer.pod for answer in answers}

    def counted(self, node: Node, work: Callable[[], object]) -> dict[str, int]:
        """Verdicts of the node that `work` brings about."""
        before, _, after = self.verdicts(node), work(), self.verdicts(node)
        return {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}

    @staticmethod
    def verdicts(node: Node) -> dict[str, int]:
        return {name: counter["packets"] for name, counter in node.lb_json("stats")["verdicts"].items()}  # type: ignore[call-overload]

    # -- the contract --------------------------------------------------------------------------------------------------

    def test_external_traffic_policy_cluster(self) -> None:
        """Pods of every node get clients, and see their own address."""
        everywhere = {node.role for node in self.lab.nodes}

        def check(node: Node) -> None:
            pods = self.pods_seen(self.lan, self.vip("cluster", node))
            self.assertEqual({pod.split("-")[0] for pod in pods}, everywhere)

        self.on_each(check)

    def test_external_traffic_policy_local(self) -> None:
        """Only pods of the node that answers get clients, and all of them do."""
        def check(node: Node) -> None:
            self.assertEqual(self.pods_seen(self.lan, self.vip("local", node)), {pod.role for pod in node.pods})

        self.on_each(check)

    def test_external_traffic_policy_local_without_a_pod_on_the_node(self) -> None:
        """Nobody answers for the address, until there is one again."""
        def asked(node: Node) -> list[str]:
            return who_has(self.lan, self.vip("emptied", node), LAN_CLIENT, timeout=0.2)

        for ready in (True, False, True):
            for node in self.lab.nodes:
                self.set_ready(f"emptied-{node}-0", ready)
            self.on_each(lambda node: self.until("the address is answered for" if ready else "it no longer is",
                                                 lambda: asked(node) == ([node.mac()] if ready else []), within=10))
        self.on_each(lambda node: self.assertEqual(self.pods_seen(self.lan, self.vip("emptied", node), 3), {node.pods[0].role}))

    def test_session_affinity_client_ip_until_its_timeout(self) -> None:
        clients = [f"192.168.0.{number}" for number in range(61, 77)]
        self.lan.ip(*(f"addr add {client}/32 dev eth0" for client in (*clients, *NEW_CLIENTS)))

        def pods(node: Node) -> set[str]:
            return {http(self.lan, self.vip("sticky", node), source=client).pod for client in clients}

        def one_comes(node: Node) -> None:
            first, second = node.pods
            self.set_ready(f"sticky-{node}-1", True)
            fresh = iter(NEW_CLIENTS)
            self.until("a client who was never here gets the second pod", lambda: pods(node) and http(
                self.lan, self.vip("sticky", node), source=next(fresh)).pod == second.role, within=STICKY + 1)
            self.assertEqual(pods(node), {first.role}, "who was here before stays")

        self.on_each(lambda node: self.assertEqual(pods(node), {node.pods[0].role}, "there is one"))
        self.on_each(one_comes)
        time.sleep(STICKY + 0.5)
        self.on_each(lambda node: self.assertEqual(pods(node), {pod.role for pod in node.pods}, "whoever was away is new"))

    # healthCheckNodePort

    def health(self, node: Node, row: str, address: str) -> tuple[int, str, dict]:
        """Status, weight and text."""
        port = self.spec(row, node)["healthCheckNodePort"]
        shown = f"[{address}]" if ":" in address else address
        head, _, body = self.lan.run("curl", "-sS", "-i", "-m", "3", f"http://{shown}:{port}/").stdout.partition("\n\n")
        weight = re.search(r"^X-Load-Balancing-Endpoint-Weight: (\d+)$", head, re.M)
        return int(head.split()[1]), weight[1] if weight else "", json.loads(body)

    def check_health(self, *interfaces: str) -> None:
        """Both pods of the row `local` are ready, that of the row `emptied` becomes unready and ready again."""
        for row, endpoints in (("local", 2), ("emptied", 1), ("emptied", 0), ("emptied", 1)):
            if row == "emptied":
                for node in self.lab.nodes:
                    self.set_ready(f"emptied-{node}-0", endpoints == 1)

            def check(node: Node) -> None:
                wanted = (200 if endpoints else 503, str(endpoints), {
                    "service": {"namespace": "default", "name": f"{row}-{node}"}, "localEndpoints": endpoints, "serviceProxyHealthy": True})
                for interface in interfaces:
                    address = getattr(node, interface)
                    self.until(f"it says {wanted}", lambda: self.health(node, row, address) == wanted, within=10)

            self.on_each(check)

    def listener(self, node: Node, row: str) -> str:
        said = node.run("ss", "-Hltnp", f"sport = :{self.spec(row, node)['healthCheckNodePort']}").stdout
        return next((name for name in ("kube-proxy", "xdp-lb") if f'"{name}"' in said), said)

    def test_health_check_node_port_is_served_by_kube_proxy(self) -> None:
        self.on_each(lambda node: self.assertEqual(self.listener(node, "local"), "kube-proxy"))
        self.check_health("address")

    def test_health_check_node_port_is_served_where_kube_proxy_is_not(self) -> None:
        def disturbed(node: Node) -> None:
            """By clients that connect and say nothing, or never come to an end."""
            port = self.spec("local", node)["healthCheckNodePort"]
            with contextlib.ExitStack() as stack:
                for number in range(40):
                    stuck = stack.enter_context(self.lan.connect(node.address, port))
                    if number % 2:
                        stuck.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 1000)
                since = time.monotonic()
                self.assertEqual(self.health(node, "local", node.address)[0], 200)
                self.assertTrue(node.lb_json("peer", "ls"))  # is answered by the loop
                self.assertLess(time.monotonic() - since, 2)

        def given_back(node: Node) -> bool:
            for ready in (False, True):  # with a change it tries again
                self.set_ready(f"emptied-{node}-0", ready)
            return self.listener(node, "local") == "kube-proxy"

        with contextlib.ExitStack() as absence:
            absence.callback(self.start_proxies)
            for proxy in self.proxies.values():
                stop(proxy)
            self.on_each(lambda node: self.until("it is served", lambda: self.listener(node, "local") == "xdp-lb"))
            self.check_health("address", "address6")
            self.on_each(disturbed)
            self.kubectl("delete", "services", *(f"deleted-{node}" for node in self.lab.nodes))
            self.on_each(lambda node: self.until("it is closed with its Service", lambda: not self.listener(node, "deleted"), within=10))
        self.on_each(lambda node: eventually("kube-proxy has it again", lambda: given_back(node), within=30, every=0.5))
        self.check_health("address")

    def test_load_balancer_source_ranges(self) -> None:
        """A client inside is served, one outside is denied; IPv6, of which no range was written, is denied and said to be."""
        def check(node: Node) -> None:
            self.assertTrue(self.pods_seen(self.lan, self.vip("ranges", node), 3))
            for client, address in ((self.stranger, self.vip("ranges", node)), (self.lan, self.vip("ranges", node, 6))):
                with self.assertRaises(TimeoutError):
                    http(client, address, timeout=0.4)
            said = [message for kind, reason, message in self.events(f"ranges-{node}") if reason == "sourceRangesDenyFamily"]
            self.assertEqual(said, ["loadBalancerSourceRanges has no IPv6 range: every IPv6 client is denied"])

        self.on_each(check)

    def test_target_port_named_differently_by_pods(self) -> None:
        def check(node: Node) -> None:
            self.assertEqual(self.pods_seen(self.lan, self.vip("named", node), 30), {pod.role for pod in node.pods})

        self.on_each(check)

    def terminate(self, row: str) -> None:
        """The first pod of each Service of the row, which goes on serving."""
        for node in self.lab.nodes:
            self.tell("DELETE", f"/api/v1/namespaces/default/pods/{row}-{node}-0", {
                "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 600})

        def is_listed(node: Node) -> bool:
            selector = f"kubernetes.io%2Fservice-name%3D{row}-{node}"
            slices = self.tell("GET", f"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector={selector}")["items"]
            return any(endpoint["conditions"] == {"ready": False, "serving": True, "terminating": True}
                       for one in slices for endpoint in one.get("endpoints") or [])

        self.on_each(lambda node: self.until("it is terminating", lambda: is_listed(node)))
        time.sleep(1)  # more than the nodes need to hear of it

    def test_terminating_endpoints_serve_while_nothing_better_is_left(self) -> None:
        self.terminate("leaving")
        self.on_each(lambda node: self.assertEqual(self.pods_seen(self.lan, self.vip("leaving", node), 10), {node.pods[0].role}))
        for node in self.lab.nodes:
            self.set_ready(f"leaving-{node}-1", True)
        self.on_each(lambda node: self.until("only what is ready gets clients", lambda: self.pods_seen(
            self.lan, self.vip("leaving", node), 20) == {node.pods[1].role}))

    def test_terminating_endpoints_serve_while_nothing_better_is_left_on_the_node_with_policy_local(self) -> None:
        self.terminate("last")

        def check(node: Node) -> None:
            self.assertEqual(who_has(self.lan, self.vip("last", node), LAN_CLIENT, timeout=0.2), [node.mac()])
            self.assertEqual(self.pods_seen(self.lan, self.vip("last", node), 10), {node.pods[0].role})

        self.on_each(check)

    def test_dual_stack(self) -> None:
        def check(node: Node) -> None:
            for family in (4, 6):
                self.assertGreater(len(self.pods_seen(self.lan, self.vip("dual", node, family))), 4)

        self.on_each(check)

    def test_udp_and_tcp_on_one_port(self) -> None:
        """As HTTP/3 has it."""
        def check(node: Node) -> None:
            vip, pods = self.vip("http3", node), {pod.role for pod in node.pods}
            self.assertEqual(self.pods_seen(self.lan, vip, 30, port=443), pods)
            answered = set()
            for _ in range(30):
                with self.lan.udp(vip, 443) as udp:
                    udp.send(bytes(1200))
                    name, _, rest = udp.recv(2000).partition(b" ")
                    self.assertEqual(rest, bytes(1200))
                    answered.add(name.decode())
            self.assertEqual(answered, pods)

        self.on_each(check)

    def test_publish_not_ready_addresses(self) -> None:
        def check(node: Node) -> None:
            self.assertEqual(self.pods_seen(self.lan, self.vip("unready", node), 3), {node.pods[0].role})
            self.assertEqual(who_has(self.lan, self.vip("waiting", node), LAN_CLIENT, timeout=0.2), [], "without it nobody serves")

        self.on_each(check)

    def test_pods_of_a_network_policy_take_the_kernel_path(self) -> None:
        """There the policy can see them. The annotation brings the fast path back."""
        def ways(node: Node, row: str) -> set[str]:
            verdicts = self.counted(node, lambda: self.pods_seen(self.lan, self.vip(row, node), 3))
            return {verdict for verdict in ("to_pod", "to_kernel") if verdict in verdicts}

        self.on_each(lambda node: self.assertEqual(ways(node, "policed"), {"to_pod"}, "no policy yet"))
        self.control.apply({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "strict"},
                            "spec": {"podSelector": {"matchLabels": {"row": "policed"}}}})
        self.addCleanup(self.kubectl, "delete", "networkpolicy", "strict")

        def check(node: Node) -> None:
            self.until("the kernel path", lambda: ways(node, "policed") == {"to_kernel"}, within=10)
            http(self.lan, self.vip("policed", node), source_port=45_555)
            self.assertIn("sport=45555", node.run("conntrack", "-L").stdout, "netfilter sees it")
            self.assertEqual(ways(node, "hurried"), {"to_pod"})

        self.on_each(check)

    def test_allocate_load_balancer_node_ports_false(self) -> None:
        def check(node: Node) -> None:
            self.assertNotIn("nodePort", self.spec("portless", node)["ports"][0])
            self.assertTrue(self.pods_seen(self.lan, self.vip("portless", node), 3))

        self.on_each(check)

    def test_headless_and_external_name_are_left_alone_quietly(self) -> None:
        quiet = {"headless": {"clusterIP": "None", "selector": ALL, "ports": [web()]},
                 "elsewhere": {"type": "ExternalName", "externalName": "example.org"}}
        self.control.apply(*({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "annotations": {
            "metallb.io/address-pool": "pi1"}}, "spec": spec} for name, spec in quiet.items()))
        self.addCleanup(self.kubectl, "delete", "services", *quiet)
        self.service("loud", selector=ALL, annotations={"metallb.io/address-pool": "pi1"})
        self.addCleanup(self.kubectl, "delete", "service", "loud")
        self.until("what came after them has been dealt with", lambda: self.addresses("loud"))
        for name in quiet:
            self.assertEqual(self.addresses(name), [])
            self.assertEqual(self.events(name), [])
            self.assertEqual([line for node in self.lab.nodes for line in self.log(node).splitlines() if f"default/{name}" in line], [])

    def test_endpoint_slices_written_by_hand(self) -> None:
        self.on_each(lambda node: self.assertEqual(self.pods_seen(self.lan, self.vip("by-hand", node), 3), {node.pods[0].role}))

    # -- what stays kube-proxy's -----------------------------------------------------------------------------------------

    def test_beside_it_pods_and_nodes_reach_cluster_ips(self) -> None:
        def check(node: Node) -> None:
            for address in self.spec("dual", node)["clusterIPs"]:
                for client in (node.pods[0], node):
                    self.assertGreater(len(self.pods_seen(client, address, 25)), 3)

        self.on_each(check)

    def test_beside_it_node_ports_are_served(self) -> None:
        def check(node: Node) -> None:
            port = self.spec("dual", node)["ports"][0]["nodePort"]
            for address in (node.address, node.address6):
                answers = [http(self.lan, address, port) for _ in range(30)]
                self.assertGreater(len({answer.pod for answer in answers}), 4)

        self.on_each(check)

    def test_beside_it_pods_reach_load_balancer_addresses(self) -> None:
        """By the socket programs, and where those are not (this process is in no node's cgroup) by kube-proxy's rules."""
        def check(node: Node) -> None:
            other = next(one for one in self.lab.nodes if one is not node)
            for vip in (self.vip("cluster", node), self.vip("cluster", other), self.vip("dual", node, 6)):
                self.assertTrue(self.pods_seen(node.pods[0], vip, 5))
                shown = f"[{vip}]" if ":" in vip else vip
                if node.cgroup is not None:
                    said = node.pods[0].run("curl", "-sS", "-m", "3", f"http://{shown}/").stdout
                    self.assertIn(said.split()[0], {pod.role for one in self.lab.nodes for pod in one.pods})

        self.on_each(check)

    def test_beside_it_services_of_another_class_are_served(self) -> None:
        """Theirs are the addresses 10.99.0.0/24; xdp-lb gives them none and does not touch their packets."""
        def check(node: Node) -> None:
            address = self.theirs(node)
            self.assertEqual(self.vips[f"theirs-{node}"], [])
            self.until("kube-proxy serves it", lambda: http(self.lan, address, timeout=1), within=10)
            self.assertGreater(len({http(self.lan, address).pod for _ in range(40)}), 4)
            self.assertEqual(self.addresses(f"theirs-{node}"), [address])

        self.on_each(check)
