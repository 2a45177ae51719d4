# SPDX-License-Identifier: Apache-2.0
"""/metrics of a node, read as Prometheus reads it: by its own parser, where Debian's python3-prometheus-client is there."""

from __future__ import annotations

import json
import subprocess
from typing import Iterator

from .lab import Node

_GET = ("curl", "-sS", "--max-time", "3", "http://127.0.0.1:7472/metrics")
# Debian's own interpreter has Debian's modules.
_PYTHON = "/usr/bin/python3"
_PARSE = """
import json, sys
from prometheus_client.parser import text_string_to_metric_families as parse
print(json.dumps([[sample.name, sample.labels, sample.value, family.type, family.documentation]
                  for family in parse(sys.stdin.read()) for sample in family.samples]))
"""


class NoParser(Exception):
    pass


def served(node: Node) -> bool:
    return node.run(*_GET, check=False).returncode == 0


def page(node: Node) -> str:
    """A page is kept for a second: who wants to see what just happened waits that long."""
    return node.run(*_GET).stdout


class Metrics:
    def __init__(self, text: str) -> None:
        parsed = subprocess.run([_PYTHON, "-c", _PARSE], input=text, capture_output=True, text=True)
        if "ModuleNotFoundError" in parsed.stderr:
            raise NoParser("the page was read, but not by Prometheus' parser: no python3-prometheus-client")
        if parsed.returncode != 0:
            raise ValueError(f"Prometheus would refuse the page: {parsed.stderr[-600:]}")
        self.samples: list[tuple[str, dict[str, str], float, str, str]] = [tuple(one) for one in json.loads(parsed.stdout)]

    def of(self, name: str, **labels: str) -> list[float]:
        return [value for _, value in self.each(name, **labels)]

    def each(self, name: str, **labels: str) -> Iterator[tuple[dict[str, str], float]]:
        """Samples with at least these labels."""
        for found, given, value, _, _ in self.samples:
            if found == name and labels.items() <= given.items():
                yield given, value

    def one(self, name: str, **labels: str) -> float:
        values = self.of(name, **labels)
        if len(values) != 1:
            raise KeyError(f"{name}{labels}: {len(values)} samples")
        return values[0]
