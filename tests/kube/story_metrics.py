# SPDX-License-Identifier: Apache-2.0
"""Alerts and the dashboard ask for what the daemon serves."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path
from typing import Iterator

import yaml

from .story import CHART, ROOT

METRIC = re.compile(r"\b(?:xdp_lb|metallb)_[a-z0-9_]+\b")


def served() -> set[str]:
    """Every name that stands in the daemon's sources."""
    return {name for path in (ROOT / "userspace/daemon").glob("*.cpp") for name in re.findall(r'"((?:xdp_lb|metallb)_[a-z0-9_]+)"',
                                                                                             path.read_text())}


def rules() -> list[dict]:
    return [rule for group in yaml.safe_load((CHART / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]


def panels() -> Iterator[tuple[str, str]]:
    for panel in json.loads((CHART / "dashboards/xdp-lb.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


class Names(unittest.TestCase):
    def test_alerts_ask_for_what_there_is(self) -> None:
        self.assertGreater(len(served()), 15)
        for rule in rules():
            with self.subTest(rule["alert"]):
                asked = set(METRIC.findall(rule["expr"]))
                self.assertTrue(asked)
                self.assertLessEqual(asked, served())
                self.assertIn(rule["labels"]["severity"], ("warning", "critical"))
                self.assertEqual(set(rule["annotations"]), {"summary", "description"})

    def test_the_dashboard_shows_what_there_is(self) -> None:
        for title, expression in panels():
            with self.subTest(title):
                self.assertTrue(METRIC.findall(expression))
                self.assertLessEqual(set(METRIC.findall(expression)), served())


SERIES_TEST = """
rule_files: [alerts.yaml]
evaluation_interval: 15s
tests:
  - interval: 15s
    input_series:
      - {series: 'xdp_lb_vips{instance="pi1"}', values: '2x40'}
      - {series: 'xdp_lb_vips{instance="pi2"}', values: '2x40'}
      - {series: 'xdp_lb_vips_owned{instance="pi1"}', values: '1x20 2x20'}
      - {series: 'xdp_lb_vips_owned{instance="pi2"}', values: '0x40'}
      - {series: 'metallb_speaker_announced{service="default/web",ip="192.168.0.200",node="pi1",instance="pi1"}', values: '1x40'}
      - {series: 'metallb_speaker_announced{service="default/web",ip="192.168.0.200",node="pi2",instance="pi2"}', values: '_x4 1x20 stale'}
      - {series: 'metallb_allocator_addresses_total{pool="home",instance="pi1"}', values: '10x40'}
      - {series: 'metallb_allocator_addresses_in_use_total{pool="home",instance="pi1"}', values: '9x10 10x30'}
      - {series: 'xdp_lb_peer_alive{peer="pi2",instance="pi1"}', values: '1 0x39'}
      - {series: 'xdp_lb_peer_alive{peer="pi1",instance="pi3"}', values: '0x40'}
      - {series: 'xdp_lb_peer_declared{peer="pi2",instance="pi1"}', values: '1x40'}
      - {series: 'xdp_lb_lease_losses_total{instance="pi1"}', values: '0x20 1x20'}
      - {series: 'xdp_lb_service_backends{service="default/web",state="healthy",instance="pi1"}', values: '0x40'}
      - {series: 'xdp_lb_service_backends{service="default/web",state="draining",instance="pi1"}', values: '3x40'}
    alert_rule_test:
      - eval_time: 3m
        alertname: XdpLbAddressNotAnswered
        exp_alerts: [{exp_labels: {severity: critical}, exp_annotations: {
          summary: A load balancer address is answered by no node,
          description: "2 addresses are given to Services. xdp-lb why ADDRESS says why no node answers for one."}}]
      - {eval_time: 8m, alertname: XdpLbAddressNotAnswered, exp_alerts: []}
      - {eval_time: 2m, alertname: XdpLbAddressAnsweredTwice, exp_alerts: []}
      - eval_time: 4m
        alertname: XdpLbAddressAnsweredTwice
        exp_alerts: [{exp_labels: {severity: critical, service: default/web, ip: 192.168.0.200}, exp_annotations: {
          summary: "192.168.0.200 is answered by more than one node",
          description: "The nodes that answer for 192.168.0.200 of default/web do not hear each other. Compare xdp-lb peer ls on them."}}]
      - {eval_time: 10m, alertname: XdpLbAddressAnsweredTwice, exp_alerts: []}
      - {eval_time: 6m, alertname: XdpLbPoolAlmostFull, exp_alerts: []}
      - eval_time: 9m
        alertname: XdpLbPoolAlmostFull
        exp_alerts: [{exp_labels: {severity: warning, pool: home}, exp_annotations: {
          summary: Pool home is almost full, description: "100% of its addresses are given to Services."}}]
      - eval_time: 6m
        alertname: XdpLbPeerLost
        exp_alerts: [{exp_labels: {severity: warning, peer: pi2}, exp_annotations: {
          summary: No flow goes to pi2, description:
          "Its programs send no echoes back to any node. A node that was taken away for good should no longer be declared."}}]
      - {eval_time: 5m, alertname: XdpLbLeaseLost, exp_alerts: []}
      - eval_time: 6m
        alertname: XdpLbLeaseLost
        exp_alerts: [{exp_labels: {severity: warning, instance: pi1}, exp_annotations: {
          summary: pi1 stood still for so long that its addresses moved,
          description: "The machine stalls, or the daemon gets no CPU time."}}]
      - eval_time: 6m
        alertname: XdpLbServiceWithoutBackends
        exp_alerts: [{exp_labels: {severity: warning, service: default/web}, exp_annotations: {
          summary: default/web has no backend, description: "No endpoint of the Service is ready, so nobody answers for its address."}}]
"""


class Evaluated(unittest.TestCase):
    """By Prometheus' own rule engine (promtool)."""

    def promtool(self, *arguments: str, files: dict[str, str]) -> None:
        if not shutil.which("promtool"):
            self.skipTest("promtool is not installed (Debian package prometheus)")
        with tempfile.TemporaryDirectory() as folder:
            for name, text in files.items():
                Path(folder, name).write_text(text)
            done = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_alerts_come_and_go(self) -> None:
        self.promtool("test", "rules", "test.yaml", files={"test.yaml": SERIES_TEST, "alerts.yaml": (CHART / "alerts.yaml").read_text()})

    def test_expressions_of_the_dashboard_are_ones(self) -> None:
        rules_file = {"groups": [{"name": "panels", "rules": [
            {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "1m")}
            for number, (_, expression) in enumerate(panels())]}]}
        self.promtool("check", "rules", "panels.yaml", files={"panels.yaml": yaml.safe_dump(rules_file)})
