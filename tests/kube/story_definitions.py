# SPDX-License-Identifier: Apache-2.0
"""Our definitions of IPAddressPool and its relatives beside MetalLB's own: the same manifests are taken, the same is shown."""

from __future__ import annotations

import json
import subprocess
import unittest
from pathlib import Path
from typing import Iterator, Mapping

import yaml
from lab.namespace import stop
from lab.traffic import eventually

from . import partner
from .story import CHART, NAMESPACE, RELEASE, TUTORIAL, ClusterStory, need, objects

KINDS = ("ipaddresspools", "l2advertisements", "servicel2statuses")
OURS = sorted((CHART / "crds").glob("*.yaml"))

# What people write, from MetalLB's documents: every field there is.
WRITTEN = f"""
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {{name: everything, namespace: {NAMESPACE}, labels: {{zone: east}}}}
spec:
  addresses: [192.168.10.0/24, 192.168.9.1 - 192.168.9.5, "fc00:f853:0ccd:e799::/124"]
  autoAssign: false
  avoidBuggyIPs: true
  serviceAllocation:
    priority: 50
    namespaces: [namespace-a]
    namespaceSelectors: [{{matchLabels: {{foo: bar}}}}]
    serviceSelectors: [{{matchExpressions: [{{key: app, operator: In, values: [web]}}]}}]
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {{name: everything, namespace: {NAMESPACE}}}
spec:
  ipAddressPools: [everything]
  ipAddressPoolSelectors: [{{matchLabels: {{zone: east}}}}]
  nodeSelectors: [{{matchLabels: {{kubernetes.io/hostname: pi1}}}}]
  interfaces: [eth0, end0]
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {{name: empty, namespace: {NAMESPACE}}}
"""

REFUSED = {
    "no addresses": "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: bad}, spec: {}}",
    "no spec": "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: bad}}",
    "one address, no list": "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: bad}, spec: {addresses: 10.0.0.0/8}}",
    "a word for a truth": "{apiVersion: metallb.io/v1beta1, kind: IPAddressPool, metadata: {name: bad}, "
                          "spec: {addresses: [10.0.0.0/8], autoAssign: 'yes'}}",
    "a selector without operator": "{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: bad}, "
                                   "spec: {nodeSelectors: [{matchExpressions: [{key: a}]}]}}",
    "a field that is spelt wrong": "{apiVersion: metallb.io/v1beta1, kind: L2Advertisement, metadata: {name: bad}, "
                                   "spec: {ipAddressPool: [a]}}",
}


def differences(theirs: object, ours: object, path: str = "") -> Iterator[str]:
    """Where ours lacks something of theirs or has it otherwise; ours may have more fields. Words do not count."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        for name, value in theirs.items():
            if name in ("description", "message") and isinstance(value, str):
                continue
            if name not in ours:
                yield f"{path}.{name} is missing"
            else:
                yield from differences(value, ours[name], f"{path}.{name}")
        if not path.endswith(".properties"):
            yield from (f"{path}.{name} is not theirs" for name in ours if name not in theirs and name != "description")
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for number, (one, other) in enumerate(zip(theirs, ours)):
            yield from differences(one, other, f"{path}[{number}]")
    elif theirs != ours:
        yield f"{path}: {theirs!r} there, {ours!r} here"


class Written(unittest.TestCase):
    """Compared as text, without a cluster."""

    @classmethod
    def setUpClass(cls) -> None:
        need(partner.metallb)
        cls.theirs = partner.metallb.get() / "crds"

    def test_fields_and_columns(self) -> None:
        for kind in KINDS:
            with self.subTest(kind):
                theirs = yaml.safe_load((self.theirs / f"metallb.io_{kind}.yaml").read_text())["spec"]
                ours = next(spec for path in OURS if (spec := yaml.safe_load(path.read_text())["spec"])["names"]["plural"] == kind)
                self.assertEqual(list(differences(theirs, ours)), [])


class Applied(ClusterStory):
    @classmethod
    def prepare(cls) -> None:
        need(partner.metallb)
        cls.theirs = [partner.metallb.get() / "crds" / f"metallb.io_{kind}.yaml" for kind in KINDS]
        cls.control.kubectl("create", "namespace", NAMESPACE)

    def setUp(self) -> None:
        self.addCleanup(self.remove)

    def remove(self) -> None:
        self.control.kubectl("delete", "crd", *(f"{kind}.metallb.io" for kind in (*KINDS, "configurationstates")), "--ignore-not-found",
                             "--wait")

    def define(self, files: list[Path]) -> None:
        self.control.apply(text="\n---\n".join(path.read_text() for path in files))
        for kind in KINDS:
            eventually(f"{kind} are served", lambda: self.control.kubectl("get", kind, "-A", check=False).returncode == 0, within=20)

    def seen(self) -> dict[str, object]:
        """What kubectl makes of everything that may be written, and shows of it."""
        self.control.apply(text=TUTORIAL.read_text())
        self.control.apply(text=WRITTEN)
        self.control.apply(text=f"{{apiVersion: metallb.io/v1beta1, kind: ServiceL2Status, metadata: {{name: l2-x, namespace: {NAMESPACE}}}}}")
        self.control.patch_status("servicel2status", "l2-x", {
            "node": "pi1", "serviceName": "traefik", "serviceNamespace": "kube-system", "interfaces": [{"name": "eth0"}]}, NAMESPACE)
        self.control.patch_status("ipaddresspool", "everything", {
            "assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 2, "availableIPv6": 3}, NAMESPACE)
        said: dict[str, object] = {}
        for kind in KINDS:
            for output in ("", "-o=wide"):
                said[f"{kind} {output}"] = self.control.kubectl("get", kind, "-n", NAMESPACE, *filter(None, [output])).stdout
            said[f"{kind} stored"] = [(one.get("spec"), one.get("status")) for one in self.control.get(kind, "-n", NAMESPACE)["items"]]
        for why, text in REFUSED.items():
            done = self.control.kubectl("apply", "-n", NAMESPACE, "--validate=strict", "-f", "-", stdin=text, check=False)
            self.assertNotEqual(done.returncode, 0, why)
        moved = self.control.kubectl("-n", NAMESPACE, "patch", "servicel2status", "l2-x", "--subresource=status", "--type=merge",
                                     "-p", json.dumps({"status": {"node": "pi2"}}), check=False)
        self.assertIn("Value is immutable", moved.stderr)
        return said

    def test_the_same_is_taken_and_shown(self) -> None:
        self.define(self.theirs)
        theirs = self.seen()
        self.remove()
        self.define(OURS)
        self.maxDiff = None
        self.assertEqual(self.seen(), theirs)

    def versions(self) -> dict[str, str]:
        return {one["metadata"]["name"]: one["metadata"]["uid"] + one["metadata"]["resourceVersion"]
                for one in self.control.get("crd")["items"] if one["metadata"]["name"].split(".")[0] in KINDS}

    def test_helm_leaves_definitions_alone_that_are_there(self) -> None:
        """With --skip-crds; without applying on the server also by itself. Else helm 4 says whose they are, and installs nothing."""
        self.define(self.theirs)
        self.control.apply(text=TUTORIAL.read_text())
        before = self.versions()
        self.assertEqual(len(before), len(KINDS))
        pools = ("--set-json", 'pools=[{"name":"lab","addresses":["192.168.1.0/28"]}]')
        refused = self.helm("install", *pools, check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn("conflict", refused.stderr)
        self.assertEqual(self.control.kubectl("get", "daemonset", "-A", "-o", "name").stdout, "")
        for options in (("--skip-crds",), ("--server-side=false",)):
            with self.subTest(options):
                self.helm("install", *pools, *options)
                self.assertEqual(sorted(one["metadata"]["name"] for one in self.control.get("ipaddresspools", "-n", NAMESPACE)["items"]),
                                 ["ipaddresspool", "lab"])
                self.helm("upgrade", *pools, "--set", "mode=tc")
                self.assertEqual(self.versions(), before)
                self.control.helm("uninstall", RELEASE, "-n", NAMESPACE, "--wait")
                self.assertEqual(self.versions(), before)

    def helm(self, verb: str, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.control.helm(verb, RELEASE, str(CHART), "-n", NAMESPACE, *options, check=check)

    def test_metallb_itself_works_with_ours(self) -> None:
        """Its controller gives the tutorial's first address, out of a pool that our definition has taken."""
        self.define(OURS)
        others = [path for path in (partner.metallb.get() / "crds").glob("*.yaml") if path not in self.theirs]
        self.control.apply(text="\n---\n".join(path.read_text() for path in others))
        self.control.apply(text=TUTORIAL.read_text())
        self.control.kubectl("create", "service", "loadbalancer", "web", "--tcp=80:8000")
        # It looks for its own, to own a Secret.
        self.control.kubectl("-n", NAMESPACE, "create", "deployment", "controller", "--image=none", "--replicas=0")
        log = self.control.folder / "metallb-controller.log"
        controller = self.control.host.start(
            "env", f"KUBECONFIG={self.control.kubeconfig}", f"METALLB_NAMESPACE={NAMESPACE}", "METALLB_POD_NAME=controller",
            "METALLB_ML_SECRET_NAME=memberlist", "METALLB_DEPLOYMENT=controller", str(partner.metallb.get() / "metallb-controller"),
            "--webhook-mode=disabled", "--port=0", "--log-level=debug", stdout=log)
        self.addCleanup(stop, controller)
        self.addCleanup(self.control.kubectl, "delete", "service", "web")

        def address() -> str:
            self.assertIsNone(controller.poll(), log.read_text()[-2000:])
            status = self.control.get("service", "web")["status"]["loadBalancer"]
            return status["ingress"][0]["ip"] if status else ""

        self.assertEqual(eventually("an address", address, within=30), "192.168.0.200")
        eventually("the pool's status", lambda: self.control.get("ipaddresspool", "ipaddresspool", "-n", NAMESPACE).get("status") == {
            "assignedIPv4": 1, "assignedIPv6": 0, "availableIPv4": 50, "availableIPv6": 0}, within=10)

    def test_a_configuration_state_is_shown(self) -> None:
        self.define(OURS)
        self.control.apply(text=f"{{apiVersion: metallb.io/v1beta1, kind: ConfigurationState, metadata: {{name: pi1, namespace: {NAMESPACE}}}}}")
        self.control.patch_status("configurationstate", "pi1", {"result": "Invalid", "errorSummary": "missing pool name"}, NAMESPACE)
        shown = self.control.kubectl("get", "configurationstates", "-n", NAMESPACE).stdout.splitlines()
        self.assertEqual(shown[0].split(), ["NAME", "RESULT", "ERRORSUMMARY", "AGE"])
        self.assertRegex(shown[1], r"^pi1 +Invalid +missing pool name +\d+s$")

    def test_every_definition_of_ours_is_one(self) -> None:
        self.assertEqual({one["kind"] for path in OURS for one in objects(path.read_text())}, {"CustomResourceDefinition"})
        self.define(OURS)
        for path in OURS:
            name = yaml.safe_load(path.read_text())["metadata"]["name"]
            conditions = {one["type"]: one["status"] for one in self.control.get("crd", name)["status"]["conditions"]}
            self.assertEqual(conditions.get("NonStructuralSchema", "False"), "False", name)
