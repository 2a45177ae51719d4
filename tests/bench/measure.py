# SPDX-License-Identifier: Apache-2.0
"""One measurement each: replayed frames, wrk, iperf3. All of them raise CommandFailed when anything was lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Iterator

from bench.balancers import POD_PORT, Balancer
from lab.lab import FIRST_VIP, Lab
from lab.namespace import CommandFailed, stop

CLIENT_ADDRESSES = 16  # as in replay.cpp
REPLAY_CPU = 1


def prepare(lab: Lab) -> None:
    """Neighbours that no reply has to wait for: those of the replay's clients have no host that would answer."""
    client, node = lab.lan, lab.node
    with contextlib.suppress(FileNotFoundError):  # a real switch asks no netfilter
        lab.switch.sysctl(**{"net__bridge__bridge-nf-call-iptables": 0})
    for tail in range(50, 50 + CLIENT_ADDRESSES):
        node.ip(f"neigh replace 192.168.0.{tail} lladdr {client.mac()} nud permanent dev eth0")
    node.ip(f"neigh replace {lab.pods[0].address} lladdr {lab.pods[0].mac()} nud permanent dev cni0")
    client.ip(f"neigh replace {FIRST_VIP} lladdr {node.mac()} nud permanent dev eth0",
              f"route replace 10.42.{node.subnet}.0/24 via {node.address}")


def replay(program: Path, lab: Lab, balancer: Balancer | None, work: str, count: int) -> dict[str, float]:
    """CPU nanoseconds a connection or packet. Without a balancer the server stands at the node's NIC: the harness."""
    node, pod = lab.node, lab.pods[0]
    address, port = balancer.target(lab) if balancer else (FIRST_VIP, 80)
    server, mac, gateway = (pod, pod.mac(), node.mac("cni0")) if balancer else (node, node.mac(), lab.lan.mac())
    done = subprocess.run(
        [program, "--client-ns", lab.lan.path, "--client-mac", lab.lan.mac(), "--server-ns", server.path,
         "--server-mac", mac, "--server-gateway-mac", gateway, "--node-mac", node.mac(), "--to", address,
         "--port", str(port), "--work", work, "--count", str(count), "--cpu", str(REPLAY_CPU)],
        capture_output=True, text=True)
    if done.returncode != 0:
        raise CommandFailed(f"{balancer.name if balancer else 'harness'}: {done.stderr.strip()}")
    return json.loads(done.stdout)


@contextlib.contextmanager
def nginx(lab: Lab) -> Iterator[None]:
    """As small as an answer gets, without a log: the path is to be the cost."""
    place = lab.directory / "bench-nginx"
    place.mkdir(exist_ok=True)
    paths = "".join(f"{kind}_temp_path {place}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (place / "nginx.conf").write_text(
        f"daemon off; user root; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;\n"
        "events { worker_connections 4096; }\n"
        f"http {{ access_log off; keepalive_requests 1000000000; {paths}\n"
        f"server {{ listen {POD_PORT} backlog=4096; location / {{ return 200 'served\\n'; }} }} }}\n")
    process = lab.pods[0].start("nginx", "-c", str(place / "nginx.conf"), "-e", str(place / "error.log"))
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                lab.pods[0].connect("127.0.0.1", POD_PORT).close()
                break
            time.sleep(0.05)
        else:
            raise CommandFailed(f"nginx does not listen: {(place / 'error.log').read_text()[-300:]}")
        yield
    finally:
        stop(process)


def wrk(lab: Lab, balancer: Balancer, seconds: int, keep_alive: bool) -> float:
    """Requests a second with 64 connections at a time; without keep-alive each is a connection of its own."""
    address, port = balancer.target(lab)
    header = [] if keep_alive else ["-H", "Connection: close"]
    out = lab.lan.run("wrk", "-t1", "-c64", f"-d{seconds}s", "--timeout", "5s", *header, f"http://{address}:{port}/",
                      timeout=seconds + 30).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", out)
    wrong = re.search(r"Socket errors:.*|Non-2xx.*", out)
    if rate is None or wrong is not None:
        raise CommandFailed(f"{balancer.name}: wrk: {wrong[0] if wrong else out}")
    return float(rate[1])


@contextlib.contextmanager
def iperf_server(lab: Lab) -> Iterator[None]:
    process = lab.pods[0].start("iperf3", "-s", "-p", str(POD_PORT))
    try:
        time.sleep(0.5)
        if process.poll() is not None:
            raise CommandFailed("iperf3 -s ended at once")
        yield
    finally:
        stop(process)


def bulk(lab: Lab, balancer: Balancer, seconds: int, upload: bool) -> tuple[float, float]:
    """Gbit/s of one TCP connection, and the machine's CPU seconds for each Gbit."""
    address, port = balancer.target(lab)
    for _ in range(20):
        before = busy_seconds()
        done = lab.lan.run("iperf3", "-J", "-c", address, "-p", str(port), "-t", str(seconds), *([] if upload else ["-R"]),
                           check=False, timeout=seconds + 30)
        if "Connection refused" not in done.stdout:
            break
        time.sleep(0.1)  # the server closes its listening socket after each test and opens it again
    busy = busy_seconds() - before
    try:
        result = json.loads(done.stdout)
        received = result["end"]["sum_received"]
        gbit = received["bytes"] * 8 / 1e9
        return received["bits_per_second"] / 1e9, busy / gbit
    except (ValueError, KeyError, ZeroDivisionError):
        raise CommandFailed(f"{balancer.name}: iperf3: {done.stdout[-300:]} {done.stderr[-300:]}") from None


def busy_seconds() -> float:
    """CPU time that was not idle, of all CPUs, since boot."""
    fields = [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, *_ = fields
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
