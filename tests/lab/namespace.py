# SPDX-License-Identifier: Apache-2.0
"""One network namespace of a lab: commands, processes and sockets inside it.

`nsenter --net=` is used, never `ip netns exec` or `ip -n`: those mount a /sys of their own, which hides bpffs, and
cannot do so in a chroot.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shlex
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Iterator, Sequence

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000

# Enters the cgroup before the program starts, so that not even its first socket is made outside.
_IN_CGROUP = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


class CommandFailed(AssertionError):
    """A command of the lab ended with an error that nobody expected."""


class Namespace:
    def __init__(self, lab_name: str, role: str, cgroup: Path | None = None) -> None:
        self.role = role
        self.name = f"xlb-{lab_name}-{role}"
        self.cgroup = cgroup
        self.environment: dict[str, str] = {}
        self.processes: list[subprocess.Popen[str]] = []

    def __repr__(self) -> str:
        return self.role

    @property
    def path(self) -> str:
        return f"/run/netns/{self.name}"

    def up(self) -> bool:
        return os.path.exists(self.path)

    # -- life ----------------------------------------------------------------------------------------------------

    def create(self) -> None:
        _host("ip", "netns", "add", self.name)
        self.ip("link set lo up")

    def remove(self) -> None:
        """Ends what runs inside (by pid), then the namespace; safe to repeat."""
        for process in self.processes:
            stop(process)
        self.processes.clear()
        if not os.path.exists(self.path):
            return
        deadline = time.monotonic() + 30
        while pids := self.pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            if time.monotonic() > deadline:
                raise CommandFailed(f"{self.role}: processes {pids} do not end")
            time.sleep(0.02)
        _host("ip", "netns", "del", self.name, check=False)

    def pids(self) -> list[int]:
        """Everything that runs inside, but for this process, of which a thread may be there."""
        out = _host("ip", "netns", "pids", self.name, check=False).stdout
        return [pid for pid in map(int, out.split()) if pid != os.getpid()]

    # -- commands ------------------------------------------------------------------------------------------------

    def argv(self, command: Sequence[str]) -> list[str]:
        argv = ["nsenter", f"--net={self.path}", "--", *map(str, command)]
        if self.cgroup is not None:
            argv = ["/bin/sh", "-c", _IN_CGROUP, str(self.cgroup), *argv]
        return argv

    def run(self, *command: str, check: bool = True, stdin: str | None = None, timeout: float = 60,
            env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        try:
            done = subprocess.run(self.argv(command), input=stdin, capture_output=True, text=True, timeout=timeout,
                                  env={**os.environ, **self.environment, **(env or {})}, errors="replace",
                                  stdin=subprocess.DEVNULL if stdin is None else None)
        except subprocess.TimeoutExpired as late:
            said = "".join(part.decode(errors="replace") if isinstance(part, bytes) else part
                           for part in (late.stdout, late.stderr) if part)
            raise CommandFailed(f"{self.role}: `{shlex.join(map(str, command))}` did not end within {timeout} s; "
                                f"it had said: {said.strip() or 'nothing'}") from None
        if check and done.returncode != 0:
            raise CommandFailed(f"{self.role}: `{shlex.join(map(str, command))}` exited {done.returncode}: "
                                f"{(done.stderr + done.stdout).strip()}")
        return done

    def start(self, *command: str, stdout: int | Path = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """A process that lives until it is stopped or the lab goes down."""
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(open(stdout, "a")) if isinstance(stdout, Path) else stdout
            process = subprocess.Popen(self.argv(command), stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=subprocess.STDOUT if out != subprocess.PIPE else subprocess.DEVNULL,
                                       env={**os.environ, **self.environment}, text=True)
        self.processes.append(process)
        return process

    def ip(self, *lines: str) -> None:
        """Lines for `ip -batch`: one process however many there are."""
        done = subprocess.run(["nsenter", f"--net={self.path}", "ip", "-batch", "-"], input="\n".join(lines), text=True,
                              capture_output=True)
        if done.returncode != 0:
            raise CommandFailed(f"{self.role}: ip {'; '.join(lines)}: {done.stderr.strip()}")

    def ip_json(self, *arguments: str) -> list[dict]:
        out = _host("nsenter", f"--net={self.path}", "ip", "-j", *arguments).stdout
        return json.loads(out) if out.strip() else []

    def sysctl(self, **settings: object) -> None:
        """Dots are spelled `__`: sysctl(net__ipv4__ip_forward=1)."""
        with self.entered():
            for key, value in settings.items():
                Path("/proc/sys", *key.split("__")).write_text(str(value))

    def offloads(self, interface: str, *settings: str) -> None:
        self.run("ethtool", "-K", interface, *settings)

    # -- facts ---------------------------------------------------------------------------------------------------

    def mac(self, interface: str = "eth0") -> str:
        return self.ip_json("link", "show", interface)[0]["address"]

    def ifindex(self, interface: str = "eth0") -> int:
        with self.entered():
            return socket.if_nametoindex(interface)

    def neighbour(self, address: str) -> dict | None:
        """What this host believes about a neighbour, or None."""
        for entry in self.ip_json("neigh", "show"):
            if entry.get("dst") == address:
                return entry
        return None

    def forget_neighbours(self) -> None:
        self.run("ip", "neigh", "flush", "all", check=False)

    # -- sockets -------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """This thread inside the namespace: a socket made here stays here for ever, wherever it is used."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            there = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                _setns(there)
            finally:
                os.close(there)
            try:
                yield
            finally:
                _setns(own)
        finally:
            os.close(own)

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        with self.entered():
            return socket.socket(family, kind, protocol)

    def connect(self, address: str, port: int, source_port: int = 0, source: str = "",
                timeout: float = 5) -> socket.socket:
        """A TCP connection; the caller closes it."""
        tcp = self.socket(family_of(address), socket.SOCK_STREAM)
        try:
            tcp.settimeout(timeout)
            if source_port or source:
                tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tcp.bind((source, source_port))
            tcp.connect((address, port))
        except BaseException:
            tcp.close()
            raise
        return tcp

    def udp(self, address: str, port: int, timeout: float = 3, source_port: int = 0) -> socket.socket:
        """A connected UDP socket, so that ICMP errors come back as exceptions."""
        udp = self.socket(family_of(address), socket.SOCK_DGRAM)
        udp.settimeout(timeout)
        if source_port:
            udp.bind(("", source_port))
        udp.connect((address, port))
        return udp

    def listen(self, address: str, port: int, backlog: int = 512) -> socket.socket:
        tcp = self.socket(family_of(address), socket.SOCK_STREAM)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tcp.bind((address, port))
        tcp.listen(backlog)
        return tcp

    def packets(self, interface: str, ethertype: int) -> socket.socket:
        """A packet socket; sees what a real NIC would put on the wire or take from it."""
        raw = self.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ethertype))
        raw.bind((interface, ethertype))
        return raw


def family_of(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def stop(process: subprocess.Popen[str], number: int = signal.SIGTERM, patience: float = 2) -> None:
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
    if process.stdout is not None:
        process.stdout.close()


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def _host(*command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise CommandFailed(f"`{shlex.join(command)}` exited {done.returncode}: {done.stderr.strip()}")
    return done
