# SPDX-License-Identifier: Apache-2.0
"""xdp-lb beside MetalLB 0.15.2 with kube-proxy, each in a cluster of its own on the same three nodes of the same lab.

A pod with a server on each node, one Service with externalTrafficPolicy Cluster. kube-proxy (nftables) runs in both clusters,
as it does in every cluster that people have: MetalLB leaves the way from the node to the pod to it, xdp-lb does not need it.

The owner's port is cut for 40 seconds, which is how long a cluster takes to notice that a node is dead: for so long its
pod stays among the endpoints. A client opens a new TCP connection every millisecond, a watcher asks by ARP every 5 ms.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from typing import Callable

from bench.contenders import PORT, VIP
from bench.kubernetes_scale import memory_mib
from bench.misfortunes import Misfortune, Stage
from kube import partner
from kube.control_plane import CONTROLLERS, ControlPlane
from kube.story import CHART, NAMESPACE, RELEASE, TUTORIAL
from lab import probes, servers
from lab.cluster import BACKEND_PORT
from lab.lab import Lab, Node
from lab.namespace import CommandFailed, stop
from lab.traffic import eventually

CONTROL, WATCHER = 100, 60
CUT_S, HEAL_S = 40, 45  # MetalLB's nodes may both answer for 40 s after a heal
SEEN_PORT = 8080        # of the Service: who says which address it saw
SPEAKER = {"app": "metallb", "component": "speaker"}
Say = Callable[[str], None]


class InCluster:
    """A contender of bench.misfortunes.Stage that lives in a cluster."""

    name = ""
    interval_ms = 0

    def start(self, lab: Lab) -> None:
        self.lab = lab
        self.parts: dict[str, list[subprocess.Popen[str]]] = {}
        self.control = ControlPlane(lab.add_host("control", CONTROL), f"192.168.0.{CONTROL}", lab.name, CONTROLLERS).up()
        self.servers = probes.echoes(lab)
        for node in lab.nodes:
            self.control.report_node(node.role, [node.address])
            for pod in node.pods:
                servers.nginx(lab, pod)
                self.control.report_pod(pod.role, node.role, [pod.address], node.address, {"app": "web"})
            self.run("kube-proxy", self.control.start_proxy(node))
        self.install()
        self.control.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {
            "type": "LoadBalancer", "selector": {"app": "web"}, "ports": [
                {"name": "web", "port": PORT, "targetPort": BACKEND_PORT},
                {"name": "seen", "port": SEEN_PORT, "targetPort": servers.HTTP_PORT}]}})
        time.sleep(3)  # what is there already is no part of what follows
        since = time.monotonic()
        self.control.apply(text=TUTORIAL.read_text())
        eventually(f"{self.name}: a client is served", self._serves, within=60, every=0.02)
        self.first_s = time.monotonic() - since

    def install(self) -> None: ...

    def run(self, part: str, process: subprocess.Popen[str]) -> None:
        self.parts.setdefault(part, []).append(process)

    def _serves(self) -> bool:
        try:
            self.lab.lan.connect(VIP, PORT, timeout=0.2).close()
        except OSError:
            return False
        return True

    def client_seen(self) -> str:
        """The address that a server saw; it says its name before that."""
        said = self.lab.lan.run("curl", "-s", "-m", "3", f"http://{VIP}:{SEEN_PORT}/", check=False).stdout.split()
        return said[-1] if said else "nothing"

    def memory(self) -> dict[str, list[float]]:
        return {part: [memory_mib(process.pid)["resident"] for process in processes] for part, processes in self.parts.items()}

    def settled(self) -> bool:
        for part, processes in self.parts.items():
            if any(process.poll() is not None for process in processes):
                raise CommandFailed(f"{self.name}: {part} has ended:\n{self.said()}")
        return True

    def said(self) -> str:
        logs = sorted(self.control.folder.glob("part-*.log"))
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in logs)

    def log(self, part: str, node: Node) -> Path:
        return self.control.folder / f"part-{part}-{node.role}.log"

    def pids(self, node: Node) -> list[int]:
        return []

    def stop(self) -> None:
        for processes in self.parts.values():
            for process in processes:
                stop(process)
        for server in self.servers.values():
            stop(server)


class XdpLb(InCluster):
    name = "xdp-lb"

    def install(self) -> None:
        self.control.helm("upgrade", "--install", RELEASE, str(CHART), "-n", NAMESPACE, "--create-namespace")
        kubeconfig = self.control.account_kubeconfig(NAMESPACE, RELEASE)
        key = base64.b64decode(self.control.kubectl(
            "-n", NAMESPACE, "get", "secret", f"{RELEASE}-key", "-o", "jsonpath={.data.cluster\\.key}").stdout).decode()
        for node in self.lab.nodes:
            node.lb("peer", "key", "--import", "-", stdin=key)
            self.run("xdp-lb", node.start(str(self.lab.binary), "run", "--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE,
                                          "--attach", "eth0", "--mode", "tc", stdout=self.log("xdp-lb", node)))


class MetalLb(InCluster):
    name = f"MetalLB {partner.METALLB}"

    def install(self) -> None:
        programs = partner.metallb.get()
        definitions = "\n---\n".join(path.read_text() for path in sorted((programs / "crds").glob("*.yaml")))
        self.control.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        self.control.apply(text=definitions)
        self.control.kubectl("-n", NAMESPACE, "create", "deployment", "controller", "--image=none", "--replicas=0")
        # What memberlist encrypts with; in a cluster the controller makes it, and kubelets mount it.
        secret = self.control.folder / "memberlist"
        secret.mkdir()
        (secret / "secretkey").write_text(base64.b64encode(os.urandom(96)).decode())
        common = [f"KUBECONFIG={self.control.kubeconfig}", f"METALLB_NAMESPACE={NAMESPACE}"]
        host = self.control.host
        self.run("controller", host.start(
            "env", *common, "METALLB_POD_NAME=controller", "METALLB_ML_SECRET_NAME=memberlist", "METALLB_DEPLOYMENT=controller",
            str(programs / "metallb-controller"), "--webhook-mode=disabled", "--port=0",
            stdout=self.control.folder / "part-controller.log"))
        for node in self.lab.nodes:
            pod = f"speaker-{node.role}"
            self.control.report_pod(pod, node.role, [node.address], node.address, SPEAKER, namespace=NAMESPACE)
            labels = ",".join(f"{name}={value}" for name, value in SPEAKER.items())
            self.run("speaker", node.start(
                "env", *common, f"METALLB_NODE_NAME={node.role}", f"METALLB_POD_NAME={pod}", f"METALLB_ML_BIND_ADDR={node.address}",
                "METALLB_ML_BIND_PORT=7946", f"METALLB_ML_LABELS={labels}", f"METALLB_ML_SECRET_KEY_PATH={secret}",
                "METALLB_BGP_TYPE=native", f"METALLB_HOST={node.address}", str(programs / "metallb-speaker"), "--port=7472",
                stdout=self.log("speaker", node)))


def measure(binary: Path, quick: bool, say: Say) -> dict:
    for one in (partner.tools, partner.etcd, partner.kubernetes, partner.metallb):
        one.get(say)
    times = 1 if quick else 5
    cut = Misfortune("port cut", lambda s, n: s.faults.cut(n), lambda s, n: s.faults.mend(n), CUT_S, HEAL_S, False, times)
    result: dict = {}
    for kind in (XdpLb, MetalLb):
        with Lab(f"kc{os.getpid() % 100000}", nodes=3, pods=1, binary=binary) as lab:
            watcher = lab.add_host("watcher", WATCHER)
            contender = kind()
            contender.start(lab)
            try:
                say(f"  {contender.name}: first VIP after {contender.first_s:.1f} s, servers see {contender.client_seen()}")
                stage = Stage(lab, watcher, contender)  # type: ignore[arg-type]
                stage.settle()
                seen = []
                for number in range(times):
                    seen.append(asdict(stage.suffer(cut)))
                    say(f"  {contender.name}: cut {number + 1}: {json.dumps(seen[-1])}")
                client = lab.lan.ip_json("-4", "addr", "show", "eth0")[0]["addr_info"][0]["local"]
                say(f"  {contender.name}: the client is {client}, servers see {contender.client_seen()}, memory {contender.memory()}")
                result[contender.name] = {"first_s": contender.first_s, "client": client, "seen": contender.client_seen(),
                                          "memory": contender.memory(), "cuts": seen}
            finally:
                contender.stop()
    return {"cut_s": CUT_S, "contenders": result}
