# SPDX-License-Identifier: Apache-2.0
"""The chart as it is rendered: with no value, with every value, and with wrong ones."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import yaml

from . import partner
from .story import BINARY, CHART, NAMESPACE, RELEASE, ROOT, need, objects, of_kind

EVERY_VALUE = Path(__file__).with_name("every-value.yaml")


class Rendered(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        need(partner.tools)
        cls.helm_path = partner.tools.get() / "helm"
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.home = folder.name

    def helm(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([str(self.helm_path), *arguments], capture_output=True, text=True, timeout=60,
                              env={"HOME": self.home, "PATH": "/usr/bin:/bin"})

    def render(self, *options: str) -> list[dict]:
        done = self.helm("template", RELEASE, str(CHART), "-n", NAMESPACE, *options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return objects(done.stdout)

    def refused(self, *options: str) -> str:
        done = self.helm("template", RELEASE, str(CHART), "-n", NAMESPACE, *options)
        self.assertNotEqual(done.returncode, 0, f"{options} was taken")
        return done.stderr

    def daemon(self, *options: str) -> dict:
        return of_kind(self.render(*options), "DaemonSet")[0]["spec"]["template"]["spec"]

    # -- what is right -----------------------------------------------------------------------------------------------

    def test_lint_has_nothing_to_say(self) -> None:
        for options in ((), ("-f", str(EVERY_VALUE))):
            done = self.helm("lint", "--strict", str(CHART), *options)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_every_value_is_tried_here(self) -> None:
        """The file with every value differs from the defaults in each of them, so that each is rendered once in anger."""
        defaults = yaml.safe_load((CHART / "values.yaml").read_text())
        tried = yaml.safe_load(EVERY_VALUE.read_text())

        def same(one: object, other: object, path: str) -> list[str]:
            if isinstance(one, dict) and one and isinstance(other, dict) and path != ".metrics.dashboard.labels":
                return [found for name, value in one.items() for found in same(value, other.get(name, value), f"{path}.{name}")]
            return [path] if one == other else []

        self.assertEqual(same(defaults, tried, ""), [".key.value"], "existingSecret excludes it; it has a test of its own")

    def test_every_value_has_a_comment(self) -> None:
        """The line above a name is a comment, or another name that shares it. What is set as a whole is explained as a whole."""
        before = ""
        inside_whole = False
        for number, line in enumerate((CHART / "values.yaml").read_text().splitlines(), 1):
            if name := re.match(r"( *)([a-zA-Z]+):(?: |$)", line):
                depth = len(name[1]) // 2
                inside_whole = inside_whole and depth > 0 or name[2] in ("requests", "limits", "updateStrategy", "labels") and depth < 3
                opens = line.rstrip().endswith(":")
                if not (opens or inside_whole and depth > 0):
                    self.assertRegex(before, r"^ *#|^" + name[1] + r"[a-zA-Z]+: ", f"values.yaml:{number}: {line}")
            before = line

    def test_defaults(self) -> None:
        documents = self.render()
        self.assertEqual(sorted(document["kind"] for document in documents),
                         ["ClusterRole", "ClusterRoleBinding", "DaemonSet", "Role", "RoleBinding", "Secret", "ServiceAccount"])
        for document in documents:
            if not document["kind"].startswith("ClusterRole"):
                self.assertEqual(document["metadata"]["namespace"], NAMESPACE)

    def test_every_value_arrives(self) -> None:
        documents = self.render("-f", str(EVERY_VALUE))
        pod = of_kind(documents, "DaemonSet")[0]["spec"]["template"]
        arguments = pod["spec"]["containers"][0]["args"]
        self.assertEqual(arguments[:2], ["run", "--in-cluster"])
        self.assertEqual(arguments.pop(), "--standby")
        options = dict(zip(arguments[2::2], arguments[3::2]))
        self.assertEqual(options, {"--attach": "end0", "--mode": "native", "--profile": "fast", "--fail-back-delay": "1m", "--lease": "10s",
                                   "--table-sizes": "backends=131072,flows=2097152,services=8192,slots=16777216,sources=1024",
                                   "--load-balancer-class": "example.org/lan", "--metrics": "[fd00::11]:9100",
                                   "--log-level": "debug", "--log-format": "text"})
        self.assertEqual(pod["spec"]["containers"][0]["image"], "registry.example.org/xdp-lb:main")
        self.assertEqual(pod["metadata"]["labels"]["team"], "network")
        self.assertEqual(pod["metadata"]["annotations"]["example.org/note"], "tried")
        self.assertEqual(pod["spec"]["nodeSelector"], {"lan": "yes"})
        self.assertEqual(pod["spec"]["volumes"][-1]["secret"]["secretName"], "lan-key")
        self.assertFalse(of_kind(documents, "Secret"), "an existing Secret is not written")
        pools = {document["metadata"]["name"]: document["spec"] for document in of_kind(documents, "IPAddressPool")}
        self.assertEqual(pools, {
            "home": {"addresses": ["192.168.0.200-192.168.0.250", "fd00::200/120"], "autoAssign": False, "avoidBuggyIPs": True},
            "lab": {"addresses": ["192.168.1.0/28"], "autoAssign": True, "avoidBuggyIPs": False}})
        advertised = {document["metadata"]["name"]: document["spec"] for document in of_kind(documents, "L2Advertisement")}
        self.assertEqual(advertised, {
            "home": {"ipAddressPools": ["home"], "interfaces": ["end0"], "nodeSelectors": [{"matchLabels": {"lan": "yes"}}]},
            "lab": {"ipAddressPools": ["lab"]}})
        self.assertEqual([of_kind(documents, kind)[0]["metadata"]["labels"]["release"] for kind in ("PodMonitor", "PrometheusRule")],
                         ["prometheus", "prometheus"])

    def test_the_prometheus_operator_reads_its_objects(self) -> None:
        need(partner.monitoring)
        documents = self.render("-f", str(EVERY_VALUE))
        for kind in ("PodMonitor", "PrometheusRule"):
            document = of_kind(documents, kind)[0]
            for text, good in ((yaml.safe_dump(document), True), (yaml.safe_dump({**document, "spec": {"slector": {}}}), False)):
                done = subprocess.run([str(partner.monitoring.get() / "read-monitoring")], input=text, capture_output=True, text=True)
                self.assertEqual((done.stdout.strip(), done.returncode == 0), (kind if good else "", good), done.stderr)

    def test_metrics_are_served_to_the_node_only_until_somebody_scrapes_them(self) -> None:
        for options, listens, asked in (((), "127.0.0.1:7474", "127.0.0.1"),
                                        (("--set", "metrics.podMonitor.enabled=true"), "0.0.0.0:7474", "127.0.0.1"),
                                        (("--set", "metrics.address=::"), "[::]:7474", "::1"),
                                        (("--set", "metrics.address=192.168.0.11"), "192.168.0.11:7474", "192.168.0.11")):
            with self.subTest(options):
                container = self.daemon(*options)["containers"][0]
                self.assertEqual(container["args"][container["args"].index("--metrics") + 1], listens)
                self.assertEqual({container[probe]["httpGet"]["host"] for probe in ("livenessProbe", "readinessProbe")}, {asked})

    def test_without_a_cgroup_local_clients_are_left_alone(self) -> None:
        pod = self.daemon("--set", "hostPaths.cgroup=")
        self.assertIn({"name": "XDP_LB_CGROUP", "value": "none"}, pod["containers"][0]["env"])
        self.assertNotIn("cgroup", [volume["name"] for volume in pod["volumes"]])

    # -- rights --------------------------------------------------------------------------------------------------------

    def test_capabilities_are_those_of_the_systemd_unit(self) -> None:
        unit = re.search(r"^CapabilityBoundingSet=(.*)$", (ROOT / "packaging/xdp-lb.service").read_text(), re.M)[1]
        rights = self.daemon()["containers"][0]["securityContext"]
        self.assertEqual({f"CAP_{name}" for name in rights["capabilities"]["add"]}, set(unit.split()))
        self.assertEqual(rights["capabilities"]["drop"], ["ALL"])
        self.assertFalse(rights["privileged"] or rights["allowPrivilegeEscalation"])
        self.assertTrue(rights["readOnlyRootFilesystem"])

    # -- the key -------------------------------------------------------------------------------------------------------

    def key(self, *options: str) -> str:
        secret = of_kind(self.render(*options), "Secret")[0]
        self.assertTrue(secret["immutable"])
        return base64.b64decode(secret["data"]["cluster.key"]).decode()

    def test_a_key_that_is_made_is_one_that_xdp_lb_takes(self) -> None:
        key = self.key()
        self.assertNotEqual(key, self.key(), "drawn, not written")
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([str(BINARY), "--config-dir", folder, "--run-dir", folder, "peer", "key", "--import", "-"], input=key,
                                  capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(Path(folder, "cluster.key").read_text(), key)

    def test_a_key_that_is_given_is_used(self) -> None:
        key = "xlb1-" + "-".join(["0123abcd"] * 9)
        self.assertEqual(self.key("--set", f"key.value={key}"), key + "\n")

    # -- what is wrong ---------------------------------------------------------------------------------------------------

    def test_typos_are_refused(self) -> None:
        defaults = yaml.safe_load((CHART / "values.yaml").read_text())

        def places(value: object, path: str) -> list[str]:
            if not isinstance(value, dict) or path in (".nodeSelector", ".podLabels", ".podAnnotations", ".resources.requests",
                                                       ".resources.limits", ".metrics.podMonitor.labels",
                                                       ".metrics.prometheusRule.labels", ".metrics.dashboard.labels"):
                return []
            return [path, *(found for name, inner in value.items() for found in places(inner, f"{path}.{name}"))]

        found = places(defaults, "")
        self.assertGreater(len(found), 8)
        for place in found:
            with self.subTest(place):
                said = self.refused("--set", f"{place}.intrface=eth0".lstrip("."))
                self.assertIn("intrface", said)

    def test_wrong_values_are_refused(self) -> None:
        for value in ("mode=fast", "profile=slow", "interface=eth0/24", "lease=0s", "lease=61s", "lease=15", "failBackDelay=30",
                      "log.level=verbose", "log.format=xml", "metrics.port=0", "metrics.port=65536", "metrics.address=all",
                      "key.value=secret", "hostPaths.bpf=bpf", "image.pullPolicy=Sometimes", "loadBalancerClass=a b",
                      "pools[0].name=home", "updateStrategy.type=Recreate", "nameOverride=Lan",
                      "tableSizes.backends=63", "tableSizes.slots=many"):
            with self.subTest(value):
                place = re.match(r"[a-zA-Z]+", value)[0]
                self.assertRegex(self.refused("--set", value), rf"at '/{place}\b")

    def test_wrong_ranges_are_refused(self) -> None:
        for addresses in ("192.168.0.200", "192.168.0.300-192.168.0.310", "192.168.0.0/33", "192.168.0.200-fd00::1", "fd00::1",
                          "fd00::/129", "192.168.0.200 192.168.0.250", "home", "192.168.0.200-",
                          "192.168.0.200-192.168.0.250-192.168.0.251"):
            with self.subTest(addresses):
                values = json.dumps([{"name": "home", "addresses": [addresses]}])
                self.assertIn("/pools/0/addresses/0", self.refused("--set-json", f"pools={values}"))

    def test_a_range_that_ends_before_it_begins_is_refused_in_metallb_words(self) -> None:
        said = self.refused("--set-json", 'pools=[{"name":"home","addresses":["192.168.0.250 - 192.168.0.200"]}]')
        self.assertIn("start IP \"192.168.0.250\" is after the end IP \"192.168.0.200\"", said)
        self.render("--set-json", 'pools=[{"name":"home","addresses":["192.168.0.99-192.168.1.2","10.0.0.9-10.0.0.9"]}]')

    def test_two_pools_of_one_name_are_refused(self) -> None:
        one = '{"name":"home","addresses":["192.168.0.200/29"]}'
        self.assertIn('duplicate definition of pool "home"', self.refused("--set-json", f"pools=[{one},{one}]"))
