# SPDX-License-Identifier: Apache-2.0
"""The daemon in a cluster of two nodes: small, and with 10,000 Services and 100,000 endpoints.

Of these either one Service in ten is of type LoadBalancer, which is as many as the tables hold as they are made by default, with
ten backends each, half of them on each node, the others being what a cluster is full of; or every one is, four at an address
because a node has 4,096 VIPs, with tables made large enough. They have no node ports, of which a cluster has 2,768. Services have
no selector: their EndpointSlices are written by hand, so that no controller is measured.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Callable, Iterator

from kube import partner
from kube.control_plane import PORT, ControlPlane
from kube.story import CHART, NAMESPACE, RELEASE
from lab import bpf
from lab.lab import Lab, Node
from lab.namespace import CommandFailed
from lab.traffic import eventually

CONTROL = 100
ENDPOINTS = 10                    # of each Service
PODS = 50                         # addresses of endpoints on each node
SUBNET, POOL = "172.20.0", "172.20.16.0/20"
CLIENT_THREADS = 4
SHARERS = 4                       # Services at one address, where all are load balancers
LARGE_TABLES = {"services": 16384, "backends": 131072, "slots": 16777216}
Say = Callable[[str], None]


class Cluster:
    """Two nodes of a lab, a control plane beside them, a daemon on each node."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.measured, self.other = lab.nodes
        host = lab.add_host("control", CONTROL)
        self.control = ControlPlane(host, f"192.168.0.{CONTROL}", lab.name, controllers=()).up()
        for number, node in enumerate(lab.nodes):
            node.ip(f"addr add {SUBNET}.{11 + number}/16 dev eth0")
            pod = node.pods[0]
            pod.ip(*(f"addr add {address}/24 dev eth0" for address in self.pods(node)))
            self.control.report_node(node.role, [node.address])
        self.control.helm("upgrade", "--install", RELEASE, str(CHART), "-n", NAMESPACE, "--create-namespace")
        self.kubeconfig = self.control.account_kubeconfig(NAMESPACE, RELEASE)
        self.key = base64.b64decode(self.control.kubectl(
            "-n", NAMESPACE, "get", "secret", f"{RELEASE}-key", "-o", "jsonpath={.data.cluster\\.key}").stdout).decode()
        self.control.apply(
            {"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool", "metadata": {"name": "bench", "namespace": NAMESPACE},
             "spec": {"addresses": [POOL], "avoidBuggyIPs": True}},
            {"apiVersion": "metallb.io/v1beta1", "kind": "L2Advertisement", "metadata": {"name": "bench", "namespace": NAMESPACE},
             "spec": {}})
        self.daemons: dict[Node, subprocess.Popen[str]] = {}
        self.tables: dict[str, int] = {}  # sizes, where they are not the default

    def pods(self, node: Node) -> list[str]:
        return [f"10.42.{node.subnet}.{100 + number}" for number in range(PODS)]

    # -- daemons -----------------------------------------------------------------------------------------------------

    def start(self, node: Node) -> float:
        if not (node.config_dir / "cluster.key").exists():
            node.lb("peer", "key", "--import", "-", stdin=self.key)
        since = time.monotonic()
        self.daemons[node] = node.start(
            str(self.lab.binary), "run", "--kubeconfig", str(self.kubeconfig), "--namespace", NAMESPACE, "--attach", "eth0",
            "--mode", "tc", *self._sizes(), stdout=self.lab.directory / node.role / "daemon.log")
        return since

    def _sizes(self) -> list[str]:
        return ["--table-sizes", ",".join(f"{table}={entries}" for table, entries in self.tables.items())] if self.tables else []

    def stop(self, node: Node) -> None:
        self.daemons[node].send_signal(signal.SIGTERM)
        self.daemons[node].wait(20)

    def pid(self, node: Node) -> int:
        if self.daemons[node].poll() is not None:
            raise CommandFailed(f"{node}: the daemon ended: {(self.lab.directory / node.role / 'daemon.log').read_text()[-2000:]}")
        return self.daemons[node].pid

    # -- objects -----------------------------------------------------------------------------------------------------

    def fill(self, services: int, load_balancers: int, sharers: int = 1) -> None:
        """Service n has port 80, or the ones behind it where it shares its address, and endpoints at port 10000 + n of five pods of
        each node."""
        def write(numbers: range) -> None:
            api = Api(self.control)
            for number in numbers:
                api.create("/api/v1/namespaces/default/services", service(number, number < load_balancers, sharers))
                api.create("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", self.slice(number))
            api.close()

        threads = [threading.Thread(target=write, args=(range(first, services, CLIENT_THREADS),)) for first in range(CLIENT_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def slice(self, number: int) -> dict:
        endpoints = []
        for node in self.lab.nodes:
            pods = self.pods(node)
            for index in range(ENDPOINTS // 2):
                endpoints.append({"addresses": [pods[(number + index * 7) % PODS]], "nodeName": node.role,
                                  "conditions": {"ready": True, "serving": True, "terminating": False}})
        return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {"name": f"service{number}-1", "labels": {"kubernetes.io/service-name": f"service{number}"}},
                "ports": [{"name": "web", "port": 10000 + number % 50000, "protocol": "TCP"}], "endpoints": endpoints}


def service(number: int, load_balancer: bool, sharers: int) -> dict:
    spec: dict = {"type": "ClusterIP", "ports": [{"name": "web", "port": 80 + number % sharers, "targetPort": 8000}]}
    metadata: dict = {"name": f"service{number}", "labels": {"app": f"app{number}"}}
    if load_balancer:
        spec |= {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
        if sharers > 1:
            metadata["annotations"] = {"metallb.io/allow-shared-ip": f"group{number // sharers}"}
    return {"apiVersion": "v1", "kind": "Service", "spec": spec, "metadata": metadata}


class Api:
    """The API server, asked without a process for each question."""

    def __init__(self, control: ControlPlane) -> None:
        token = json.loads(control.kubeconfig.read_text())["users"][0]["user"]["token"]
        self._headers = {"Authorization": f"Bearer {token}"}
        tls = ssl.create_default_context(cafile=str(control.ca))
        self._connection = http.client.HTTPSConnection(control.address, PORT, context=tls)
        plain = control.host.connect(control.address, PORT, timeout=60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # head and body are two writes: the second would wait 40 ms
        self._connection.sock = tls.wrap_socket(plain, server_hostname=control.address)

    def ask(self, method: str, path: str, body: dict | list | None = None, kind: str = "application/json") -> dict:
        self._connection.request(method, path, json.dumps(body) if body is not None else None, {**self._headers, "Content-Type": kind})
        answer = self._connection.getresponse()
        said = answer.read()
        if answer.status >= 300:
            raise CommandFailed(f"{method} {path}: {answer.status} {said[:300]!r}")
        return json.loads(said)

    def create(self, path: str, body: dict) -> None:
        self.ask("POST", path, body)

    def set_ready(self, number: int, endpoint: int, ready: bool) -> None:
        path = f"/endpoints/{endpoint}/conditions/ready"
        self.ask("PATCH", f"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/service{number}-1",
                 [{"op": "replace", "path": path, "value": ready}], "application/json-patch+json")

    def close(self) -> None:
        self._connection.close()


# -- a process ---------------------------------------------------------------------------------------------------------


def cpu_seconds(pid: int) -> float:
    """Of all its threads, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def memory_mib(pid: int) -> dict[str, float]:
    """Resident without what is mapped of BPF maps; and of it what is nobody else's."""
    resident = maps = anonymous = 0
    in_map = False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            in_map = "bpf-map" in line
        elif line.startswith("Rss:"):
            kib = int(line.split()[1])
            resident, maps = resident + kib, maps + (kib if in_map else 0)
        elif line.startswith("Anonymous:"):
            anonymous += int(line.split()[1])
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1])  # type: ignore[index]
    return {"resident": (resident - maps) / 1024, "anonymous": anonymous / 1024, "peak": peak / 1024}


# -- what the tables say -------------------------------------------------------------------------------------------------


class Backends:
    """The rows of xlb_backends, read one by one: the first that tells of a change."""

    def __init__(self, node: Node, entries: int) -> None:
        self._table, self._entries = bpf.open_pin(str(node.tables_dir / "xlb_backends")), entries
        self._ids: dict[tuple[bytes, int], int] = {}

    def row(self, number: int) -> bytes:
        return bpf.look_up(self._table, struct.pack("<I", number), 40)

    def id_of(self, address: str, port: int) -> int:
        wanted = bytes(10) + b"\xff\xff" + bytes(map(int, address.split(".")))
        if not self._ids:
            for number in range(1, self._entries):
                row = self.row(number)
                if row[20] & 1:
                    self._ids[row[:16], struct.unpack(">H", row[32:34])[0]] = number
        return self._ids[wanted, port]

    def draining(self, number: int) -> bool:
        return bool(self.row(number)[20] & 0x10)

    def close(self) -> None:
        os.close(self._table)


def rows(node: Node, table: str, key: int, value: int) -> int:
    try:
        opened = bpf.open_pin(str(node.tables_dir / table))
    except OSError:
        return 0
    try:
        return len(bpf.rows(opened, key, value))
    finally:
        os.close(opened)


def last_edit(cluster: Cluster, node: Node, since: float, services: int, say: Say) -> float:
    """Seconds from `since` to when the daemon last wrote its tables, once they hold all Services and it is quiet."""
    log = cluster.lab.directory / node.role / "daemon.log"
    begin = log.stat().st_size
    edited, seen, at = 0.0, 0, time.monotonic()
    while True:
        time.sleep(0.01)
        cluster.pid(node)
        with log.open() as text:
            text.seek(begin)
            count = text.read().count("tables edited")
        now = time.monotonic()
        if count != seen:
            seen, edited = count, now
        if seen and now - edited > 5 and rows(node, "xlb_services", 8, 32) == services:
            return edited - since
        if now - at > 900:
            raise CommandFailed(f"{node}: after a quarter of an hour its tables hold {rows(node, 'xlb_services', 8, 32)} of {services} services:\n"
                                f"{log.read_text()[-3000:]}")


# -- the parts -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def cluster_of(binary: Path, say: Say) -> Iterator[Cluster]:
    for one in (partner.tools, partner.etcd, partner.kubernetes):
        one.get(say)
    with Lab(f"kb{os.getpid() % 100000}", nodes=2, pods=1, binary=binary) as lab:
        cluster = Cluster(lab)
        try:
            yield cluster
        finally:
            for node in list(cluster.daemons):
                if cluster.daemons[node].poll() is None:
                    cluster.stop(node)


def small(binary: Path, quick: bool, say: Say) -> dict:
    """Five Services, as at home."""
    with cluster_of(binary, say) as cluster:
        cluster.fill(10, 5)
        for node in cluster.lab.nodes:
            since = cluster.start(node)
        last_edit(cluster, cluster.measured, since, 5, say)
        time.sleep(5)
        pid = cluster.pid(cluster.measured)
        idle = cpu_seconds(pid)
        time.sleep(5 if quick else 30)
        return {"services": 5, "memory": memory_mib(pid), "idle_percent": (cpu_seconds(pid) - idle) / (5 if quick else 30) * 100}


def large(binary: Path, quick: bool, say: Say) -> dict:
    return _large(binary, quick, say, 10, 1, {})


def crowded(binary: Path, quick: bool, say: Say) -> dict:
    return _large(binary, quick, say, 1, SHARERS, LARGE_TABLES)


def _large(binary: Path, quick: bool, say: Say, one_in: int, sharers: int, tables: dict[str, int]) -> dict:
    services = 1000 if quick else 10000
    load_balancers = services // one_in
    result: dict = {"services": services, "load_balancers": load_balancers, "endpoints": services * ENDPOINTS, "sharers": sharers,
                    "tables": tables}
    with cluster_of(binary, say) as cluster:
        node = cluster.measured
        cluster.tables = tables
        began = time.monotonic()
        cluster.fill(services, load_balancers, sharers)
        say(f"  {services} Services written in {time.monotonic() - began:.0f} s")
        cluster.start(cluster.other)
        since = cluster.start(node)
        result["first_s"] = last_edit(cluster, node, since, load_balancers, say)
        say(f"  addresses for all, and served, after {result['first_s']:.1f} s")
        # Again, with addresses given and tables empty.
        starts = []
        for _ in range(1 if quick else 3):
            cluster.stop(node)
            node.lb("detach", "--all", timeout=60)
            since = cluster.start(node)
            starts.append(last_edit(cluster, node, since, load_balancers, say))
            say(f"  started, served after {starts[-1]:.1f} s")
        result["start_s"] = starts
        time.sleep(5)
        result["memory"] = memory_mib(cluster.pid(node))
        say(f"  memory {result['memory']}")
        result["changes"] = changes(cluster, 5 if quick else 40, load_balancers, say)
        result["busy"] = {}
        for what, numbers in (("load balancers", range(load_balancers)), ("other services", range(load_balancers, services))):
            if not numbers:
                continue
            result["busy"][what] = busy(cluster, numbers, 5 if quick else 20, say)
        result["memory_after"] = memory_mib(cluster.pid(node))
        say(f"  memory {result['memory_after']}")
    return result


def changes(cluster: Cluster, count: int, load_balancers: int, say: Say) -> list[dict[str, float]]:
    """One endpoint is not ready, and ready again: from before the request to the row in the table."""
    node, api = cluster.measured, Api(cluster.control)
    backends = Backends(node, cluster.tables.get("backends", 16384))
    seen = []
    for turn in range(count):
        number, ready = (turn // 2 * 37) % load_balancers, turn % 2 == 1
        address, port = cluster.pods(node)[number % PODS], 10000 + number
        row = backends.id_of(address, port)
        if backends.draining(row) == (not ready):
            raise CommandFailed(f"the endpoint {address}:{port} is in the table as it is to be already")
        pid = cluster.pid(node)
        worked, asked = cpu_seconds(pid), time.monotonic()
        api.set_ready(number, 0, ready)
        answered = time.monotonic()
        while backends.draining(row) != (not ready):
            if time.monotonic() - asked > 10:
                raise CommandFailed(f"the change of {address}:{port} is not in the table after 10 s")
            time.sleep(0.0005)  # the CPU is the daemons' and the API server's, of which this machine may have two
        written = time.monotonic()
        time.sleep(1)
        seen.append({"all_ms": (written - asked) * 1000, "after_answer_ms": (written - answered) * 1000,
                     "cpu_ms": (cpu_seconds(pid) - worked) * 1000})
    api.close()
    backends.close()
    idle = cpu_seconds(cluster.pid(node))
    time.sleep(10)
    idle = (cpu_seconds(cluster.pid(node)) - idle) / 10  # a second of being there, which each change has paid for
    for one in seen:
        one["own_ms"] = max(0.0, one["cpu_ms"] - idle * 1000)
    for key in ("all_ms", "own_ms"):
        say(f"  a change, {key}: median {statistics.median(one[key] for one in seen):.1f}, worst {max(one[key] for one in seen):.1f}")
    return seen


def busy(cluster: Cluster, numbers: range, seconds: int, say: Say) -> dict[str, float]:
    """A hundred endpoints change every second."""
    rate = 100
    done = [0, 0]

    def change(lane: int) -> None:
        api, began = Api(cluster.control), time.monotonic()
        for turn in range(lane, rate * seconds, len(done)):
            time.sleep(max(0.0, began + turn / rate - time.monotonic()))
            api.set_ready(numbers[turn * 13 % len(numbers)], 1, turn // len(numbers) % 2 == 1)
            done[lane] += 1
        api.close()

    pid = cluster.pid(cluster.measured)
    worked, since = cpu_seconds(pid), time.monotonic()
    threads = [threading.Thread(target=change, args=(lane,)) for lane in range(len(done))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - since
    result = {"changes_per_s": sum(done) / took, "cpu_percent": (cpu_seconds(pid) - worked) / took * 100}
    say(f"  {result['changes_per_s']:.0f} changes a second: {result['cpu_percent']:.1f} % of a CPU")
    time.sleep(3)
    return result
