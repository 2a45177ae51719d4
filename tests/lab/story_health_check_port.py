# SPDX-License-Identifier: Apache-2.0
"""healthCheckNodePort: whoever balances in front asks each node whether it has endpoints. Beside a real kube-proxy: tests/kube."""

from __future__ import annotations

import contextlib
import json
import time

from . import servers
from .story import FIRST_VIP, Story, service
from .traffic import eventually, http

PORT, KUBE_PROXY = 31000, 10256


class HealthCheckPort(Story):
    ONLY_MODE = "tc"

    @classmethod
    def prepare(cls) -> None:
        servers.nginx(cls.lab, cls.lab.pods[0])
        cls.add_pools()
        cls.attach()
        cls.log = cls.lab.directory / "daemon.log"
        cls.lab.node.start(str(cls.lab.binary), "run", stdout=cls.log)
        eventually("the control socket", lambda: any(cls.lab.node.run_dir.rglob("*.sock")))
        cls.declare()

    @classmethod
    def declare(cls) -> None:
        cls.apply(service("web", [(80, 8000, "TCP")], [cls.lab.pods[0].address], vip=FIRST_VIP,
                          spec=f"  externalTrafficPolicy: Local\n  healthCheckNodePort: {PORT}\n"))

    def setUp(self) -> None:
        super().setUp()
        eventually("it is served", lambda: self.ask(self.node.address)[0] == 200, within=15)

    def ask(self, address: str) -> tuple[int, dict[str, str], str]:
        """Status, headers in small letters, text."""
        shown = f"[{address}]" if ":" in address else address
        said = self.lan.run("curl", "-sS", "-i", "-m", "3", f"http://{shown}:{PORT}/healthz", check=False)
        if said.returncode != 0:
            raise OSError(said.stderr)
        head, _, body = said.stdout.partition("\n\n")
        lines = head.split("\n")
        return int(lines[0].split()[1]), dict(line.lower().split(": ", 1) for line in lines[1:]), body

    def served(self) -> bool:
        with contextlib.suppress(OSError):
            self.lan.connect(self.node.address, PORT, timeout=1).close()
            return True
        return False

    def test_every_address_of_the_node_says_what_kube_proxy_would(self) -> None:
        for address in (self.node.address, self.node.address6):
            status, headers, body = self.ask(address)
            self.assertEqual((status, headers["x-load-balancing-endpoint-weight"], headers["content-type"]), (200, "1", "application/json"))
            self.assertEqual(json.loads(body), {"service": {"namespace": "default", "name": "web"}, "localEndpoints": 1,
                                                "serviceProxyHealthy": True})

    def test_clients_that_keep_still_stop_neither_it_nor_the_loop(self) -> None:
        with contextlib.ExitStack() as stack:
            for number in range(200):
                stuck = stack.enter_context(self.lan.connect(self.node.address, PORT))
                with contextlib.suppress(OSError):  # it may have had to go already
                    stuck.sendall((b"", b"GET / HTTP/1.1\r\n", b"\0" * 4096)[number % 3])
            since = time.monotonic()
            self.assertEqual(self.ask(self.node.address)[0], 200)
            self.node.lb("service", "add", "more", "--port", "81:8000", "--backend", self.pods[0].address)  # by the loop
            self.assertLess(time.monotonic() - since, 4)
            self.assertEqual(http(self.lan, FIRST_VIP).pod, self.pods[0].role)

    def test_it_steps_back_for_kube_proxy_and_comes_again(self) -> None:
        with self.node.listen("127.0.0.1", KUBE_PROXY):
            eventually("the port is free", lambda: not self.served(), within=5)
            with self.node.listen(self.node.address, PORT):
                self.assertTrue(self.served())
        eventually("it is served again", lambda: self.ask(self.node.address)[0] == 200, within=15)

    def test_it_is_closed_with_its_service(self) -> None:
        self.node.lb("service", "rm", "web")
        eventually("it is closed", lambda: not self.served(), within=5)
        self.declare()
