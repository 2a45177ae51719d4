# SPDX-License-Identifier: Apache-2.0
"""The chart, installed by helm into a control plane, and its containers on nodes: what a kubelet would start there, with the
arguments, the rights and the account of the pod that the DaemonSet's controller has made for the node."""

from __future__ import annotations

import base64
import itertools
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lab.lab import Node
from lab.namespace import CommandFailed, Namespace, stop

from .container import Container
from .control_plane import PORT, ControlPlane
from .story import CHART, NAMESPACE, RELEASE

_starts = itertools.count()


@dataclass(frozen=True)
class Machine:
    """A node, and where on this machine its folders are."""
    host: Namespace
    address: str
    directory: Path          # for what a container runtime keeps
    folders: dict[str, Path]  # by the node's own paths

    @staticmethod
    def of(node: Node) -> Machine:
        return Machine(node, node.address, node.lab.directory / node.role, {
            "/sys/fs/bpf": node.pin_dir, "/sys/fs/cgroup": node.cgroup, "/var/lib/xdp-lb": node.config_dir, "/run/xdp-lb": node.run_dir})


class Installation:
    def __init__(self, control: ControlPlane, machines: dict[str, Machine], binary: Path) -> None:
        self.control, self.machines, self.binary = control, machines, binary
        self.containers: dict[str, Container] = {}
        self.processes: dict[str, subprocess.Popen[str]] = {}

    def install(self, *options: str) -> str:
        return self.control.helm("upgrade", "--install", RELEASE, str(CHART), "-n", NAMESPACE, "--create-namespace", *options).stdout

    # -- kubelets ----------------------------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        """The pod of each of these nodes, or of all."""
        pods = self.control.pods_of(RELEASE, NAMESPACE)
        for name in names or self.machines:
            pod, machine = pods[name], self.machines[name]
            if "nodeName" not in pod["spec"]:
                self.control.bind(pod, name, NAMESPACE)
            self._start(name, pod)
            self.control.patch_status("pod", pod["metadata"]["name"], {
                "phase": "Running", "hostIP": machine.address, "podIP": machine.address, "podIPs": [{"ip": machine.address}],
                "conditions": [{"type": "Ready", "status": "True"}]}, NAMESPACE)

    def _start(self, name: str, pod: dict) -> None:
        machine = self.machines[name]
        folder = machine.directory / f"container-{next(_starts)}"
        folder.mkdir()
        for place in machine.folders.values():
            place.mkdir(exist_ok=True)
        secret = next(volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume)
        key = self.control.get("secret", secret, "-n", NAMESPACE)["data"]
        container = self.containers[name] = Container(
            pod["spec"], machine.host, folder, self.binary, server=(self.control.address, PORT),
            account=self.control.account_folder(NAMESPACE, pod["spec"]["serviceAccountName"]), node_folders=machine.folders,
            fields={"spec.nodeName": name, **{f"metadata.{field}": pod["metadata"][field] for field in ("name", "namespace", "uid")}},
            secrets={secret: {file: base64.b64decode(text).decode() for file, text in key.items()}})
        self.processes[name] = container.start(log=self.log_file(name))

    def log_file(self, name: str) -> Path:
        return self.machines[name].directory / "container.log"

    def log(self, name: str) -> str:
        path = self.log_file(name)
        return path.read_text() if path.exists() else ""

    def logs(self) -> str:
        return "\n".join(f"--- {name}\n{self.log(name)[-1500:]}" for name in self.machines)

    def run(self, name: str, *arguments: str) -> str:
        """kubectl exec"""
        return self.containers[name].run_inside("xdp-lb", *arguments).stdout

    def alive(self, name: str) -> bool:
        if self.processes[name].poll() is not None:
            raise CommandFailed(f"{name}: the container ended with {self.processes[name].returncode}: {self.log(name)[-1500:]}")
        return True

    def kill(self, name: str) -> None:
        """As when it is deleted without grace."""
        self.containers[name].stop()
        stop(self.processes[name])

    def stop(self) -> None:
        for name in list(self.containers):
            self.kill(name)
