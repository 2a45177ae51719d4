# SPDX-License-Identifier: Apache-2.0
"""What every story starts from: the chart, helm, and for most a control plane of their own."""

from __future__ import annotations

import itertools
import os
import unittest
from pathlib import Path
from typing import Iterable, Mapping

import yaml
from lab import lab as topology

from . import control_plane, partner
from .control_plane import ControlPlane

ROOT = topology.ROOT
CHART = ROOT / "charts/xdp-lb"
TUTORIAL = ROOT / "examples/ip-address-pool.yaml"
# The namespace that tutorials name, and so the one to install into.
NAMESPACE = "metallb-system"
RELEASE = "xdp-lb"

# Set by tests/kube/run.
BINARY = Path(os.environ.get("XLB_KUBE_BINARY", ROOT / "build/xdp-lb"))

FULL = os.environ.get("XLB_KUBE_FULL") == "1"

_labs = itertools.count()
labs_made: list[str] = []  # by this process; the runner takes away what is left of them


def need(*partners: partner.Partner) -> None:
    """Partners that are built or fetched now, if they are not there; without what that takes the test is skipped, never in CI."""
    for one in partners:
        try:
            one.get()
        except partner.Missing as missing:
            if os.environ.get("CI") == "true":
                raise AssertionError(f"{missing}; in CI nothing may be missing") from None
            raise unittest.SkipTest(str(missing)) from None


def lab_name() -> str:
    labs_made.append(f"k{os.getpid()}{'abcdefghij'[next(_labs) % 10]}")
    return labs_made[-1]


def objects(text: str) -> list[dict]:
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(documents: Iterable[Mapping], kind: str) -> list[Mapping]:
    return [document for document in documents if document["kind"] == kind]


class ClusterStory(unittest.TestCase):
    """A control plane for each class, with nodes in it of which only is told that they are there."""

    NODES: Mapping[str, str] = {"pi1": "192.168.0.11", "pi2": "192.168.0.12"}
    control: ControlPlane

    @classmethod
    def setUpClass(cls) -> None:
        need(partner.tools, partner.etcd, partner.kubernetes)
        name = lab_name()
        cls.addClassCleanup(topology.down, name)
        cls.host = control_plane.alone(name)
        cls.addClassCleanup(cls.host.remove)
        cls.control = ControlPlane(cls.host, "192.168.0.100", name).up()
        for node, address in cls.NODES.items():
            cls.control.report_node(node, [address])
        cls.prepare()

    @classmethod
    def prepare(cls) -> None:
        """After the control plane is up."""

    @classmethod
    def install(cls, *options: str) -> str:
        return cls.control.helm("upgrade", "--install", RELEASE, str(CHART), "-n", NAMESPACE, "--create-namespace", *options).stdout
