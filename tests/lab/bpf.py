# SPDX-License-Identifier: Apache-2.0
"""The few bpf(2) calls a lab needs and no tool offers without an object file.

A foreign program must be on an interface before xdp-lb comes, and a veth only returns what XDP sends back when
its far end runs an XDP program too. Two instructions ("r0 = verdict; exit") do for both, so no compiler is asked.
"""

from __future__ import annotations

import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_SYS_BPF = {"x86_64": 321, "aarch64": 280}[os.uname().machine]

_MAP_LOOKUP, _MAP_NEXT_KEY, _PROG_LOAD, _OBJ_PIN, _OBJ_GET, _LINK_CREATE = 1, 4, 5, 6, 7, 28

PROG_TYPE_SCHED_CLS, PROG_TYPE_XDP = 3, 6
ATTACH_TCX_INGRESS, ATTACH_XDP = 46, 37
XDP_PASS, XDP_FLAGS_SKB_MODE, XDP_FLAGS_DRV_MODE = 2, 1 << 1, 1 << 2
TC_ACT_UNSPEC = -1


def _bpf(command: int, attributes: bytes) -> int:
    buffer = ctypes.create_string_buffer(attributes, 160)
    result = _libc.syscall(_SYS_BPF, command, buffer, 160)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf command {command}: {os.strerror(number)}")
    return result


def load_constant(program_type: int, verdict: int, name: str, attach_type: int = 0) -> int:
    """A descriptor of a program that answers `verdict` to every packet."""
    code = struct.pack("<BBhi", 0xB7, 0, 0, verdict) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    code_buffer = ctypes.create_string_buffer(code)
    licence = ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "<IIQQIIQII16sII",
        program_type, 2, ctypes.addressof(code_buffer), ctypes.addressof(licence),
        0, 0, 0, 0, 0, name.encode()[:15], 0, attach_type,
    )
    return _bpf(_PROG_LOAD, attributes)


def pin(descriptor: int, path: str) -> None:
    path_buffer = ctypes.create_string_buffer(path.encode())
    _bpf(_OBJ_PIN, struct.pack("<QI", ctypes.addressof(path_buffer), descriptor))


def open_pin(path: str) -> int:
    """A descriptor of what is pinned there."""
    path_buffer = ctypes.create_string_buffer(path.encode())
    return _bpf(_OBJ_GET, struct.pack("<Q", ctypes.addressof(path_buffer)))


def look_up(table: int, key: bytes, value_size: int) -> bytes:
    """The value under a key of a table that is not per CPU."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    value = ctypes.create_string_buffer(value_size)
    _bpf(_MAP_LOOKUP, struct.pack("<IIQQQ", table, 0, ctypes.addressof(key_buffer), ctypes.addressof(value), 0))
    return value.raw


def rows(table: int, key_size: int, value_size: int) -> dict[bytes, bytes]:
    """Every row of a hash table that is not per CPU."""
    found: dict[bytes, bytes] = {}
    key, after = ctypes.create_string_buffer(key_size), ctypes.create_string_buffer(key_size)
    place = 0
    while True:
        try:
            _bpf(_MAP_NEXT_KEY, struct.pack("<IIQQQ", table, 0, place, ctypes.addressof(after), 0))
        except FileNotFoundError:
            return found
        found[after.raw] = look_up(table, after.raw, value_size)
        key.raw = after.raw
        place = ctypes.addressof(key)


def link(program: int, ifindex: int, attach_type: int, flags: int = 0) -> int:
    """A link descriptor; the program stays attached as long as somebody holds it."""
    return _bpf(_LINK_CREATE, struct.pack("<IIII", program, ifindex, attach_type, flags))
