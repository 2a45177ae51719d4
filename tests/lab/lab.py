# SPDX-License-Identifier: Apache-2.0
"""A home LAN with a Kubernetes node, in network namespaces.

    wan ──── router ──── switch ──┬── pi1 (node) ── cni0 ──┬── pod 10.42.0.8
    203.0.113.10   192.168.0.1    ├── lan 192.168.0.50     └── pod 10.42.0.9 …
                                  └── pi2 … (when asked for)

Every name carries the lab's own, so labs run side by side; addresses exist in the namespaces only, the root
namespace holds no end of any wire, and there is no way out. `down` takes away by name whatever a lab of that name
left behind, so it also mends what a killed run forgot.
"""

from __future__ import annotations

import atexit
import contextlib
import ipaddress
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Iterable

from . import bpf, rules
from .namespace import CommandFailed, Namespace

ROUTER_WAN, WAN_CLIENT = "203.0.113.1", "203.0.113.10"
ROUTER_WAN6, WAN_CLIENT6 = "2001:db8:0:1::1", "2001:db8:0:1::10"
GATEWAY, GATEWAY6 = "192.168.0.1", "fd00:0:0:1::1"
LAN_CLIENT, LAN_CLIENT6 = "192.168.0.50", "fd00:0:0:1::50"
FIRST_VIP, FIRST_VIP6 = "192.168.0.200", "fd00:0:0:1::200"
CLUSTER_IP, CLUSTER_IP6 = "10.43.0.80", "fd00:43::80"

ROOT = Path(__file__).resolve().parents[2]
ABI_VERSION = int(re.search(r"^#define XLB_ABI_VERSION (\d+)", (ROOT / "maps/abi.h").read_text(), re.MULTILINE)[1])
BPFFS = Path("/sys/fs/bpf")
# Not /run, which is a small tmpfs on many machines: the bulk stories keep gigabytes here.
STATE = Path("/var/tmp/xlb-lab")
# What nodes write is small and synced to the disk with every change; a dozen nodes would wait for one disk of a build machine.
SYNCED = Path("/dev/shm/xlb-lab") if Path("/dev/shm").is_mount() else STATE

MODES = ("tc", "generic", "native")
_NAME = re.compile(r"[a-z0-9]{1,16}\Z")


class Pod(Namespace):
    def __init__(self, node: Node, number: int) -> None:
        super().__init__(node.lab.name, f"{node.role}-pod{number}", node.pod_cgroup)
        self.node = node
        self.address = f"10.42.{node.subnet}.{number}"
        self.address6 = str(ipaddress.ip_address(f"fd00:42:0:{node.subnet}::{number}"))
        # What the container runtimes call the end in the node: cni0 ports are veth…, Calico's are cali….
        self.veth = f"{'cali' if node.lab.pod_style == 'routed' else 'veth'}{number}"


class Node(Namespace):
    """A Raspberry Pi of the cluster: one NIC, a bridge (or routes) with pods behind it, and xdp-lb's own places."""

    def __init__(self, lab: Lab, number: int) -> None:
        self.lab = lab
        self.number = number
        self.subnet = number - 1
        super().__init__(lab.name, f"pi{number}", None)
        unified = cgroup2_mount()
        if unified is not None:
            self.cgroup = unified / self.name
        self.pod_cgroup = self.cgroup / "pods" if self.cgroup else None
        self.address = f"192.168.0.{10 + number}"
        self.address6 = f"fd00:0:0:1::{10 + number}"
        self.pods: list[Pod] = []
        self.config_dir = SYNCED / lab.name / self.role / "etc"
        self.run_dir = SYNCED / lab.name / self.role / "run"
        self.pin_dir = BPFFS / self.name
        self.tables_dir = self.pin_dir / f"v{ABI_VERSION}"
        self.environment = {
            "XDP_LB_NODE": self.role,
            "XDP_LB_CONFIG_DIR": str(self.config_dir),
            "XDP_LB_RUN_DIR": str(self.run_dir),
            "XDP_LB_PIN_DIR": str(self.pin_dir),
            "XDP_LB_CGROUP": str(self.cgroup or "none"),
            "PATH": f"{lab.binary.parent}:{os.environ.get('PATH', '/usr/sbin:/usr/bin:/sbin:/bin')}",
        }

    def lb(self, *arguments: str, check: bool = True, stdin: str | None = None,
           timeout: float = 30) -> subprocess.CompletedProcess[str]:
        """Runs xdp-lb on this node."""
        return self.run(str(self.lab.binary), *arguments, check=check, stdin=stdin, timeout=timeout)

    def lb_json(self, *arguments: str) -> dict | list:
        out = self.lb(*arguments, "-o", "json").stdout
        try:
            return json.loads(out)
        except ValueError as broken:
            raise CommandFailed(f"xdp-lb {' '.join(arguments)} -o json is no JSON ({broken}): {out[:300]!r}") from None


class Lab:
    def __init__(self, name: str, *, mode: str = "tc", nodes: int = 1, pods: int = 2, pod_mtu: int = 1450,
                 pod_style: str = "bridge", first_pod: int = 8, binary: Path | str = ROOT / "build/xdp-lb",
                 forward_to: str = FIRST_VIP) -> None:
        if not _NAME.match(name):
            raise ValueError(f"lab name {name!r}: one to sixteen letters a-z and digits")
        if mode not in MODES or pod_style not in ("bridge", "routed"):
            raise ValueError(f"mode is one of {MODES}, pod_style is bridge or routed")
        self.name, self.mode, self.pod_style, self.pod_mtu = name, mode, pod_style, pod_mtu
        self.binary = Path(binary).resolve()
        self.forward_to = forward_to
        self.directory = STATE / name
        self.wan = Namespace(name, "wan")
        self.router = Namespace(name, "router")
        self.switch = Namespace(name, "switch")
        self.lan = Namespace(name, "lan")
        self.nodes = [Node(self, number) for number in range(1, nodes + 1)]
        for node in self.nodes:
            node.pods = [Pod(node, first_pod + index) for index in range(pods)]
        self.extra: list[Namespace] = []

    # -- up and down ---------------------------------------------------------------------------------------------

    @property
    def node(self) -> Node:
        return self.nodes[0]

    @property
    def pods(self) -> list[Pod]:
        return self.nodes[0].pods

    def namespaces(self) -> list[Namespace]:
        return [self.wan, self.router, self.switch, self.lan, *self.extra, *self.nodes,
                *(pod for node in self.nodes for pod in node.pods)]

    def __enter__(self) -> Lab:
        return self.up()

    def __exit__(self, *_: object) -> None:
        self.down()

    def up(self) -> Lab:
        down(self.name)
        atexit.register(self.down)
        try:
            self._build()
        except BaseException:
            self.down()
            raise
        return self

    def down(self) -> None:
        atexit.unregister(self.down)
        for namespace in self.namespaces():
            namespace.remove()
        down(self.name)

    def keep(self) -> None:
        """Lets the lab outlive this process."""
        atexit.unregister(self.down)

    def _build(self) -> None:
        mount_bpffs()
        self.directory.mkdir(parents=True)
        for host in (self.wan, self.router, self.switch, self.lan):
            _create(host)
        self.switch.sysctl(net__ipv6__conf__default__disable_ipv6=1)
        self.switch.ip("link add br0 type bridge mcast_snooping 0", "link set br0 up")
        self._build_router()
        self._build_client(self.lan, LAN_CLIENT, LAN_CLIENT6, 50)
        for node in self.nodes:
            (self.directory / node.role).mkdir()
            node.config_dir.mkdir(parents=True)
            self._build_node(node)
        if self.mode == "native":
            self._make_native((self.wan, "eth0"), (self.router, "wan0"), (self.router, "lan0"), (self.lan, "eth0"))
            self._make_nodes_native(*self.nodes)
        self._record()

    # -- power -----------------------------------------------------------------------------------------------------

    def power_off(self, node: Node) -> None:
        """The plug is pulled: what runs there, its memory and its tables are gone; its disk (config_dir) stays."""
        self.switch.ip(f"link del {node.role}")  # first and at once: from here on the LAN knows nothing of it
        for cgroup in filter(None, (node.cgroup,)):
            (cgroup / "cgroup.kill").write_text("1")
        for host in (*node.pods, node):
            host.remove()
        shutil.rmtree(node.pin_dir, ignore_errors=True)
        shutil.rmtree(node.run_dir, ignore_errors=True)
        for cgroup in filter(None, (node.pod_cgroup, node.cgroup)):
            _remove_cgroup(cgroup)

    def power_on(self, node: Node) -> None:
        """As after a boot: addresses, routes, pods and their wires; nothing that was started is running."""
        self._build_node(node)
        if self.mode == "native":
            self._make_nodes_native(node)

    def _record(self) -> None:
        """What `tools/lab` needs to know of a lab that another process brought up."""
        (self.directory / "lab.json").write_text(json.dumps({
            "name": self.name, "mode": self.mode, "nodes": len(self.nodes), "pods": len(self.pods),
            "pod_mtu": self.pod_mtu, "pod_style": self.pod_style, "binary": str(self.binary),
            "forward_to": self.forward_to, "first_pod": int(self.pods[0].address.rsplit(".", 1)[1]) if self.pods else 8,
        }))

    def plug(self, namespace: Namespace, port: str, mac_tail: int, interface: str = "eth0") -> None:
        """A cable from a host to the switch."""
        namespace.ip(f"link add {interface} address {_mac(mac_tail)} type veth peer name {port} netns {self.switch.name}",
                     f"link set {interface} up")
        self.switch.ip(f"link set {port} master br0 up")

    def add_host(self, role: str, tail: int) -> Namespace:
        """One more host on the LAN, 192.168.0.<tail>."""
        host = Namespace(self.name, role)
        self.extra.append(host)
        _create(host)
        self._build_client(host, f"192.168.0.{tail}", f"fd00:0:0:1::{tail}", tail)
        if self.mode == "native":
            self._make_native((host, "eth0"))
        return host

    def _build_client(self, host: Namespace, address: str, address6: str, tail: int) -> None:
        self.plug(host, host.role, tail)
        host.ip(f"addr add {address}/24 dev eth0", f"addr add {address6}/64 dev eth0 nodad",
                f"route add default via {GATEWAY}", f"route add ::/0 via {GATEWAY6}")
        _many_connections(host)

    def _build_router(self) -> None:
        router, wan = self.router, self.wan
        router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
        self.plug(router, "router", 1, "lan0")
        router.ip(f"link add wan0 address {_mac(0xFE)} type veth peer name eth0 netns {wan.name}", "link set wan0 up",
                  f"addr add {GATEWAY}/24 dev lan0", f"addr add {GATEWAY6}/64 dev lan0 nodad",
                  f"addr add {ROUTER_WAN}/24 dev wan0", f"addr add {ROUTER_WAN6}/64 dev wan0 nodad")
        wan.ip("link set eth0 up", f"addr add {WAN_CLIENT}/24 dev eth0", f"addr add {WAN_CLIENT6}/64 dev eth0 nodad",
               f"route add default via {ROUTER_WAN}", f"route add ::/0 via {ROUTER_WAN6}")
        _many_connections(wan)
        router.run("nft", "-f", "-", stdin=rules.router(self.forward_to))

    def _build_node(self, node: Node) -> None:
        for cgroup in filter(None, (node.cgroup, node.pod_cgroup)):
            cgroup.mkdir()
        node.run_dir.mkdir(parents=True)
        for host in (node, *node.pods):
            _create(host)
        node.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1,
                    # Debian's and Raspberry Pi OS's setting.
                    net__ipv4__conf__all__rp_filter=2, net__ipv4__conf__default__rp_filter=2)
        self.plug(node, node.role, 10 + node.number)
        node.ip(f"addr add {node.address}/24 dev eth0", f"addr add {node.address6}/64 dev eth0 nodad",
                f"route add default via {GATEWAY}", f"route add ::/0 via {GATEWAY6}")
        for other in self.nodes:
            if other is not node:
                node.ip(f"route add 10.42.{other.subnet}.0/24 via {other.address}",
                        f"route add fd00:42:0:{other.subnet}::/64 via {other.address6}")
        if self.pod_style == "bridge":
            node.ip(f"link add cni0 mtu {self.pod_mtu} type bridge", "link set cni0 up",
                    f"addr add 10.42.{node.subnet}.1/24 dev cni0",
                    f"addr add fd00:42:0:{node.subnet}::1/64 dev cni0 nodad")
            with contextlib.suppress(FileNotFoundError):  # br_netfilter, which k3s loads
                node.sysctl(**{"net__bridge__bridge-nf-call-iptables": 1, "net__bridge__bridge-nf-call-ip6tables": 1})
        for pod in node.pods:
            self.connect_pod(pod)
        for version, tool, cidr, cluster_ip, endpoints in (
                (4, "iptables-restore", f"10.42.{node.subnet}.0/24", CLUSTER_IP, [pod.address for pod in node.pods]),
                (6, "ip6tables-restore", f"fd00:42:0:{node.subnet}::/64", CLUSTER_IP6,
                 [pod.address6 for pod in node.pods])):
            node.run(tool, stdin=rules.kubernetes(version, cidr, cluster_ip, endpoints, 8000))

    def connect_pod(self, pod: Pod, mac: str = "") -> None:
        """Its veth, with this MAC from the first moment (by default one made from its number), addresses and routes."""
        node, number = pod.node, int(pod.address.rsplit(".", 1)[1])
        mtu = f"mtu {self.pod_mtu}"
        own = mac or _mac(number, 0x42, node.number)
        node.ip(f"link add {pod.veth} {mtu} type veth peer name eth0 address {own} {mtu} netns {pod.name}")
        if self.pod_style == "bridge":
            # As flannel's configuration of the bridge plug-in: hairpin mode, the bridge is the default gateway.
            node.ip(f"link set {pod.veth} master cni0 up", f"link set {pod.veth} type bridge_slave hairpin on")
            pod.ip("link set eth0 up", f"addr add {pod.address}/24 dev eth0", f"addr add {pod.address6}/64 dev eth0 nodad",
                   f"route add default via 10.42.{node.subnet}.1",
                   f"route add ::/0 via fd00:42:0:{node.subnet}::1")
        else:
            # As Calico: a host route per pod, and a gateway that exists only as the veth's own link-local address.
            node.ip(f"link set {pod.veth} address ee:ee:ee:ee:ee:ee", f"link set {pod.veth} up",
                    f"route add {pod.address} dev {pod.veth} scope link", f"route add {pod.address6} dev {pod.veth}")
            node.sysctl(**{f"net__ipv4__conf__{pod.veth}__proxy_arp": 1})
            pod.ip("link set eth0 up", f"addr add {pod.address}/32 dev eth0", f"addr add {pod.address6}/128 dev eth0 nodad",
                   "route add 169.254.1.1 dev eth0 scope link", "route add default via 169.254.1.1 dev eth0",
                   "route add ::/0 via fe80::ecee:eeff:feee:eeee dev eth0")

    def _make_native(self, *interfaces: tuple[Namespace, str]) -> None:
        """What veths ask of native XDP, and real NICs do not: XDP loses the mark that a checksum is still to be
        computed, so senders compute theirs."""
        for host, interface in interfaces:
            host.offloads(interface, "tx", "off")

    def _make_nodes_native(self, *nodes: Node) -> None:
        """And a frame that a veth's XDP program sends back is taken by the other end only if that runs a program too."""
        self._make_native(*((host, "eth0") for node in nodes for host in (node, *node.pods)))
        program = bpf.load_constant(bpf.PROG_TYPE_XDP, bpf.XDP_PASS, "far_end")
        pinned = BPFFS / f"xlb-{self.name}-far-end"
        try:
            bpf.pin(program, str(pinned))
            for node in nodes:
                self.switch.run("ip", "link", "set", "dev", node.role, "xdpdrv", "pinned", str(pinned))
        finally:
            pinned.unlink(missing_ok=True)
            os.close(program)


# -- the machine -------------------------------------------------------------------------------------------------


def down(name: str) -> None:
    """Takes away whatever carries the name: processes in its namespaces, namespaces, pins, cgroups, files."""
    if not _NAME.match(name):
        raise ValueError(f"lab name {name!r}: one to sixteen letters a-z and digits")
    prefix = f"xlb-{name}-"
    unified = cgroup2_mount()
    cgroups = [*_named(unified, prefix)] if unified else []
    # First, since a process that is just being started is in its cgroup before it is in its namespace.
    for path in cgroups:
        _kill_cgroup(path)
    for path in _named("/run/netns", prefix):
        Namespace(name, path.name.removeprefix(prefix)).remove()
    for path in _named(BPFFS, prefix):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in cgroups:
        _remove_cgroup(path)
    for place in {STATE, SYNCED}:
        shutil.rmtree(place / name, ignore_errors=True)


def labs() -> list[dict]:
    """The labs that are up, as they were recorded."""
    found = []
    for record in sorted(STATE.glob("*/lab.json")):
        with contextlib.suppress(ValueError, OSError):
            lab = json.loads(record.read_text())
            if os.path.exists(f"/run/netns/xlb-{lab['name']}-router"):  # a reboot leaves the record only
                found.append(lab)
    return found


def cgroup2_mount() -> Path | None:
    """Where cgroup2 is mounted: /sys/fs/cgroup, or beneath it in hybrid layouts."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    return None


def mount_bpffs() -> None:
    if not any(line.split()[1:3] == [str(BPFFS), "bpf"] for line in Path("/proc/mounts").read_text().splitlines()):
        done = subprocess.run(["mount", "-t", "bpf", "bpf", str(BPFFS)], capture_output=True, text=True)
        if done.returncode != 0:
            raise CommandFailed(f"no bpffs at {BPFFS} and mounting one failed: {done.stderr.strip()}")


def _named(directory: Path | str, prefix: str) -> Iterable[Path]:
    with contextlib.suppress(FileNotFoundError):
        yield from sorted(path for path in Path(directory).iterdir() if path.name.startswith(prefix))


def _pids_in(path: Path) -> list[int]:
    """Processes in a cgroup and beneath it."""
    pids: list[int] = []
    with contextlib.suppress(OSError):  # a cgroup may go meanwhile
        for procs in path.rglob("cgroup.procs"):
            pids += map(int, procs.read_text().split())
    return pids


def _kill_cgroup(path: Path) -> None:
    """Everything in it: all of it was put there by the lab."""
    for pid in _pids_in(path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _remove_cgroup(path: Path, patience: float = 30) -> None:
    """Inner ones first. A killed process takes a moment to leave, and one that was being started may yet enter."""
    deadline = time.monotonic() + patience
    while path.exists():
        _kill_cgroup(path)
        try:
            for inner in sorted((p for p in path.rglob("*") if p.is_dir()), reverse=True):
                inner.rmdir()
            path.rmdir()
        except FileNotFoundError:
            continue  # somebody else takes it away too
        except OSError as busy:
            if time.monotonic() > deadline:
                raise CommandFailed(f"cgroup {path} cannot be removed, processes {_pids_in(path)} stay in it: {busy}") from None
            time.sleep(0.02)


def _mac(tail: int, group: int = 0, number: int = 0) -> str:
    return f"02:00:00:{group:02x}:{number:02x}:{tail:02x}"


def _create(host: Namespace) -> None:
    """A lab has nobody to detect duplicates of or to take prefixes from; waiting for either costs seconds."""
    host.create()
    host.sysctl(net__ipv6__conf__all__accept_dad=0, net__ipv6__conf__default__accept_dad=0,
                net__ipv6__conf__default__accept_ra=0, net__ipv6__conf__default__router_solicitations=0)


def _many_connections(host: Namespace) -> None:
    """Room for tens of thousands of short connections from one address; ports that stories choose themselves are left to them."""
    host.sysctl(net__ipv4__ip_local_port_range="1024 65000", net__ipv4__tcp_tw_reuse=1,
                net__ipv4__ip_local_reserved_ports="20000-22000,41000-46000")
