# SPDX-License-Identifier: Apache-2.0
"""docs/failover.json: every single measurement behind docs/failover.md, so that it can be taken in pieces.

    {"taken": {part: {"date", "revision", "load", "machine"}}, "failover": {row: {contender: [Seen, …]}}, "false_alarms": …}
"""

from __future__ import annotations

import datetime
import json
import os
from pathlib import Path

from bench import report

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "docs/failover.json"


def load(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {"taken": {}}


def store(path: Path, record: dict, part: str) -> None:
    record["taken"][part] = {"date": datetime.date.today().isoformat(), "revision": report.revision(),
                             "load": round(os.getloadavg()[0], 1), "machine": report.machine()}
    path.write_text(json.dumps(record, indent=None, separators=(",", ":"), sort_keys=True).replace('},"', '},\n"') + "\n")
