# SPDX-License-Identifier: Apache-2.0
"""What a node's tables hold, read from the kernel and from nobody else: rows of maps/abi.h."""

from __future__ import annotations

import contextlib
import ipaddress
import mmap
import os
import struct
from dataclasses import dataclass
from typing import Iterator

from . import bpf
from .lab import Node

LIVE, DRAINING = 0x1, 0x10  # lb_backend.flags
_MOST_BACKENDS = 256        # ids are given from the lowest on; labs have few


@dataclass(frozen=True)
class Backend:
    address: str
    port: int
    draining: bool


@dataclass(frozen=True)
class Tables:
    vips: frozenset[tuple[str, bool, int]]  # address, owned, number of healthy backends
    services: frozenset[bytes]              # keys and rows
    backends: frozenset[Backend]
    slots: bytes                            # of all services, by base

    def taking(self) -> set[str]:
        """Addresses of backends that take new flows."""
        return {backend.address for backend in self.backends if not backend.draining}

    def served(self) -> tuple:
        """Everything but who answers for it, which may move between nodes at any time."""
        return self.addresses(), self.services, self.backends, self.slots

    def addresses(self) -> set[str]:
        return {address for address, _, _ in self.vips}


@contextlib.contextmanager
def _opened(node: Node, name: str) -> Iterator[int]:
    table = bpf.open_pin(str(node.tables_dir / name))
    try:
        yield table
    finally:
        os.close(table)


def _address(raw: bytes) -> str:
    address = ipaddress.IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def read(node: Node) -> Tables:
    with _opened(node, "xlb_vips") as table:
        vips = frozenset((_address(key), row[:8] != bytes(8), struct.unpack("<I", row[28:32])[0])
                         for key, row in bpf.rows(table, 16, 32).items())
    with _opened(node, "xlb_services") as table:
        services = bpf.rows(table, 8, 32)
    backends = set()
    with _opened(node, "xlb_backends") as table:
        for number in range(1, _MOST_BACKENDS):
            row = bpf.look_up(table, struct.pack("<I", number), 40)
            flags = struct.unpack("<I", row[20:24])[0]
            if flags & LIVE:
                backends.add(Backend(_address(row[:16]), struct.unpack(">H", row[32:34])[0], bool(flags & DRAINING)))
    slots = b""
    ranges = {struct.unpack("<II", row[at:at + 8]) for row in services.values() for at in (8, 24)}
    if end := max((base + count for base, count in ranges), default=0):
        with _opened(node, "xlb_slots") as table, mmap.mmap(table, end * 8, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
            slots = b"".join(memory[base * 8:(base + count) * 8] for base, count in sorted(ranges))
    return Tables(vips, frozenset(key + row for key, row in services.items()), frozenset(backends), slots)
