# SPDX-License-Identifier: Apache-2.0
"""FRR's bfdd among three nodes: the same question (does my peer live?) asked by RFC 5880. It moves no address by itself,
so it takes part in the false alarms only."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from lab.lab import Lab, Node
from lab.traffic import eventually

FRR = Path("/usr/lib/frr")


def why_no_bfdd() -> str:
    return "" if (FRR / "bfdd").exists() and shutil.which("vtysh") else "frr is not installed (tools/packages bench)"


class Bfdd:
    def __init__(self, interval_ms: int) -> None:
        self.name = f"FRR bfdd {interval_ms} ms"
        self.interval_ms = interval_ms
        self.daemons: list[subprocess.Popen[str]] = []

    def start(self, lab: Lab) -> None:
        self.lab = lab
        for node in lab.nodes:
            # FRR keeps sockets and configuration of a name in folders that belong to its own user.
            for folder in self._folders(node):
                folder.mkdir(parents=True, exist_ok=True)
                shutil.chown(folder, "frr", "frr")
            peers = "".join(f" peer {other.address} interface eth0\n  detect-multiplier 3\n  receive-interval {self.interval_ms}\n"
                            f"  transmit-interval {self.interval_ms}\n  no shutdown\n exit\n" for other in lab.nodes if other is not node)
            configuration = self._folders(node)[0] / "bfdd.conf"
            configuration.write_text(f"bfd\n{peers}exit\n")
            log = lab.directory / node.role / "frr.log"
            for daemon, options in (("zebra", []), ("bfdd", ["-f", str(configuration)])):
                self.daemons.append(node.start(str(FRR / daemon), "-N", node.name, *options, "-A", "127.0.0.1", "-P", "0",
                                               stdout=log))
                if daemon == "zebra":
                    eventually("zebra's socket", lambda: (self._folders(node)[1] / "zserv.api").exists(), within=10)
        eventually(f"{self.name}: all sessions are up", self._all_up, within=30, every=0.3)

    @staticmethod
    def _folders(node: Node) -> tuple[Path, Path]:
        return Path("/etc/frr") / node.name, Path("/var/run/frr") / node.name

    def _show(self, node: Node, what: str) -> list[dict]:
        out = node.run("vtysh", "-N", node.name, "-c", f"show bfd peers {what} json".replace("  ", " "), check=False).stdout
        return json.loads(out or "[]")

    def _all_up(self) -> bool:
        return all([peer["status"] for peer in self._show(node, "")] == ["up"] * (len(self.lab.nodes) - 1) for node in self.lab.nodes)

    def alarms(self) -> int:
        return sum(peer["session-down"] for node in self.lab.nodes for peer in self._show(node, "counters"))

    def stop(self) -> None:
        for process in self.daemons:
            process.kill()
            process.wait()
        for node in self.lab.nodes:
            for folder in self._folders(node):
                shutil.rmtree(folder, ignore_errors=True)
