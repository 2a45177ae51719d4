# SPDX-License-Identifier: Apache-2.0
"""Figures as a Markdown page."""

from __future__ import annotations

import os
import statistics
import subprocess
from pathlib import Path
from typing import Iterable, Sequence

ROOT = Path(__file__).resolve().parents[2]


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The first column is text, the others are numbers."""
    return [f"| {' | '.join(head)} |", f"|{'---|' + '--:|' * (len(head) - 1)}", *(f"| {' | '.join(row)} |" for row in rows), ""]


def machine() -> str:
    model = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith(("model name", "Model"))), os.uname().machine)
    release = next((line.split("=")[1].strip('"') for line in Path("/etc/os-release").read_text().splitlines()
                    if line.startswith("PRETTY_NAME")), "?")
    virtual = " (a virtual machine)" if "hypervisor" in Path("/proc/cpuinfo").read_text() else ""
    return f"{model}, {os.cpu_count()} CPUs{virtual}, Linux {os.uname().release}, {release}"


def revision() -> str:
    done = subprocess.run(["git", "-C", str(ROOT), "-c", "safe.directory=*", "rev-parse", "--short", "HEAD"],
                          capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
