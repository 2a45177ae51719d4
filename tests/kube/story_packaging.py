# SPDX-License-Identifier: Apache-2.0
"""What is written down beside the chart fits it: k3s' manifest, the image, the pages."""

from __future__ import annotations

import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from . import partner
from .container import CONTAINERFILE
from .story import CHART, RELEASE, ROOT, TUTORIAL, need, objects, of_kind

K3S = ROOT / "packaging/k3s-xdp-lb.yaml"
PAGE = ROOT / "docs/kubernetes.md"


class Written(unittest.TestCase):
    def setUp(self) -> None:
        self.chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    def test_one_version_everywhere(self) -> None:
        version = re.search(r"^project\(xdp-lb VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(), re.M)[1]
        self.assertEqual((self.chart["version"], self.chart["appVersion"]), (version, version))
        for path in (CONTAINERFILE, PAGE):
            self.assertEqual(set(re.findall(r"xdp-lb:(\d\S*)", path.read_text())), {version}, path)

    def test_the_image_is_made_of_what_there_is(self) -> None:
        text = CONTAINERFILE.read_text()
        ignored = [line.rstrip("/") for line in (ROOT / ".containerignore").read_text().splitlines() if line and not line.startswith("#")]
        copied = [source for sources in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.M) for source in sources.split()]
        self.assertGreater(len(copied), 3)
        for source in copied:
            self.assertTrue((ROOT / source).exists(), source)
            self.assertFalse(any(Path(source).match(pattern) for pattern in ignored), source)
        # Folders that the build reads; with tests off CMake looks into none of the tests'.
        for room in re.search(r"^foreach\(room ((?:userspace|loader)[^)]*)\)", (ROOT / "CMakeLists.txt").read_text(), re.M)[1].split():
            self.assertNotIn(room.split("/")[0], ignored)

    def test_helm_renders_what_k3s_is_told(self) -> None:
        need(partner.tools)
        told = objects(K3S.read_text())[0]["spec"]
        with tempfile.TemporaryDirectory() as folder:
            helm = [str(partner.tools.get() / "helm")]
            environment = {"HOME": folder}
            subprocess.run([*helm, "package", str(CHART), "-d", folder], check=True, capture_output=True, env=environment)
            archive = Path(folder, told["chart"].rsplit("/", 1)[1])
            self.assertTrue(archive.exists(), f"{[path.name for path in Path(folder).glob('*.tgz')]}")
            Path(folder, "values.yaml").write_text(told["valuesContent"])
            done = subprocess.run([*helm, "template", RELEASE, str(archive), "-n", told["targetNamespace"], "-f", f"{folder}/values.yaml"],
                                  capture_output=True, text=True, env=environment)
            self.assertEqual(done.returncode, 0, done.stderr)
        pools = of_kind(objects(done.stdout), "IPAddressPool")
        tutorial = of_kind(objects(TUTORIAL.read_text()), "IPAddressPool")
        self.assertEqual([pool["spec"]["addresses"] for pool in pools], [pool["spec"]["addresses"] for pool in tutorial])
        self.assertEqual(told["targetNamespace"], tutorial[0]["metadata"]["namespace"])
