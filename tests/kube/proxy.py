#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Between the daemon and a real API server: everything that can go wrong on that way, when it is asked for.

It ends the daemon's TLS with a certificate of the cluster's authority, asks the server over TLS of its own, and speaks HTTP/1.1
to both, a connection of the server for each request. Watches go through it line by line, which is where they can be cut, spoilt,
held back, doubled, swapped and lost.

    proxy.py PORT SERVER_PORT CA CERTIFICATE KEY

Run by `FaultProxy` below, in the namespace of the control plane; orders come as lines of JSON on stdin, what is seen goes out
as lines of JSON on stdout. Orders: {"faults": {…}} exchanges what is wrong from now on, {"hang_up": true} cuts every connection
that is open, {"certificate": [CERTIFICATE, KEY]} shows another one, {"stop_writes": {…}} and {"go": NUMBER} are about writes.

Faults, each absent unless it is there (all about what begins after the order, watches in progress included):

    only        only paths with this in them
    status      lists and watches are answered with this status code; `retry_after`: with that header
    event       the first line of a watch is an ERROR event with this code
    token       is shown to the server instead of the daemon's
    slow        seconds that an answer takes to begin, and each line of a watch
    lines       what happens to the lines of watches: cut, garbage, endless, silent, double, swap, lose
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import subprocess
import sys
import threading
import queue
from pathlib import Path
from typing import Callable

SERVER = "127.0.0.1"


class Gone(Exception):
    """One of the two sides has gone."""


class Faults:
    def __init__(self, wanted: dict) -> None:
        self.only: str = wanted.get("only", "")
        self.status: int = wanted.get("status", 0)
        self.retry_after: int = wanted.get("retry_after", 0)
        self.event: int = wanted.get("event", 0)
        self.token: str = wanted.get("token", "")
        self.slow: float = wanted.get("slow", 0)
        self.lines: str = wanted.get("lines", "")


class Head:
    """A request's first lines, or an answer's."""

    def __init__(self, raw: bytes) -> None:
        first, *rest = raw.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        self.first = first
        self.fields = [line.split(": ", 1) if ": " in line else [line.rstrip(":"), ""] for line in rest]

    def get(self, name: str) -> str:
        return next((value for field, value in self.fields if field.lower() == name), "")

    def without(self, *names: str) -> list[list[str]]:
        return [field for field in self.fields if field[0].lower() not in names]

    @staticmethod
    def text(first: str, fields: list[list[str]]) -> bytes:
        return (first + "\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n").encode("latin-1")


class Proxy:
    def __init__(self, server_port: int, ca: str, certificate: str, key: str) -> None:
        self.server_port = server_port
        self.to_server = ssl.create_default_context(cafile=ca)
        self.to_server.check_hostname = False
        self.from_daemon = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.from_daemon.load_cert_chain(certificate, key)
        self.from_daemon.set_alpn_protocols(["http/1.1"])
        self.faults = Faults({})
        self.open: set[asyncio.StreamWriter] = set()
        self.random = random.Random(1)
        self.stop_writes: dict = {}
        self.writes = 0
        self.waiting: dict[int, asyncio.Future[bool]] = {}

    def say(self, **what: object) -> None:
        print(json.dumps(what), flush=True)

    def order(self, said: dict) -> None:
        if "faults" in said:
            self.faults = Faults(said["faults"])
        if "certificate" in said:
            self.from_daemon.load_cert_chain(*said["certificate"])
        if "stop_writes" in said:
            self.stop_writes, self.writes = said["stop_writes"], 0
        if "go" in said and said["go"] in self.waiting:
            self.waiting.pop(said["go"]).set_result(bool(said.get("forward", True)))
        if said.get("hang_up"):
            for writer in list(self.open):
                writer.transport.abort()
        self.say(done=said)

    def concerned(self, path: str) -> Faults:
        return self.faults if self.faults.only in path else Faults({})

    # -- one connection of the daemon ----------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open.add(writer)
        try:
            while True:
                head = Head(await reader.readuntil(b"\r\n\r\n"))
                body = await reader.readexactly(int(head.get("content-length") or 0))
                await self.pass_on(head, body, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, Gone, asyncio.LimitOverrunError):
            pass
        finally:
            self.open.discard(writer)
            writer.transport.abort()

    async def pass_on(self, head: Head, body: bytes, writer: asyncio.StreamWriter) -> None:
        method, path, _ = head.first.split(" ")
        faults = self.concerned(path)
        if faults.slow:
            await asyncio.sleep(faults.slow)
        if method == "GET" and faults.status:
            return await self.refuse(faults, writer)
        number = self.counted(method, path, body)
        if number and not await self.held(number, method, path, "before"):
            raise Gone
        fields = head.without("connection", "accept-encoding", *(["authorization"] if faults.token else []))
        if faults.token:
            fields.append(["Authorization", f"Bearer {faults.token}"])
        try:
            server, to_server = await asyncio.open_connection(SERVER, self.server_port, ssl=self.to_server, server_hostname=None,
                                                              limit=64 << 20)
        except OSError:
            raise Gone from None
        self.open.add(to_server)  # what hangs up hangs up on both sides
        try:
            to_server.write(Head.text(head.first, [*fields, ["Connection", "close"]]) + body)
            answer = Head(await server.readuntil(b"\r\n\r\n"))
            if method == "GET" and "watch=1" in path and " 200 " in answer.first + " ":
                await self.watch(path, answer, server, writer)
            else:
                content = await self.content(answer, server)
                if number and not await self.held(number, method, path, "after"):
                    raise Gone
                writer.write(Head.text(answer.first, [*answer.without("connection", "transfer-encoding", "content-length"),
                                                      ["Content-Length", str(len(content))]]) + content)
                await writer.drain()
        finally:
            self.open.discard(to_server)
            to_server.transport.abort()

    async def content(self, answer: Head, server: asyncio.StreamReader) -> bytes:
        if answer.get("transfer-encoding") != "chunked":
            length = answer.get("content-length")
            return await server.readexactly(int(length)) if length else await server.read()
        content = b""
        while chunk := await self.chunk(server):
            content += chunk
        return content

    @staticmethod
    async def chunk(server: asyncio.StreamReader) -> bytes:
        size = int((await server.readline()).strip() or b"0", 16)
        chunk = await server.readexactly(size)
        await server.readline()
        return chunk

    async def refuse(self, faults: Faults, writer: asyncio.StreamWriter) -> None:
        said = json.dumps({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": faults.status,
                           "reason": "Expired" if faults.status == 410 else "Injected", "message": "as the test wants it"}).encode()
        fields = [["Content-Type", "application/json"], ["Content-Length", str(len(said))]]
        if faults.retry_after:
            fields.append(["Retry-After", str(faults.retry_after)])
        writer.write(Head.text(f"HTTP/1.1 {faults.status} Injected", fields) + said)
        await writer.drain()

    # -- watches -------------------------------------------------------------------------------------------------------

    async def watch(self, path: str, answer: Head, server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(Head.text(answer.first, [*answer.without("connection", "transfer-encoding"), ["Transfer-Encoding", "chunked"]]))

        async def send(data: bytes) -> None:
            writer.write(b"%x\r\n" % len(data) + data + b"\r\n")
            await writer.drain()

        if event := self.concerned(path).event:
            status = {"kind": "Status", "code": event, "reason": "Expired", "message": "as the test wants it"}
            await send(json.dumps({"type": "ERROR", "object": status}).encode() + b"\n")
        held: bytes | None = None  # a line that waits for the next one
        rest = b""
        while chunk := await self.chunk(server):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                line += b"\n"
                faults = self.concerned(path)
                if faults.slow:
                    await asyncio.sleep(faults.slow)
                if faults.lines != "swap" and held is not None:
                    await send(held)
                    held = None
                if faults.lines == "swap":
                    if held is None:
                        held = line
                        continue
                    await send(line)
                    line, held = held, None
                elif faults.lines == "cut":
                    await send(line[:self.random.randrange(len(line))] or b"\n")
                    raise Gone
                elif faults.lines == "garbage":
                    await send(self.random.choice((b'{"type":"MODIFIED","object":{"metadata":\n', b"\x00\xff\xfe<html>\n",
                                                   b'{"type":"ADDED","object":{}}\n', b"[]\n", line[:len(line) // 2] + b"\n")))
                elif faults.lines == "endless":
                    for _ in range(1024):
                        await send(b"x" * 8192)
                elif faults.lines == "silent" or (faults.lines == "lose" and b'"BOOKMARK"' not in line):
                    continue
                elif faults.lines == "double":
                    await send(line)
                await send(line)
        if held is not None:
            await send(held)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    # -- writes --------------------------------------------------------------------------------------------------------

    def counted(self, method: str, path: str, body: bytes) -> int:
        """The number of a write that gives addresses or takes them away: Leases of addresses, and the status of Services; 0: it is
        none of these."""
        if not self.stop_writes or method == "GET":
            return 0
        place = path.split("?")[0]
        lease = "/leases/vip-" in place or (method == "POST" and place.endswith("/leases") and b'"vip-' in body)
        if not lease and not ("/services/" in place and place.endswith("/status")):
            return 0
        self.writes += 1
        return self.writes

    async def held(self, number: int, method: str, path: str, when: str) -> bool:
        """Waits for the order to go on where this is the write to stop at; false: it is lost."""
        if (number, when) != (self.stop_writes.get("number"), self.stop_writes.get("when")):
            return True
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.waiting[number] = future
        self.say(write=number, method=method, path=path, when=when)
        return await future

    # -- life ----------------------------------------------------------------------------------------------------------

    async def run(self, port: int) -> None:
        server = await asyncio.start_server(self.serve, "0.0.0.0", port, ssl=self.from_daemon, limit=1 << 20)
        orders = asyncio.StreamReader(limit=1 << 20)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
        self.say(ready=port)
        async with server:
            while line := await orders.readline():
                self.order(json.loads(line))


class FaultProxy:
    """The test's end of it."""

    def __init__(self, control, port: int = 6444) -> None:  # type: ignore[no-untyped-def]
        self.control, self.port = control, port
        self.url = f"https://{control.address}:{port}"
        folder = control.folder
        self.process = subprocess.Popen(
            control.host.argv([sys.executable, str(Path(__file__).resolve()), str(port), "6443", str(control.ca),
                               str(folder / "server.crt"), str(folder / "server.key")]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=open(folder / "proxy.log", "a"), text=True)
        control.host.processes.append(self.process)
        self._said: queue.Queue[dict] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.hears(lambda said: "ready" in said, "the proxy is ready")

    def _read(self) -> None:
        for line in self.process.stdout:
            self._said.put(json.loads(line))

    def hears(self, condition: Callable[[dict], object], what: str, within: float = 30) -> dict:
        while True:
            try:
                said = self._said.get(timeout=within)
            except queue.Empty:
                log = (self.control.folder / "proxy.log").read_text()[-1000:]
                raise AssertionError(f"not within {within} s: {what}; {log}") from None
            if condition(said):
                return said

    def order(self, **what: object) -> None:
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def faults(self, **wanted: object) -> None:
        """From now on, for whatever begins anew, and for the lines of watches that are open."""
        self.order(faults=wanted)

    def hang_up(self) -> None:
        self.order(hang_up=True)

    def kubeconfig(self, path: Path) -> Path:
        """The same account, by way of the proxy."""
        content = json.loads(path.read_text())
        content["clusters"][0]["cluster"]["server"] = self.url
        other = path.with_name(f"proxy-{path.name}")
        other.write_text(json.dumps(content))
        other.chmod(0o600)
        return other


if __name__ == "__main__":
    proxy = Proxy(int(sys.argv[2]), *sys.argv[3:6])
    asyncio.run(proxy.run(int(sys.argv[1])))
