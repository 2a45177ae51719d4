# SPDX-License-Identifier: Apache-2.0
"""Large files, both ways, arrive as they were sent: segmentation and partial checksums survive the translation."""

from __future__ import annotations

import hashlib
from pathlib import Path

from . import servers
from .story import FIRST_VIP, FIRST_VIP6, FULL, Story

SIZE = (1 << 30) if FULL else (96 << 20)


class Bulk(Story):
    @classmethod
    def prepare(cls) -> None:
        cls.ingress = servers.nginx(cls.lab, cls.lab.pods[0])
        cls.tutorial()
        cls.blob = cls.ingress.files / "blob"
        servers.random_file(cls.blob, SIZE)
        cls.sum = digest(cls.blob)

    def transfer(self, vip: str) -> None:
        host = f"[{vip}]" if ":" in vip else vip
        copy = self.lab.directory / "download"
        self.lan.run("curl", "-sSf", "-o", str(copy), f"http://{host}/files/blob", timeout=300)
        self.assertEqual(digest(copy), self.sum, "download")
        copy.unlink()
        self.lan.run("curl", "-sSf", "-T", str(self.blob), f"http://{host}/files/upload", timeout=300)
        upload = self.ingress.files / "upload"
        self.assertEqual(digest(upload), self.sum, "upload")
        upload.unlink()

    def test_ipv4(self) -> None:
        self.transfer(FIRST_VIP)

    def test_ipv6(self) -> None:
        self.transfer(FIRST_VIP6)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
