# SPDX-License-Identifier: Apache-2.0
"""A real Kubernetes control plane in a network namespace: etcd, kube-apiserver with RBAC, kube-controller-manager.

It stands on a host of its own, which may be one of a lab's LAN: then the nodes of the lab reach it as they would a server's
node. There is no kubelet and no scheduler: who tests says which nodes there are, and which pods run where with which address, as
kubelets would report it. Everything that watches those objects is real: EndpointSlices are made by their controller, rules by
kube-proxy.

Up in three to four seconds. What it keeps is in the lab's folder, what runs is in the host's namespace: both go with the lab.
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import Iterable, Mapping, Sequence

from lab.lab import SYNCED, Node, Pod
from lab.namespace import CommandFailed, Namespace, stop
from lab.traffic import eventually

from . import partner

PORT = 6443
# As k3s has them when it is told of both families.
SERVICES, PODS = "10.43.0.0/16,fd00:43::/112", "10.42.0.0/16,fd00:42::/48"
API_SERVICE = "10.43.0.1"
# Those that make what the load balancer reads; `node-lifecycle-controller` adds the 40 s that a dead node's endpoints stay.
CONTROLLERS = ("endpointslice-controller", "endpoints-controller", "daemonset-controller")
PATIENCE = 240  # seconds for the API server; three on a machine that does nothing else, minutes on one that builds


class ControlPlane:
    def __init__(self, host: Namespace, address: str, lab_name: str, controllers: Iterable[str] = CONTROLLERS) -> None:
        self.host, self.address, self.controllers = host, address, tuple(controllers)
        self.folder = SYNCED / lab_name / "control-plane"
        self.kubeconfig = self.folder / "admin.kubeconfig"
        self.url = f"https://{address}:{PORT}"
        self.ca = self.folder / "ca.crt"
        self.token_of_admin = secrets.token_hex(16)
        self._processes: dict[str, subprocess.Popen[str]] = {}

    # -- up ----------------------------------------------------------------------------------------------------------

    def up(self) -> ControlPlane:
        self.programs = partner.kubernetes.get()
        self.tools = partner.tools.get()
        self.folder.mkdir(parents=True)
        self._make_certificates()
        (self.folder / "tokens.csv").write_text(f'{self.token_of_admin},admin,admin,"system:masters"\n')
        self.write_kubeconfig(self.kubeconfig, self.token_of_admin)
        self.start_etcd()
        self.start_server()
        if self.controllers:
            self._start("kube-controller-manager", self.programs / "kube-controller-manager", "--kubeconfig", self.kubeconfig,
                        "--leader-elect=false", "--controllers", ",".join(self.controllers),
                        "--endpointslice-updates-batch-period", "0s", "--secure-port", "0")
        return self

    def start_etcd(self) -> None:
        """etcd, for the first time or after `stop`."""
        self._start("etcd", partner.etcd.get() / "etcd", "--data-dir", self.folder / "etcd", "--unsafe-no-fsync", "--log-level", "warn",
                    "--listen-client-urls", "http://127.0.0.1:2379", "--advertise-client-urls", "http://127.0.0.1:2379",
                    "--listen-peer-urls", "http://127.0.0.1:2380")

    def start_server(self) -> None:
        """The API server, for the first time or after `stop`."""
        self._start("kube-apiserver", self.programs / "kube-apiserver", "--etcd-servers", "http://127.0.0.1:2379",
                    "--secure-port", PORT, "--bind-address", "0.0.0.0", "--advertise-address", self.address,
                    "--tls-cert-file", self.folder / "server.crt", "--tls-private-key-file", self.folder / "server.key",
                    "--cert-dir", self.folder, "--service-cluster-ip-range", SERVICES,
                    "--service-account-key-file", self.folder / "accounts.key",
                    "--service-account-signing-key-file", self.folder / "accounts.key",
                    "--service-account-issuer", "https://kubernetes.default.svc",
                    "--token-auth-file", self.folder / "tokens.csv", "--authorization-mode", "RBAC", "--allow-privileged",
                    # Accounts and tokens of pods are a controller's and a kubelet's business; neither is here.
                    "--disable-admission-plugins", "ServiceAccount", "--endpoint-reconciler-type", "none")
        self._wait_for_server()

    def stop(self, name: str, number: int = signal.SIGTERM) -> None:
        """kube-apiserver, kube-controller-manager or etcd."""
        stop(self._processes.pop(name), number)

    def _start(self, name: str, program: Path, *options: object) -> None:
        self._processes[name] = self.host.start(str(program), *map(str, options), stdout=self.folder / f"{name}.log")

    def _wait_for_server(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while True:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise CommandFailed(f"{name} ended with {process.returncode}: {self.log(name)[-2000:]}")
            # The roles that RBAC begins with are written after the server says that it is ready for anything else.
            if self.kubectl("get", "--raw", "/readyz", check=False).stdout == "ok" and \
                    self.kubectl("get", "clusterrole", "system:node-proxier", check=False).returncode == 0:
                return
            if time.monotonic() > deadline:
                raise CommandFailed(f"kube-apiserver is not ready within {PATIENCE} s: {self.log('kube-apiserver')[-2000:]}")
            time.sleep(0.1)

    def log(self, name: str) -> str:
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _make_certificates(self) -> None:
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        self._openssl("req", "-x509", *key, "-days", "30", "-subj", "/CN=test-ca", "-keyout", "ca.key", "-out", "ca.crt")
        names = f"IP:{self.address},IP:127.0.0.1,IP:{API_SERVICE},DNS:kubernetes,DNS:kubernetes.default.svc"
        self._openssl("req", "-x509", *key, "-days", "30", "-subj", "/CN=kube-apiserver", "-addext", f"subjectAltName={names}",
                      "-addext", "basicConstraints=critical,CA:false", "-CA", "ca.crt", "-CAkey", "ca.key",
                      "-keyout", "server.key", "-out", "server.crt")
        self._openssl("genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "accounts.key")

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], cwd=self.folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise CommandFailed(f"openssl {arguments[0]}: {done.stderr.strip()}")

    # -- who asks ----------------------------------------------------------------------------------------------------

    def write_kubeconfig(self, path: Path, token: str, namespace: str = "default") -> Path:
        path.write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority": str(self.ca)}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": namespace}}],
        }, indent=1))
        path.chmod(0o600)
        return path

    def token(self, namespace: str, account: str) -> str:
        """As a kubelet asks for one (TokenRequest), good for an hour."""
        return self.kubectl("-n", namespace, "create", "token", account, "--duration", "1h").stdout.strip()

    def account_kubeconfig(self, namespace: str, account: str) -> Path:
        return self.write_kubeconfig(self.folder / f"{namespace}-{account}.kubeconfig", self.token(namespace, account), namespace)

    def account_folder(self, namespace: str, account: str) -> Path:
        """What a kubelet mounts at /var/run/secrets/kubernetes.io/serviceaccount."""
        folder = self.folder / f"{namespace}-{account}"
        folder.mkdir(exist_ok=True)
        for name, text in (("token", self.token(namespace, account)), ("ca.crt", self.ca.read_text()), ("namespace", namespace)):
            (folder / name).write_text(text)
        return folder

    # -- commands ----------------------------------------------------------------------------------------------------

    def run(self, program: str, *arguments: str, check: bool = True, stdin: str | None = None, kubeconfig: Path | None = None,
            timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """helm or kubectl, with a home of their own."""
        home = self.folder / "home"
        return self.host.run(str(self.tools / program), *arguments, check=check, stdin=stdin, timeout=timeout,
                             env={"KUBECONFIG": str(kubeconfig or self.kubeconfig), "HOME": str(home), "HELM_CACHE_HOME": str(home),
                                  "HELM_CONFIG_HOME": str(home), "HELM_DATA_HOME": str(home)})

    def kubectl(self, *arguments: str, check: bool = True, stdin: str | None = None,
                kubeconfig: Path | None = None) -> subprocess.CompletedProcess[str]:
        return self.run("kubectl", *arguments, check=check, stdin=stdin, kubeconfig=kubeconfig)

    def helm(self, *arguments: str, check: bool = True, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return self.run("helm", *arguments, check=check, stdin=stdin)

    def get(self, *arguments: str) -> dict:
        return json.loads(self.kubectl("get", *arguments, "-o", "json").stdout)

    def apply(self, *objects: Mapping, text: str = "") -> None:
        """Objects, or the text of a manifest."""
        stdin = text or json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "-f", "-", stdin=stdin)

    def patch_status(self, kind: str, name: str, status: Mapping, namespace: str = "default") -> None:
        self.kubectl("-n", namespace, "patch", kind, name, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status}))

    # -- what kubelets report ------------------------------------------------------------------------------------------

    def report_node(self, name: str, addresses: Sequence[str], labels: Mapping[str, str] | None = None, ready: bool = True) -> None:
        self.apply({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name,
                                                                                              **(labels or {})}}})
        self.patch_status("node", name, {
            "addresses": [{"type": "InternalIP", "address": address} for address in addresses],
            "conditions": [{"type": "Ready", "status": str(ready), "reason": "Reported", "message": "as the test says"}]})

    def report_pod(self, name: str, node: str, addresses: Sequence[str], node_address: str, labels: Mapping[str, str], *,
                   namespace: str = "default", ready: bool = True, ports: Mapping[str, int] | None = None) -> None:
        """`ports`: those that have a name."""
        named = [{"name": port, "containerPort": number} for port, number in (ports or {}).items()]
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace, "labels": dict(labels)},
                    "spec": {"nodeName": node, "containers": [{"name": "server", "image": "none", "ports": named}]}})
        self.patch_status("pod", name, {
            "phase": "Running", "hostIP": node_address, "podIP": addresses[0], "podIPs": [{"ip": address} for address in addresses],
            "conditions": [{"type": "Ready", "status": str(ready)}]}, namespace)

    def report_ready(self, pod: str, ready: bool, namespace: str = "default") -> None:
        self.patch_status("pod", pod, {"conditions": [{"type": "Ready", "status": str(ready)}]}, namespace)

    def pods_of(self, daemonset: str, namespace: str) -> dict[str, dict]:
        """The pods that the controller of a DaemonSet has made, by the node that each is for."""
        labels = self.get("daemonset", daemonset, "-n", namespace)["spec"]["selector"]["matchLabels"]
        nodes = len(self.get("nodes")["items"])
        selector = ",".join(f"{name}={value}" for name, value in labels.items())

        def made() -> dict[str, dict]:
            pods = {}
            for pod in self.get("pods", "-n", namespace, "-l", selector)["items"]:
                terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
                pods[terms[0]["matchFields"][0]["values"][0]] = pod
            return pods if len(pods) == nodes else {}

        found = eventually(f"a pod of {daemonset} for each of {nodes} nodes", made, within=20)
        assert isinstance(found, dict)
        return found

    def bind(self, pod: Mapping, node: str, namespace: str) -> None:
        """What a scheduler says."""
        name = pod["metadata"]["name"]
        self.kubectl("create", "--raw", f"/api/v1/namespaces/{namespace}/pods/{name}/binding", "-f", "-", stdin=json.dumps({
            "apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node}}))

    def report_lab(self, nodes: Iterable[Node], labels: Mapping[str, str]) -> None:
        """The nodes of a lab and the pods on them, all alike."""
        for node in nodes:
            self.report_node(node.role, [node.address, node.address6])
            for pod in node.pods:
                self.report_pod(pod_name(pod), node.role, [pod.address, pod.address6], node.address, labels)

    # -- kube-proxy ----------------------------------------------------------------------------------------------------

    def start_proxy(self, node: Namespace, mode: str = "nftables") -> subprocess.Popen[str]:
        """kube-proxy on a node; mode is nftables or iptables."""
        # What a reply takes another way back as than the request came is dropped by a strict filter, and by a loose one where the
        # node has no route to the client: kube-proxy asks for neither.
        node.sysctl(net__ipv4__conf__all__rp_filter=0, net__ipv4__conf__default__rp_filter=0)
        configuration = self.folder / f"kube-proxy-{node.role}.json"
        configuration.write_text(json.dumps({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1", "kind": "KubeProxyConfiguration", "mode": mode,
            "hostnameOverride": node.role, "clientConnection": {"kubeconfig": str(self.kubeconfig)}, "clusterCIDR": PODS,
            "detectLocalMode": "ClusterCIDR", "healthzBindAddress": "127.0.0.1:10256", "metricsBindAddress": "127.0.0.1:10249",
            # Sizes of the whole machine, which is not the lab's.
            "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}}))
        return node.start(str(partner.kubernetes.get() / "kube-proxy"), "--config", str(configuration),
                          stdout=self.folder / f"kube-proxy-{node.role}.log")


def pod_name(pod: Pod) -> str:
    return pod.role  # pi1-pod8


def alone(lab_name: str, address: str = "192.168.0.100") -> Namespace:
    """A host without a wire, for tests that send nothing over the LAN."""
    host = Namespace(lab_name, "control")
    host.create()
    host.ip(f"addr add {address}/32 dev lo", "route add default dev lo")
    return host
