# SPDX-License-Identifier: Apache-2.0
"""The nodes of a lab as nodes of a cluster: the chart is installed, and on each node runs what its DaemonSet would run."""

from __future__ import annotations

import base64
import signal
import subprocess
import unittest
from pathlib import Path
from typing import Callable, Iterable, Mapping

from lab import lab as topology
from lab import servers
from lab.lab import GATEWAY, Lab, Node
from lab.namespace import CommandFailed, Namespace
from lab.traffic import eventually, who_has

from . import partner
from .control_plane import CONTROLLERS, ControlPlane
from .story import BINARY, CHART, NAMESPACE, RELEASE, lab_name, need

CONTROL = 100  # its address on the LAN


class NodesStory(unittest.TestCase):
    """Three nodes with a pod each and a control plane on their LAN; every test of the class shares them."""

    NODES, PODS = 3, 1
    MODE = "tc"
    OPTIONS: tuple[str, ...] = ("--fail-back-delay", "2s")
    LABELS: Mapping[str, str] = {"app": "traefik"}
    CONTROLLERS: tuple[str, ...] = CONTROLLERS
    CHART_OPTIONS: tuple[str, ...] = ()
    lab: Lab
    control: ControlPlane

    @classmethod
    def setUpClass(cls) -> None:
        need(partner.tools, partner.etcd, partner.kubernetes)
        name = lab_name()
        cls.addClassCleanup(topology.down, name)
        cls.lab = Lab(name, mode=cls.MODE, nodes=cls.NODES, pods=cls.PODS, binary=BINARY)
        cls.lab.__enter__()
        cls.addClassCleanup(cls.lab.__exit__, None, None, None)
        cls.host = cls.lab.add_host("control", CONTROL)
        cls.control = ControlPlane(cls.host, f"192.168.0.{CONTROL}", name, cls.CONTROLLERS).up()
        cls.ingresses = {pod: servers.nginx(cls.lab, pod) for node in cls.lab.nodes for pod in node.pods}
        cls.report_pods(cls.lab.nodes)
        cls.prepare()
        cls.control.helm("upgrade", "--install", RELEASE, str(CHART), "-n", NAMESPACE, "--create-namespace", *cls.CHART_OPTIONS)
        cls.kubeconfig = cls.control.account_kubeconfig(NAMESPACE, RELEASE)
        cls.daemons: dict[Node, subprocess.Popen[str]] = {}
        key = cls.control.kubectl("-n", NAMESPACE, "get", "secret", f"{RELEASE}-key", "-o", "jsonpath={.data.cluster\\.key}").stdout
        cls.key = key
        cls.start(*cls.lab.nodes)
        cls.addClassCleanup(cls.stop)

    @classmethod
    def prepare(cls) -> None:
        """Before the chart is installed."""

    @classmethod
    def report_pods(cls, nodes: Iterable[Node], namespace: str = "default") -> None:
        for node in nodes:
            cls.control.report_node(node.role, [node.address, node.address6])
            for number, pod in enumerate(node.pods):
                cls.control.report_pod(f"{node.role}-{number}", node.role, [pod.address, pod.address6], node.address, cls.LABELS,
                                       namespace=namespace)

    @classmethod
    def mode(cls, node: Node) -> str:
        """How xdp-lb is attached there."""
        return cls.MODE

    # -- daemons -----------------------------------------------------------------------------------------------------

    @classmethod
    def start(cls, *nodes: Node) -> None:
        for node in nodes:
            if not (node.config_dir / "cluster.key").exists():
                node.lb("peer", "key", "--import", "-", stdin=base64.b64decode(cls.key).decode())
            cls.daemons[node] = node.start(
                str(cls.lab.binary), "run", "--kubeconfig", str(cls.kubeconfig_of(node)), "--namespace", NAMESPACE, "--attach", "eth0",
                "--mode", cls.mode(node), *cls.OPTIONS, stdout=cls.lab.directory / node.role / "daemon.log")
        for node in nodes:
            eventually(f"a daemon on {node}", lambda: cls.alive(node) and any(node.run_dir.rglob("*.sock")), within=20)

    @classmethod
    def kubeconfig_of(cls, node: Node) -> Path:
        """How the daemon of the node reaches the API server."""
        return cls.kubeconfig

    @classmethod
    def alive(cls, node: Node) -> bool:
        daemon = cls.daemons[node]
        if daemon.poll() is not None:
            raise CommandFailed(f"{node}: xdp-lb run exited {daemon.returncode}: {cls.log(node)[-2000:]}")
        return True

    @classmethod
    def log(cls, node: Node) -> str:
        path = cls.lab.directory / node.role / "daemon.log"
        return path.read_text() if path.exists() else ""

    @classmethod
    def logs(cls) -> str:
        return "\n".join(f"--- {node.role}\n{cls.log(node)[-3000:]}" for node in cls.lab.nodes)

    @classmethod
    def stop(cls) -> None:
        for daemon in cls.daemons.values():
            if daemon.poll() is None:
                daemon.send_signal(signal.SIGTERM)
                daemon.wait(10)

    # -- what a user types and sees --------------------------------------------------------------------------------------

    def kubectl(self, *arguments: str, check: bool = True, stdin: str | None = None) -> str:
        return self.control.kubectl(*arguments, check=check, stdin=stdin).stdout

    def service(self, name: str, namespace: str = "default", **more: object) -> None:
        metadata: dict = {"name": name, "namespace": namespace}
        if "annotations" in more:
            metadata["annotations"] = more.pop("annotations")
        spec: dict = {"type": "LoadBalancer", "selector": dict(self.LABELS),
                      "ports": [{"name": "web", "port": 80, "targetPort": servers.HTTP_PORT}]}
        spec.update(more)
        self.control.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})

    def addresses(self, name: str, namespace: str = "default") -> list[str]:
        status = self.control.get("service", name, "-n", namespace)["status"]["loadBalancer"]
        return [entry["ip"] for entry in status.get("ingress") or []]

    def wait_for(self, name: str, addresses: Iterable[str], namespace: str = "default", within: float = 20) -> None:
        wanted = list(addresses)
        try:
            eventually(f"{name} has {wanted}", lambda: self.addresses(name, namespace) == wanted, within=within)
        except AssertionError as never:
            raise AssertionError(f"{never}; it has {self.addresses(name, namespace)}; events {self.events(name, namespace)}\n"
                                 f"{self.logs()}") from None

    def configuration_states(self) -> dict[str, str]:
        return {one["metadata"]["name"]: one.get("status", {}).get("result", "")
                for one in self.control.get("configurationstates", "-n", NAMESPACE)["items"]}

    def events(self, name: str, namespace: str = "default") -> list[tuple[str, str, str]]:
        return [(event["type"], event["reason"], event["message"]) for event in self.control.get("events", "-n", namespace)["items"]
                if event["involvedObject"].get("name") == name]

    def owner(self, vip: str) -> Node | None:
        macs = who_has(self.lab.router, vip, GATEWAY, interface="lan0", timeout=0.1)
        return next((node for node in self.lab.nodes if node.up() and [node.mac()] == macs), None)

    def answers(self, client: Namespace, vip: str, port: int = 80) -> str:
        """The address that the server saw."""
        host = f"[{vip}]" if ":" in vip else vip
        return client.run("curl", "-s", "-m", "3", f"http://{host}:{port}/", check=False).stdout

    def until(self, what: str, condition: Callable[[], object], within: float = 20) -> object:
        """`eventually`, with what the daemons said when it does not happen."""
        try:
            return eventually(what, condition, within=within)
        except AssertionError as never:
            raise AssertionError(f"{never}\n{self.logs()}") from None
