# SPDX-License-Identifier: Apache-2.0
"""MetalLB in a lab: its own chart, installed by helm, and its own programs. What a kubelet would do for its pods is done here:
its controller runs while there is a pod of the Deployment, a speaker on each node while there is the DaemonSet's pod."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

from lab.lab import Node
from lab.namespace import Namespace, stop

from . import partner
from .control_plane import ControlPlane

NAMESPACE, RELEASE = "metallb-system", "metallb"
MEMBERS = 7946
# For its Deployment: those of a ControlPlane besides its own.
CONTROLLERS = ("deployment-controller", "replicaset-controller")


class MetalLB:
    def __init__(self, control: ControlPlane, nodes: list[Node]) -> None:
        self.control, self.nodes = control, nodes
        self.programs, self.chart = partner.metallb.get(), partner.metallb_chart.get() / "metallb"
        self.controller: subprocess.Popen[str] | None = None
        self.speakers: dict[Node, subprocess.Popen[str]] = {}
        self._over = threading.Event()
        self._kubelet = threading.Thread(target=self._keep_controller, daemon=True)

    # -- up and down -------------------------------------------------------------------------------------------------

    def install(self) -> None:
        self.control.kubectl("label", "nodes", "--all", "kubernetes.io/os=linux")
        # The API server puts it onto nodes that are made; the controller that takes it away from ready ones is not here.
        self.control.kubectl("taint", "nodes", "--all", "node.kubernetes.io/not-ready-", check=False)
        self.control.helm("install", RELEASE, str(self.chart), "-n", NAMESPACE, "--create-namespace", "--set", "speaker.frr.enabled=false")
        # It is served by the controller's pod, to which there is no way here.
        self.control.kubectl("delete", "validatingwebhookconfiguration", "metallb-webhook-configuration")
        self._kubelet.start()
        pods = self.control.pods_of(f"{RELEASE}-speaker", NAMESPACE)
        for node in self.nodes:
            pod = pods[node.role]
            name = pod["metadata"]["name"]
            self.control.bind(pod, node.role, NAMESPACE)
            self.control.patch_status("pod", name, {
                "phase": "Running", "hostIP": node.address, "podIP": node.address, "podIPs": [{"ip": node.address}],
                "conditions": [{"type": "Ready", "status": "True"}]}, NAMESPACE)
            self.start_speaker(node, name)

    def start_speaker(self, node: Node, pod: str) -> None:
        self.speakers[node] = self._start(node, "speaker", f"metallb-speaker-{node.role}.log", {
            "METALLB_NODE_NAME": node.role, "METALLB_HOST": node.address, "METALLB_POD_NAME": pod, "METALLB_BGP_TYPE": "native",
            "METALLB_ML_BIND_ADDR": node.address, "METALLB_ML_BIND_PORT": str(MEMBERS),
            "METALLB_ML_LABELS": "app.kubernetes.io/name=metallb,app.kubernetes.io/component=speaker"})

    def uninstall(self) -> None:
        """Processes first, as a kubelet ends pods that are deleted."""
        self.control.helm("uninstall", RELEASE, "-n", NAMESPACE)
        for speaker in self.speakers.values():
            stop(speaker)
        self.speakers.clear()

    def stop(self) -> None:
        self._over.set()
        self._kubelet.join()
        for process in [*self.speakers.values(), *([self.controller] if self.controller else [])]:
            stop(process)

    # -- its programs ------------------------------------------------------------------------------------------------

    def _start(self, host: Namespace, program: str, log: str, environment: dict[str, str]) -> subprocess.Popen[str]:
        options = ("--webhook-mode=disabled",) if program == "controller" else ()
        return host.start("env", *(f"{name}={value}" for name, value in {
            "KUBECONFIG": str(self.control.kubeconfig), "METALLB_NAMESPACE": NAMESPACE, **environment}.items()),
            str(self.programs / f"metallb-{program}"), "--port=7472", "--log-level=debug", *options, stdout=self.control.folder / log)

    def _pods(self) -> list[str]:
        said = self.control.kubectl("-n", NAMESPACE, "get", "pods", "-l", "app.kubernetes.io/component=controller", "-o",
                                    "jsonpath={range .items[*]}{.metadata.name}{' '}{.metadata.deletionTimestamp}{'\\n'}{end}", check=False)
        return [words[0] for line in said.stdout.splitlines() if len(words := line.split()) == 1]

    def _keep_controller(self) -> None:
        while not self._over.wait(0.3):
            pods = self._pods()
            if pods and self.controller is None:
                self.controller = self._start(self.control.host, "controller", "metallb-controller.log",
                                              {"METALLB_POD_NAME": pods[0], "METALLB_DEPLOYMENT": f"{RELEASE}-controller"})
            elif not pods and self.controller is not None:
                stop(self.controller)
                self.controller = None

    def runs(self) -> bool:
        return self.controller is not None and self.controller.poll() is None

    def logs(self) -> str:
        files = sorted(Path(self.control.folder).glob("metallb-*.log"))
        return "\n".join(f"--- {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in files)
