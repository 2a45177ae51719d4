# SPDX-License-Identifier: Apache-2.0
"""What clients do, and what they see: requests, load, pings, ARP and ND asked by hand, frames listened to."""

from __future__ import annotations

import collections
import contextlib
import datetime
import errno
import ipaddress
import os
import select
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import Callable, Iterator

from .namespace import Namespace, family_of

ETH_ARP, ETH_IP, ETH_IPV6 = 0x0806, 0x0800, 0x86DD
BROADCAST = b"\xff" * 6

_TLS = ssl.create_default_context()
_TLS.check_hostname = False
_TLS.verify_mode = ssl.CERT_NONE


# -- HTTP --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What the ingress in a pod says: which pod it is, and whom it saw."""
    pod: str
    client: str


def http(host: Namespace, address: str, port: int = 80, *, tls: bool = False, source_port: int = 0, source: str = "",
         timeout: float = 5) -> Answer:
    """One request on one connection, which the server closes."""
    connection = host.connect(address, port, source_port, source, timeout)
    try:
        if tls:
            connection = _TLS.wrap_socket(connection)
        connection.sendall(b"GET / HTTP/1.0\r\nHost: lab\r\n\r\n")
        text = _read_all(connection)
    finally:
        connection.close()
    head, _, body = text.partition("\r\n\r\n")
    if " 200" not in head.split("\r\n")[0]:
        raise ConnectionError(f"answer {text[:80]!r}")
    pod, client = body.split()
    return Answer(pod, client.removeprefix("::ffff:"))


def _read_all(connection: socket.socket) -> str:
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    return b"".join(parts).decode()


@dataclass
class Load:
    """Short HTTP connections from several threads; every one that fails is kept by its reason."""
    host: Namespace
    address: str
    port: int = 80
    threads: int = 4
    limit: int | None = None
    timeout: float = 5
    pause: float = 0  # seconds of each thread between two connections: an evenly spread limit instead of a burst
    done: int = 0
    slowest: float = 0
    seconds: float = 0
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    pods: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)  # the first of them: when, after how long
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: bool = False
    _begun: int = 0
    _workers: list[threading.Thread] = field(default_factory=list)

    def start(self) -> Load:
        self._since = time.monotonic()
        self._workers = [threading.Thread(target=self._work, daemon=True) for _ in range(self.threads)]
        for worker in self._workers:
            worker.start()
        return self

    def stop(self) -> Load:
        self._stopped = True
        return self.wait()

    def wait(self) -> Load:
        for worker in self._workers:
            worker.join()
        self.seconds = time.monotonic() - self._since
        return self

    def _take(self) -> bool:
        with self._lock:
            if self._stopped or (self.limit is not None and self._begun >= self.limit):
                return False
            self._begun += 1
            return True

    def _work(self) -> None:
        while self._take():
            since = time.monotonic()
            try:
                pod = http(self.host, self.address, self.port, timeout=self.timeout).pod
            except (OSError, ValueError) as problem:
                with self._lock:
                    self.errors[f"{type(problem).__name__}: {problem}"] += 1
                    if len(self.failures) < 5:
                        self.failures.append(f"{datetime.datetime.now():%T.%f}, {(time.monotonic() - since) * 1000:.1f} ms after it began")
            else:
                with self._lock:
                    self.done += 1
                    self.pods[pod] += 1
                    self.slowest = max(self.slowest, time.monotonic() - since)
            time.sleep(self.pause)

    def __str__(self) -> str:
        rate = self.done / self.seconds if self.seconds else 0
        return (f"{self.done} done ({rate:.0f}/s, slowest {self.slowest * 1000:.0f} ms), "
                f"{sum(self.errors.values())} failed {dict(self.errors) or ''} {'; '.join(self.failures)}")


# -- UDP ---------------------------------------------------------------------------------------------------------


def exchange(udp: socket.socket, data: bytes) -> bytes:
    """Sends and waits for an answer. Who is told that the path takes less sends once more, as every client does.

    IPv6 datagrams are not cut by routers, so the first long one to a pod with a smaller MTU is always lost that way.
    """
    for _ in range(3):
        try:
            udp.send(data)
            return udp.recv(65535)
        except OSError as problem:
            if problem.errno != errno.EMSGSIZE:
                raise
    raise AssertionError(f"{len(data)} bytes are too long however often they are sent")


# -- ping, ARP, ND by hand ---------------------------------------------------------------------------------------


def ping(host: Namespace, address: str, size: int = 56, timeout: float = 1) -> bool:
    """One ICMP echo; True when the right answer came from the right address."""
    six = family_of(address) == socket.AF_INET6
    raw = host.socket(family_of(address), socket.SOCK_RAW,
                      socket.IPPROTO_ICMPV6 if six else socket.IPPROTO_ICMP)
    identifier, payload = os.getpid() & 0xFFFF, os.urandom(size)
    head = struct.pack("!BBHHH", 128 if six else 8, 0, 0, identifier, 1)
    if not six:  # the kernel computes ICMPv6 checksums itself
        head = head[:2] + struct.pack("!H", checksum(head + payload)) + head[4:]
    with raw:
        raw.connect((address, 0))
        raw.send(head + payload)
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if not select.select([raw], [], [], left)[0]:
                break
            data = raw.recv(65535)
            if not six:
                data = data[(data[0] & 15) * 4:]
            if data[0] == (129 if six else 0) and data[4:6] == head[4:6] and data[8:] == payload:
                return True
    return False


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def mac_bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def mac_text(raw: bytes) -> str:
    return raw.hex(":")


@dataclass(frozen=True)
class Arp:
    """An ARP frame as it was on the wire."""
    at: float
    destination: str
    operation: int
    sender_mac: str
    sender: str
    target_mac: str
    target: str

    @staticmethod
    def parse(frame: bytes, at: float) -> Arp | None:
        if len(frame) < 42 or frame[12:14] != b"\x08\x06":
            return None
        return Arp(at, mac_text(frame[:6]), int.from_bytes(frame[20:22], "big"), mac_text(frame[22:28]),
                   socket.inet_ntoa(frame[28:32]), mac_text(frame[32:38]), socket.inet_ntoa(frame[38:42]))


def arp_frame(source_mac: str, operation: int, sender: str, target: str, *, target_mac: str = "00:00:00:00:00:00",
              destination: bytes = BROADCAST) -> bytes:
    own = mac_bytes(source_mac)
    return (destination + own + b"\x08\x06\x00\x01\x08\x00\x06\x04" + operation.to_bytes(2, "big") + own
            + socket.inet_aton(sender) + mac_bytes(target_mac) + socket.inet_aton(target))


def who_has(host: Namespace, address: str, sender: str, *, interface: str = "eth0", timeout: float = 0.5) -> list[str]:
    """Asks by ARP (sender 0.0.0.0: a probe) and returns the MACs of everybody who answered."""
    own = host.mac(interface)
    macs: list[str] = []
    with host.packets(interface, ETH_ARP) as raw:
        raw.send(arp_frame(own, 1, sender, address))
        for frame, at in _frames(raw, timeout):
            arp = Arp.parse(frame, at)
            if arp and arp.operation == 2 and arp.sender == address and arp.sender_mac not in macs:
                macs.append(arp.sender_mac)
    return macs


def solicit(host: Namespace, address: str, source: str, *, interface: str = "eth0", option: bool = True,
            timeout: float = 0.5) -> list[tuple[str, int]]:
    """Asks by neighbour solicitation; returns (MAC, flags) of each advertisement. RFC 4861, 4.3 and 4.4."""
    own, target = mac_bytes(host.mac(interface)), socket.inet_pton(socket.AF_INET6, address)
    group = socket.inet_pton(socket.AF_INET6, "ff02::1:ff00:0")[:13] + target[13:]
    body = b"\x87\0\0\0\0\0\0\0" + target + (b"\x01\x01" + own if option else b"")
    packet_source = socket.inet_pton(socket.AF_INET6, source)
    pseudo = packet_source + group + struct.pack("!I3xB", len(body), 58)
    body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
    frame = (b"\x33\x33" + group[12:] + own + b"\x86\xdd" + struct.pack("!IHBB", 6 << 28, len(body), 58, 255)
             + packet_source + group + body)
    answers: list[tuple[str, int]] = []
    with host.packets(interface, ETH_IPV6) as raw:
        raw.send(frame)
        for data, _ in _frames(raw, timeout):
            if len(data) >= 78 and data[20] == 58 and data[54] == 136 and data[62:78] == target:
                answers.append((mac_text(data[6:12]), data[58]))
    return answers


def _frames(raw: socket.socket, timeout: float) -> Iterator[tuple[bytes, float]]:
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        if select.select([raw], [], [], left)[0]:
            with contextlib.suppress(OSError):
                yield raw.recv(65535), time.monotonic()


class Listener:
    """Keeps every frame of one kind that a host sees, with its time, until it is closed."""

    def __init__(self, host: Namespace, ethertype: int, interface: str = "eth0") -> None:
        self.frames: list[tuple[float, bytes]] = []
        self._raw = host.packets(interface, ethertype)
        self._closed = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while not self._closed:
            for frame, at in _frames(self._raw, 0.1):
                self.frames.append((at, frame))

    def arps(self, sender: str) -> list[Arp]:
        parsed = (Arp.parse(frame, at) for at, frame in list(self.frames))
        return [arp for arp in parsed if arp and arp.sender == sender]

    def advertisements(self, target: str) -> list[tuple[float, str, int]]:
        """(time, source MAC, flags) of neighbour advertisements for an address."""
        wanted = ipaddress.IPv6Address(target).packed
        return [(at, mac_text(frame[6:12]), frame[58]) for at, frame in list(self.frames)
                if len(frame) >= 78 and frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == 136
                and frame[62:78] == wanted]

    def close(self) -> None:
        self._closed = True
        self._thread.join()
        self._raw.close()

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# -- time --------------------------------------------------------------------------------------------------------


def eventually(what: str, condition: Callable[[], object], within: float = 15, every: float = 0.05) -> object:
    """Waits for a condition; an AssertionError (or any OSError) inside it counts as not yet."""
    deadline = time.monotonic() + within
    last: BaseException | None = None
    while True:
        try:
            value = condition()
        except (AssertionError, OSError) as problem:
            value, last = None, problem
        if value:
            return value
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {within} s: {what}" + (f" ({last})" if last else ""))
        time.sleep(every)
