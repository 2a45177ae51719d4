# SPDX-License-Identifier: Apache-2.0
"""Many short connections, none of which may fail."""

from __future__ import annotations

from . import servers
from .story import FIRST_VIP, FIRST_VIP6, Story
from .traffic import Load


class ShortConnections(Story):
    @classmethod
    def prepare(cls) -> None:
        cls.ingress = servers.nginx(cls.lab, cls.lab.pods[0])
        cls.tutorial()

    def run_load(self, vip: str, count: int) -> None:
        before = self.verdicts()
        load = Load(self.lan, vip, limit=count).start().wait()
        self.assertEqual((load.done, dict(load.errors)), (count, {}), str(load))
        bad = {name: count for name, count in self.counted(before).items()
               if name in ("to_kernel", "flow_clash", "clash_waits", "not_live", "error", "malformed", "no_backend", "rejected_tcp")}
        self.assertEqual(bad, {})

    def test_20000(self) -> None:
        self.run_load(FIRST_VIP, 20_000)

    def test_ipv6(self) -> None:
        self.run_load(FIRST_VIP6, 5_000)
