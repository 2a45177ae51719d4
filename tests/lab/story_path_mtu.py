# SPDX-License-Identifier: Apache-2.0
"""Path MTU discovery through the VIP: a hop of 1280 behind the router tells the VIP, and the pod must hear of it."""

from __future__ import annotations

import json

from . import servers
from .lab import ROUTER_WAN, WAN_CLIENT, WAN_CLIENT6
from .story import FIRST_VIP6, Story

SIZE = 4 << 20


class PathMtu(Story):
    @classmethod
    def prepare(cls) -> None:
        cls.ingress = servers.nginx(cls.lab, cls.lab.pods[0])
        servers.random_file(cls.ingress.files / "blob", SIZE)
        cls.tutorial()
        # The narrow hop is the way to the client only, so that the client still announces a large MSS.
        cls.lab.router.ip(f"route add {WAN_CLIENT} dev wan0 mtu 1280", f"route add {WAN_CLIENT6} dev wan0 mtu 1280")

    def download(self, host: str, client: str) -> None:
        before = self.verdicts()
        size = self.wan.run("curl", "-sSf", "--max-time", "10", "-o", "/dev/null", "-w", "%{size_download}",
                            f"http://{host}/files/blob", timeout=20).stdout
        self.assertEqual(int(size), SIZE)
        self.assertGreater(self.counted(before).get("icmp_error_in", 0), 0)
        route = json.loads(self.pods[0].run("ip", "-j", "route", "get", client).stdout)[0]
        self.assertEqual(route.get("metrics", [{}])[0].get("mtu"), 1280, "the pod has not learned the path MTU")

    def test_ipv4(self) -> None:
        self.download(ROUTER_WAN, WAN_CLIENT)

    def test_ipv6(self) -> None:
        self.download(f"[{FIRST_VIP6}]", WAN_CLIENT6)
