# SPDX-License-Identifier: Apache-2.0
"""What runs in the pods: real ingresses (nginx, haproxy), and small servers for what those cannot do.

The small ones are threads of the calling process with sockets of the pod's namespace: nothing to start, nothing to
forget, and a story sees at once what its server saw.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from .lab import Lab, Pod
from .namespace import CommandFailed, Namespace, family_of, stop

HTTP_PORT, TLS_PORT = 8000, 8443


def certificate(lab: Lab) -> Path:
    """A self-signed certificate and its key in one file, made once a lab."""
    path = lab.directory / "tls.pem"
    if not path.exists():
        key = path.with_suffix(".key")
        done = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30",
             "-subj", "/CN=lab", "-addext", "subjectAltName=IP:192.168.0.200,IP:203.0.113.1", "-keyout", key, "-out", path],
            capture_output=True, text=True)
        if done.returncode != 0:
            raise CommandFailed(f"openssl: {done.stderr.strip()}")
        with path.open("a") as both:
            both.write(key.read_text())
        key.unlink()
    return path


@dataclass
class Ingress:
    """A running HTTP and TLS server."""
    process: subprocess.Popen[str]
    log: Path
    files: Path

    def clients(self) -> list[str]:
        """Client addresses as the ingress logged them, oldest first."""
        return [line.split()[0] for line in self.log.read_text().splitlines() if line.strip()]

    def stop(self) -> None:
        stop(self.process)


def nginx(lab: Lab, host: Namespace, http_port: int = HTTP_PORT, tls_port: int = TLS_PORT) -> Ingress:
    """The stand-in for Traefik. Answers `<pod> <client address>`, serves and takes files under /files/."""
    place = _place(lab, host, "nginx")
    files = place / "files"
    files.mkdir()
    log = place / "access.log"
    log.touch()
    pem = certificate(lab)
    text = (f"{{ default_type text/plain; return 200 '{host.role} $remote_addr\\n'; }}")
    configuration = place / "nginx.conf"
    configuration.write_text(f"""
daemon off; user root; worker_processes 1; pid {place}/nginx.pid; error_log {place}/error.log;
events {{ worker_connections 4096; }}
http {{
    log_format who '$remote_addr $server_port $status $request';
    access_log {log} who;
    client_body_temp_path {place}/body; proxy_temp_path {place}/proxy; fastcgi_temp_path {place}/fastcgi;
    uwsgi_temp_path {place}/uwsgi; scgi_temp_path {place}/scgi;
    client_max_body_size 0; keepalive_requests 1000000; keepalive_timeout 600; sendfile on;
    server {{
        listen {http_port} backlog=4096; listen [::]:{http_port} backlog=4096;
        listen {tls_port} ssl; listen [::]:{tls_port} ssl;
        ssl_certificate {pem}; ssl_certificate_key {pem};
        location / {text}
        location /files/ {{ root {place}; dav_methods PUT DELETE; }}
    }}
}}
""")
    process = host.start("nginx", "-c", str(configuration), "-e", str(place / "error.log"),
                         stdout=place / "output.log")
    _await_port(host, http_port, process, place)
    return Ingress(process, log, files)


def haproxy(lab: Lab, host: Namespace, http_port: int = HTTP_PORT, tls_port: int = TLS_PORT) -> Ingress:
    """The other ingress: another TCP stack user, with splicing and its own ideas of closing."""
    place = _place(lab, host, "haproxy")
    log = place / "access.log"
    log.touch()
    configuration = place / "haproxy.cfg"
    configuration.write_text(f"""
global
    maxconn 4096
    log stdout format raw local0
defaults
    mode http
    log global
    option dontlognull
    log-format "%ci %fp %ST %HM"
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend web
    bind :{http_port}
    bind :::{http_port} v6only
    bind :{tls_port} ssl crt {certificate(lab)}
    bind :::{tls_port} v6only ssl crt {certificate(lab)}
    http-request return status 200 content-type text/plain lf-string "{host.role} %[src]\\n"
""")
    process = host.start("haproxy", "-db", "-f", str(configuration), stdout=log)
    _await_port(host, http_port, process, place)
    return Ingress(process, log, place)


@dataclass
class Server:
    """Sockets of a pod served by threads until `close`."""
    sockets: list[socket.socket] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)
    peers: list[tuple[str, int]] = field(default_factory=list)
    closed: bool = False

    def serve(self, work: Callable[[], None]) -> None:
        def loop() -> None:
            while not self.closed:
                with contextlib.suppress(TimeoutError):
                    try:
                        work()
                    except OSError as problem:
                        # A peer's error (closed port, reset) is no reason to stop serving the others.
                        if self.closed or isinstance(problem, TimeoutError):
                            continue
                        time.sleep(0.01)
        thread = threading.Thread(target=loop, daemon=True)
        self.threads.append(thread)
        thread.start()

    def close(self) -> None:
        self.closed = True
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self.threads:
            thread.join(2)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def udp_echo(host: Namespace, port: int, address: str = "0.0.0.0", name: str = "") -> Server:
    """Sends every datagram back; with a name, that before it, so that a client knows who answered."""
    server = Server()
    udp = host.socket(family_of(address), socket.SOCK_DGRAM)
    udp.settimeout(0.2)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    udp.bind((address, port))
    server.sockets.append(udp)

    def answer() -> None:
        data, peer = udp.recvfrom(65535)
        server.peers.append(peer[:2])
        udp.sendto(name.encode() + data, peer)

    server.serve(answer)
    return server


def tcp_server(host: Namespace, port: int, talk: Callable[[socket.socket], None], address: str = "0.0.0.0") -> Server:
    """Runs `talk` in a thread of its own for every connection, which is closed when it returns."""
    server = Server()
    listener = host.listen(address, port)
    listener.settimeout(0.2)
    server.sockets.append(listener)

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(60)
            talk(connection)

    def accept() -> None:
        connection, peer = listener.accept()
        server.peers.append(peer[:2])
        server.sockets.append(connection)
        thread = threading.Thread(target=one, args=(connection,), daemon=True)
        thread.start()

    server.serve(accept)
    return server


def say_name(name: str) -> Callable[[socket.socket], None]:
    """A talk that tells its name and waits for the client to close."""
    def talk(connection: socket.socket) -> None:
        connection.sendall(name.encode() + b"\n")
        while connection.recv(4096):
            pass
    return talk


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def random_file(path: Path, size: int) -> None:
    """Incompressible without reading `size` bytes of randomness: one random block, each copy numbered."""
    block = bytearray(os.urandom(1 << 20))
    with path.open("wb") as out:
        for number in range(-(-size // len(block))):
            block[:8] = number.to_bytes(8, "little")
            out.write(block[: min(len(block), size - out.tell())])


def _place(lab: Lab, host: Namespace, server: str) -> Path:
    place = lab.directory / host.role / server
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    return place


def _await_port(host: Namespace, port: int, process: subprocess.Popen[str], place: Path, patience: float = 30) -> None:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            host.connect("127.0.0.1", port, timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    said = "\n".join(log.read_text()[-500:] for log in sorted(place.glob("*.log")))
    raise CommandFailed(f"{host.role}: no server at port {port} within {patience} s: {said}")
