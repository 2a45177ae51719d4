# SPDX-License-Identifier: Apache-2.0
"""Other ways a pod may be connected, and another ingress in it."""

from __future__ import annotations

from . import servers
from .lab import LAN_CLIENT, ROUTER_WAN, WAN_CLIENT, WAN_CLIENT6
from .story import FIRST_VIP, FIRST_VIP6, Story
from .traffic import http


class Haproxy(Story):
    @classmethod
    def prepare(cls) -> None:
        cls.ingress = servers.haproxy(cls.lab, cls.lab.pods[0])
        cls.tutorial()

    def test_serves_both_families_with_the_real_client(self) -> None:
        self.assertEqual(http(self.wan, ROUTER_WAN).client, WAN_CLIENT)
        self.assertEqual(http(self.wan, ROUTER_WAN, 443, tls=True).client, WAN_CLIENT)
        self.assertEqual(http(self.wan, FIRST_VIP6, 443, tls=True).client, WAN_CLIENT6)
        self.assertIn(WAN_CLIENT, self.ingress.clients())


class RoutedPods(Story):
    """Host routes to veths, as Calico and kind have them: no bridge to ask."""
    LAB = {"pod_style": "routed"}

    @classmethod
    def prepare(cls) -> None:
        cls.ingress = servers.nginx(cls.lab, cls.lab.pods[0])
        cls.tutorial()

    def test_fast_path(self) -> None:
        before = self.verdicts()
        self.assertEqual(http(self.wan, ROUTER_WAN, 443, tls=True).client, WAN_CLIENT)
        self.assertEqual(http(self.lan, FIRST_VIP).client, LAN_CLIENT)
        self.assertEqual(http(self.wan, FIRST_VIP6).client, WAN_CLIENT6)
        counted = self.counted(before)
        self.assertGreater(counted.get("to_pod", 0), 10, counted)
        self.assertNotIn("to_kernel", counted)
