# SPDX-License-Identifier: Apache-2.0
"""The program itself: how soon it answers, what it weighs, what an upgrade costs, how fast its mind is."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Iterator, Protocol

from bench import balancers, measure as traffic
from bench.balancers import xdp_lb
from bench.report import median, table
from lab import bpf
from lab.lab import FIRST_VIP, Lab
from lab.namespace import CommandFailed, stop

ETH_ARP = 0x0806
SERVICES = 50


class Bench(Protocol):
    """What this part needs of tests/bench/run."""
    quick: bool
    build: Path
    binary: Path

    def lab(self) -> Lab: ...
    def judge(self, what: str, target: str, measured: str, met: bool, why: str = "") -> None: ...


def measure(bench: Bench) -> list[str]:
    rows: list[tuple[str, str]] = []

    def note(what: str, target: str, measured: str, met: bool, why: str = "") -> None:
        bench.judge(what, target, measured, met, why)
        rows.append((what, measured))

    with bench.lab() as lab:
        traffic.prepare(lab)
        balancers.declare(lab)
        lab.node.lb("attach", "eth0", "--mode", "tc")  # the address is probed on the wire before its very first use
        lab.node.lb("detach", "--all")
        answers = [_attach_to_answer(lab) * 1000 for _ in range(3 if bench.quick else 15)]
        note("attach (the command's start) to the first ARP answer", "<= 100 ms", f"{median(answers):.0f} ms", median(answers) <= 100,
             "nearly all of it is the kernel verifying the programs and allocating the tables; an `upgrade` answers meanwhile")
        requests, upgrades = _upgrades(lab, 3 if bench.quick else 10)
        note(f"requests lost in {upgrades} upgrades under full rate", "0", f"0 of {requests:,}", True)
        memory, idle = _daemon(lab, 3 if bench.quick else 15)
        note(f"daemon's resident memory, {SERVICES} services", "<= 16 MiB", f"{memory:.1f} MiB", memory <= 16)
        note(f"daemon's CPU when idle, {SERVICES} services", "<= 1 % of a core", f"{idle:.2f} %", idle <= 1)
    with bench.lab() as lab:
        waited, worked = _change(lab, 5 if bench.quick else 21)
        note("the same in the daemon: from the manifest's new file to the last map write, without the 50 ms that it waits for more changes",
             "<= 5 ms", f"{waited:.0f} ms, {worked:.0f} ms of CPU", waited <= 5,
             "manifests are listed and read, tables and routes are asked for anew in every pass, so that nothing that others did is missed")
    size = _stripped_size(bench.binary) / 2**20
    note("binary, stripped", "<= 6 MiB", f"{size:.1f} MiB", size <= 6)
    carried = _libraries(bench.binary)
    note("shared libraries besides libc", "0", str(len(carried)), not carried,
         "the archives of this system do not link (Debian 13's libelf.a); a binary built on Debian 12 needs none")
    rounds = "3" if bench.quick else "9"
    small = _mind(bench, "1000", "1", "10", rounds)
    note("1,000 services, one of their 10,000 endpoints changes: decide, compile, plan (CPU time)", "<= 5 ms", f"{small['change_ms']:.1f} ms, {small['change_edits']} edits",
         small["change_ms"] <= 5,
         "a pass thinks about everything that is declared: its edits grow with the change, its time only in part")
    large = _mind(bench, "2500", "4", "10", "1" if bench.quick else "3")
    note("10,000 services (2,500 VIPs of 4 ports), 100,000 backends: decide, compile, plan from nothing (CPU time)", "<= 2 s",
         f"{large['cold_ms'] / 1000:.2f} s, {large['cold_edits']:,} edits", large["cold_ms"] <= 2000)
    return ["## The program itself", "",
            "The figures of the mind are pure computation: reading manifests and writing maps come on top.", "",
            *table(("what", "measured"), rows)]


def _attach_to_answer(lab: Lab) -> float:
    """Seconds. A client asks every millisecond."""
    client_mac = bytes.fromhex(lab.lan.mac().replace(":", ""))
    question = (b"\xff" * 6 + client_mac + b"\x08\x06" + b"\x00\x01\x08\x00\x06\x04\x00\x01" + client_mac
                + bytes([192, 168, 0, 50]) + b"\x00" * 6 + bytes(map(int, FIRST_VIP.split("."))))
    with contextlib.closing(lab.lan.packets("eth0", ETH_ARP)) as wire:
        wire.setblocking(False)
        started = time.monotonic()
        command = subprocess.Popen(lab.node.argv([str(lab.binary), "attach", "eth0", "--mode", "tc"]),
                                   env={**os.environ, **lab.node.environment}, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        answered = None
        while answered is None and time.monotonic() < started + 10:
            wire.send(question)
            time.sleep(0.001)
            with contextlib.suppress(BlockingIOError):
                while True:
                    frame = wire.recv(2048)
                    if frame[20:22] == b"\x00\x02" and frame[28:32] == question[38:42]:
                        answered = time.monotonic() - started
                        break
        _, said = command.communicate(timeout=10)
    lab.node.lb("detach", "--all")
    if answered is None or command.returncode != 0:
        raise CommandFailed(f"attach was not followed by an ARP answer: {said}")
    return answered


def _upgrades(lab: Lab, seconds: int) -> tuple[int, int]:
    """Requests served (wrk fails the run on any error) while upgrade runs 20 times."""
    result: list[float | CommandFailed] = []
    balancer = xdp_lb("tc")
    upgrades = 20

    def load() -> None:
        try:
            result.append(traffic.wrk(lab, balancer, seconds, keep_alive=False))
        except CommandFailed as problem:
            result.append(problem)

    with balancer.on(lab), traffic.nginx(lab):
        thread = threading.Thread(target=load)
        thread.start()
        for _ in range(upgrades):
            lab.node.lb("upgrade")
            time.sleep(max(0.0, (seconds - 1) / upgrades - 0.1))
        thread.join()
    if isinstance(result[0], CommandFailed):
        raise result[0]
    return int(result[0] * seconds), upgrades


@contextlib.contextmanager
def _many_services(lab: Lab) -> Iterator[None]:
    names = [f"many{number}" for number in range(SERVICES - 1)]
    for name in names:
        lab.node.lb("service", "add", name, "--port", f"80:{balancers.POD_PORT}", "--backend", lab.pods[0].address)
    try:
        yield
    finally:
        for name in names:
            lab.node.lb("service", "rm", name)


def _daemon(lab: Lab, seconds: int) -> tuple[float, float]:
    """MiB resident, percent of a core."""
    with _many_services(lab):
        lab.node.lb("attach", "eth0", "--mode", "tc")
        process = lab.node.start(str(lab.binary), "run")
        try:
            time.sleep(6)  # announcements of 50 VIPs every 1.1 s are over after five
            if process.poll() is not None:
                raise CommandFailed("xdp-lb run ended at once")
            daemon = next(pid for pid in lab.node.pids() if Path(f"/proc/{pid}/comm").read_text().strip() == "xdp-lb")
            before = _ticks(daemon)
            time.sleep(seconds)
            used = (_ticks(daemon) - before) / 100
            status = Path(f"/proc/{daemon}/status").read_text()
            resident = int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) / 1024
        finally:
            stop(process)
            lab.node.lb("detach", "--all")
    return resident, 100 * used / seconds


SETTLE = 0.050  # seconds that the daemon waits for more changes to come


def _change(lab: Lab, rounds: int) -> tuple[float, float]:
    """Milliseconds until the tables hold a changed endpoint, one of 10,000, and milliseconds of CPU for it."""
    node, services, changed = lab.node, 1000, 500
    node.ip(*(f"addr add 10.99.0.{tail}/32 dev lo" for tail in range(1, 12)))
    folder = node.config_dir / "manifests"
    folder.mkdir()
    (folder / "pool.yaml").write_text(_POOL)
    for number in range(services):
        (folder / f"s{number}.yaml").write_text(_service(number, 1))
    node.lb("attach", "eth0", "--mode", "tc", timeout=120)
    backends = bpf.open_pin(str(next(node.pin_dir.glob("v*/xlb_backends"))))

    def row(backend: int) -> bytes:
        return bpf.look_up(backends, struct.pack("<I", backend), 40)

    def backend_of(tail: int) -> int:
        """lb_backend begins with the address; the port, in network order, is at 32."""
        for backend in range(1, 16384):
            found = row(backend)
            if found[12:16] == bytes((10, 99, 0, tail)) and found[32:34] == struct.pack(">H", 2000 + changed):
                return backend
        raise CommandFailed(f"no backend 10.99.0.{tail}")

    process = node.start(str(lab.binary), "run")
    waits, works = [], []
    try:
        time.sleep(8)
        daemon = next(pid for pid in node.pids() if Path(f"/proc/{pid}/comm").read_text().strip() == "xdp-lb")
        for number in range(rounds):
            first = 1 + number % 2  # endpoints 1 to 10, then 2 to 11
            leaving = backend_of(1 if first == 1 else 11)
            new = folder / ".new"
            new.write_text(_service(changed, 3 - first))
            time.sleep(0.5)  # a pass begins a quarter of a second after the last one at the earliest
            before, since = _run_ns(daemon), time.monotonic()
            new.rename(folder / f"s{changed}.yaml")
            while row(leaving)[20:24] != bytes(4):  # its flags; freeing it is the last edit
                if time.monotonic() > since + 20:
                    raise CommandFailed("the daemon did not take the change")
            waits.append((time.monotonic() - since - SETTLE) * 1000)
            time.sleep(0.3)
            works.append((_run_ns(daemon) - before) / 1e6)
    finally:
        stop(process)
        os.close(backends)
        node.lb("detach", "--all")
    return median(waits), median(works)


def _run_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


_POOL = """apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: many, namespace: metallb-system}
spec: {addresses: [192.168.0.200-192.168.0.209]}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: many, namespace: metallb-system}
"""


def _service(number: int, first: int) -> str:
    """A service with ten endpoints, of this node's own addresses 10.99.0.<first> and on; a hundred share a VIP."""
    vip = 200 + number // 100
    endpoints = "\n".join(f"- {{addresses: [10.99.0.{tail}], conditions: {{ready: true}}}}" for tail in range(first, first + 10))
    return f"""apiVersion: v1
kind: Service
metadata:
  name: s{number}
  annotations: {{metallb.io/allow-shared-ip: k{vip}, metallb.io/loadBalancerIPs: 192.168.0.{vip}}}
spec:
  type: LoadBalancer
  ports: [{{name: a, port: {1000 + number}, targetPort: {2000 + number}, protocol: TCP}}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: s{number}-bench
  labels: {{kubernetes.io/service-name: s{number}}}
addressType: IPv4
ports: [{{name: a, port: {2000 + number}, protocol: TCP}}]
endpoints:
{endpoints}
"""


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def _stripped_size(binary: Path) -> int:
    with tempfile.NamedTemporaryFile() as copy:
        subprocess.run(["strip", "-o", copy.name, binary], check=True)
        return os.path.getsize(copy.name)


def _libraries(binary: Path) -> list[str]:
    dynamic = subprocess.run(["readelf", "-d", binary], capture_output=True, text=True, check=True).stdout
    names = [line.split("[")[1].rstrip("]") for line in dynamic.splitlines() if "(NEEDED)" in line]
    return [name for name in names if not name.startswith(("libc.", "libm.", "ld-linux"))]


def _mind(bench: Bench, *arguments: str) -> dict[str, float]:
    done = subprocess.run([bench.build / "tests/bench/xlb_bench_mind", *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        raise CommandFailed(done.stderr.strip())
    return json.loads(done.stdout)
