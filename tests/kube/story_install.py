# SPDX-License-Identifier: Apache-2.0
"""The chart goes into a real API server, by helm and by kubectl; is upgraded, and taken away."""

from __future__ import annotations

import base64

from lab.traffic import eventually

from .story import CHART, RELEASE, TUTORIAL, ClusterStory

POOL = '[{"name":"home","addresses":["192.168.0.200-192.168.0.250"]}]'


class Installed(ClusterStory):
    """Each test in a namespace of its own: nobody here deletes what is in a namespace."""

    def helm(self, namespace: str, *options: str) -> str:
        return self.control.helm("upgrade", "--install", RELEASE, str(CHART), "-n", namespace, "--create-namespace", *options).stdout

    def secret(self, namespace: str, name: str = "xdp-lb-key") -> tuple[str, str]:
        """Its uid, and the key in it."""
        found = self.control.get("secret", name, "-n", namespace)
        return found["metadata"]["uid"], base64.b64decode(found["data"]["cluster.key"]).decode()

    def pools(self, namespace: str) -> dict[str, list[str]]:
        return {pool["metadata"]["name"]: pool["spec"]["addresses"]
                for pool in self.control.get("ipaddresspools", "-n", namespace)["items"]}

    def test_a_pod_for_each_node(self) -> None:
        said = self.helm("each-node")
        self.assertIn("kubectl -n each-node rollout status daemonset/xdp-lb", said)
        self.assertIn("no addresses to give yet", said)
        pods = eventually("a pod for each node", lambda: (found := self.control.get("pods", "-n", "each-node")["items"])[1:] and found,
                          within=20)
        self.assertEqual(len(pods), 2)
        for pod in pods:
            self.assertEqual(pod["spec"]["priority"], 2000001000)
            self.assertTrue(pod["spec"]["hostNetwork"])
            self.assertEqual(pod["spec"]["containers"][0]["ports"][0]["hostPort"], 7474)
        fields = [pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"][0]
                  ["matchFields"][0]["values"][0] for pod in pods]
        self.assertEqual(sorted(fields), ["pi1", "pi2"])

    def test_an_upgrade_keeps_the_key_and_changes_the_rest(self) -> None:
        self.helm("upgraded")
        before = self.secret("upgraded")
        said = self.helm("upgraded", "--set-json", f"pools={POOL}", "--set", "log.level=debug")
        self.assertIn("192.168.0.200-192.168.0.250", said)
        self.assertEqual(self.secret("upgraded"), before)
        self.assertEqual(self.pools("upgraded"), {"home": ["192.168.0.200-192.168.0.250"]})
        arguments = self.control.get("daemonset", RELEASE, "-n", "upgraded")["spec"]["template"]["spec"]["containers"][0]["args"]
        self.assertIn("debug", arguments)
        self.helm("upgraded", "--set-json", POOL.replace(".200", ".210").join(("pools=", "")))
        self.assertEqual(self.pools("upgraded"), {"home": ["192.168.0.210-192.168.0.250"]})

    def test_uninstalling_keeps_pools_and_the_key(self) -> None:
        """Those that somebody applied; the chart's own go with it."""
        self.helm("away", "--set-json", f"pools={POOL}")
        self.control.apply(text=TUTORIAL.read_text().replace("metallb-system", "away"))
        before = self.secret("away")
        self.control.helm("uninstall", RELEASE, "-n", "away", "--wait")
        self.assertEqual(self.pools("away"), {"ipaddresspool": ["192.168.0.200-192.168.0.250"]})
        self.assertEqual(self.secret("away"), before)
        left = self.control.kubectl("get", "daemonset,serviceaccount,role,rolebinding", "-n", "away", "-o", "name").stdout
        self.assertEqual(left, "")
        self.assertEqual(self.control.kubectl("get", "clusterrole,clusterrolebinding", "-o", "name").stdout.count("away"), 0)
        self.helm("away")
        self.assertEqual(self.secret("away"), before)

    def test_a_manifest_for_kubectl(self) -> None:
        """Rendered and applied; rendered again, it would bring another key, and the API server refuses that and takes the rest."""
        self.control.kubectl("create", "namespace", "rendered")
        render = ("template", RELEASE, str(CHART), "-n", "rendered", "--include-crds")

        def apply(*options: str, check: bool = True) -> str:
            done = self.control.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", check=check,
                                        stdin=self.control.helm(*render, *options).stdout)
            self.assertEqual(done.returncode == 0, check, done.stderr)
            return done.stdout + done.stderr

        apply()
        before = self.secret("rendered")
        said = apply("--set", "mode=tc", check=False)
        self.assertIn("immutable", said)
        self.assertEqual(self.secret("rendered"), before)
        template = self.control.get("daemonset", RELEASE, "-n", "rendered")["spec"]["template"]["spec"]
        self.assertIn("tc", template["containers"][0]["args"])
        apply("--set", "key.existingSecret=xdp-lb-key", "--set-json", f"pools={POOL}")
        self.assertEqual(self.secret("rendered"), before)
        self.assertEqual(self.pools("rendered"), {"home": ["192.168.0.200-192.168.0.250"]})

    def test_two_releases_do_not_meet(self) -> None:
        self.helm("first")
        self.helm("second")
        self.assertNotEqual(self.secret("first"), self.secret("second"))
        self.control.helm("uninstall", RELEASE, "-n", "first", "--wait")
        self.control.get("clusterrole", f"second:{RELEASE}")
