# SPDX-License-Identifier: Apache-2.0
"""The client of the API server (userspace/kube) against a real one: what it sees, what it survives, what its writes do."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import threading
from typing import Callable

from lab.lab import ROOT
from lab.namespace import CommandFailed, Namespace
from lab.traffic import eventually

from .story import NAMESPACE, RELEASE, TUTORIAL, ClusterStory

PROBE = os.environ.get("XLB_KUBE_PROBE", str(ROOT / "build/tests/kube/xlb_kube_probe"))


class Probe:
    """tests/kube/probe.cpp: the client, and what it has said."""

    def __init__(self, host: Namespace, kubeconfig: object, node: str = "") -> None:
        if not os.access(PROBE, os.X_OK):
            raise CommandFailed(f"no {PROBE}: build it (ninja xlb_kube_probe), or say where it is in XLB_KUBE_PROBE")
        self.process = subprocess.Popen(host.argv([PROBE, str(kubeconfig), *([node] if node else [])]), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        host.processes.append(self.process)
        self.state: dict | None = None
        self.lists = self.watches = 0
        self.troubles: list[str] = []
        self._answers: queue.Queue[dict] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self.process.stdout:
            said = json.loads(line)
            if "trouble" in said:
                self.troubles.append(said["trouble"])
            elif "answer" in said:
                self._answers.put(said["answer"])
            else:
                self.lists, self.watches, self.state = said["lists"], said["watches"], said["state"]

    def ask(self, verb: str, path: str, body: object = None, **more: str) -> dict:
        question = {"verb": verb, "path": path, "body": json.dumps(body) if body is not None else "", **more}
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self._answers.get(timeout=30)

    def sees(self, what: str, condition: Callable[[dict], object], within: float = 15) -> None:
        eventually(what, lambda: self.state is not None and condition(self.state), within=within)

    def end(self) -> int:
        self.process.stdin.close()
        return self.process.wait(timeout=2)


class ClientStory(ClusterStory):
    @classmethod
    def prepare(cls) -> None:
        cls.install()
        cls.control.apply(text=TUTORIAL.read_text())
        cls.control.kubectl("create", "service", "loadbalancer", "web", "--tcp=80:8000")
        cls.control.report_pod("web-1", "pi1", ["10.42.0.8"], "192.168.0.11", {"app": "web"})
        cls.kubeconfig = cls.control.account_kubeconfig(NAMESPACE, RELEASE)

    def probe(self, node: str = "") -> Probe:
        probe = Probe(self.host, self.kubeconfig, node)
        self.addCleanup(probe.end)
        probe.sees("the web service with its pod", lambda state: state["slices"].get("web"), within=30)
        return probe


class Client(ClientStory):
    def test_it_sees_what_is_there_with_the_charts_account(self) -> None:
        probe = self.probe()
        self.assertEqual((probe.lists, probe.troubles), (10, []))
        self.assertEqual(probe.state["services"], {"default/web": {"ingress": [], "contradiction": ""}})
        self.assertEqual(probe.state["nodes"], {name: [address] for name, address in self.NODES.items()})
        self.assertEqual((probe.state["pools"], probe.state["metallb_kinds"]), (["ipaddresspool"], True))
        self.control.report_ready("web-1", False)
        probe.sees("that the pod is not ready", lambda state: state["slices"]["web"] == [{"address": "10.42.0.8", "ready": False}])
        self.control.report_ready("web-1", True)
        probe.sees("that it is ready", lambda state: state["slices"]["web"] == [{"address": "10.42.0.8", "ready": True}])

    def test_pods_that_a_policy_selects(self) -> None:
        here, elsewhere = self.probe("pi1"), self.probe("pi2")
        self.control.apply({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "strict"},
                            "spec": {"podSelector": {"matchLabels": {"app": "web"}}}})
        here.sees("the pod is policed", lambda state: state["policed"] == ["10.42.0.8"])
        self.assertEqual(elsewhere.state["policed"], [], "it is not on that node")
        self.control.kubectl("delete", "networkpolicy", "strict")
        here.sees("it no longer is", lambda state: state["policed"] == [])

    def test_writes_and_their_preconditions(self) -> None:
        probe = self.probe()
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "vip-192.168.0.200"},
                 "spec": {"holderIdentity": "one"}}
        self.assertEqual(probe.ask("create", leases, lease)["status"], 201)
        again = probe.ask("create", leases, lease)
        self.assertEqual((again["status"], again["reason"]), (409, "AlreadyExists"), again)
        probe.sees("the lease", lambda state: state["leases"].get("vip-192.168.0.200", {}).get("holder") == "one")
        known = probe.state["leases"]["vip-192.168.0.200"]
        changed = {**lease, "metadata": {"name": "vip-192.168.0.200", "resourceVersion": known["version"]},
                   "spec": {"holderIdentity": "two"}}
        one = f"{leases}/vip-192.168.0.200"
        self.assertEqual(probe.ask("replace", one, changed)["status"], 200)
        self.assertEqual(probe.ask("replace", one, changed)["reason"], "Conflict", "somebody was faster")
        self.assertEqual(probe.ask("remove", one, uid="another")["reason"], "Conflict")
        self.assertEqual(probe.ask("remove", one, uid=known["uid"], version=known["version"])["reason"], "Conflict")
        probe.sees("the change", lambda state: state["leases"]["vip-192.168.0.200"]["holder"] == "two")
        version = probe.state["leases"]["vip-192.168.0.200"]["version"]
        self.assertEqual(probe.ask("remove", one, uid=known["uid"], version=version)["status"], 200)
        probe.sees("that it is gone", lambda state: "vip-192.168.0.200" not in state["leases"])
        status = {"metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": "ipaddresspool"}},
                  "status": {"loadBalancer": {"ingress": [{"ip": "192.168.0.200", "ipMode": "VIP"}]}}}
        path = "/api/v1/namespaces/default/services/web/status"
        self.assertEqual(probe.ask("merge", path, status)["status"], 200)
        probe.sees("the address", lambda state: state["services"]["default/web"]["ingress"] == ["192.168.0.200"])
        self.assertEqual(probe.ask("merge", path, {"status": {"loadBalancer": None}})["status"], 200)
        refused = probe.ask("create", "/api/v1/namespaces/default/pods", {"metadata": {"name": "x"}})
        self.assertEqual((refused["status"], refused["reason"]), (403, "Forbidden"))
        self.assertIn("cannot create resource", refused["error"])

    def test_a_server_that_goes_and_comes(self) -> None:
        probe = self.probe()
        before, lists = probe.state, probe.lists
        self.control.stop("kube-apiserver")
        eventually("it says so", lambda: probe.troubles)
        self.assertEqual(probe.state, before)
        self.control.start_server()
        self.control.kubectl("create", "service", "loadbalancer", "late", "--tcp=80:8000")
        self.addCleanup(self.control.kubectl, "delete", "service", "late")
        probe.sees("what is new", lambda state: "default/late" in state["services"], within=60)
        eventually("it says that it is over", lambda: len(probe.troubles) > 1, within=60)
        self.assertEqual(probe.troubles[1:], ["this is over: the API server cannot be reached"], "what it says while it starts is no news")
        self.assertLessEqual(probe.lists, lists + 20)

    def test_an_account_that_is_not_known(self) -> None:
        stranger = self.control.write_kubeconfig(self.control.folder / "stranger.kubeconfig", "nonsense")
        probe = Probe(self.host, stranger)
        self.addCleanup(probe.end)
        eventually("it says so", lambda: probe.troubles)
        self.assertTrue(probe.troubles[0].startswith("the API server does not know us (401): "), probe.troubles)
        self.assertIsNone(probe.state)

    def test_what_an_account_may_not_is_named_with_what_to_grant(self) -> None:
        """Everything but EndpointSlices."""
        rules = [{"apiGroups": [group], "resources": resources, "verbs": ["list", "watch"]} for group, resources in (
            ("", ["services", "nodes", "namespaces", "pods"]), ("networking.k8s.io", ["networkpolicies"]),
            ("coordination.k8s.io", ["leases"]), ("metallb.io", ["ipaddresspools", "l2advertisements", "servicel2statuses"]))]
        self.control.apply(
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "half", "namespace": NAMESPACE}},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "half"}, "rules": rules},
            {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "half"},
             "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "half"},
             "subjects": [{"kind": "ServiceAccount", "name": "half", "namespace": NAMESPACE}]})
        probe = Probe(self.host, self.control.account_kubeconfig(NAMESPACE, "half"))
        self.addCleanup(probe.end)
        eventually("it says so", lambda: probe.troubles)
        self.assertRegex(probe.troubles[0], r"^the API server refuses to list endpointslices \(403\): .*; "
                                            r"grant list and watch on endpointslices\.discovery\.k8s\.io$")
        self.assertIsNone(probe.state)
        self.assertEqual(len(probe.troubles), 1, probe.troubles)

    def test_it_ends_at_once(self) -> None:
        probe = Probe(self.host, self.kubeconfig)
        probe.sees("something", lambda state: state["services"], within=30)
        self.assertEqual(probe.end(), 0)


class Restored(ClientStory):
    """On a control plane of its own: controllers suffer from it, too."""

    def test_a_server_that_was_restored_from_an_older_copy(self) -> None:
        """Watches then begin at versions from the future, and say nothing at all."""
        self.control.stop("kube-apiserver")
        self.control.stop("etcd")
        copy = self.control.folder / "older"
        shutil.copytree(self.control.folder / "etcd", copy)
        self._start_again()
        for number in range(20):
            self.control.kubectl("create", "service", "loadbalancer", f"forgotten-{number}", "--tcp=80:8000")
        probe = self.probe()
        probe.sees("all of them", lambda state: len(state["services"]) >= 21)
        self.control.stop("kube-apiserver")
        self.control.stop("etcd")
        shutil.rmtree(self.control.folder / "etcd")
        copy.rename(self.control.folder / "etcd")
        self._start_again()
        probe.sees("what the copy holds", lambda state: not any("forgotten" in name for name in state["services"]), within=150)
        self.control.kubectl("create", "service", "loadbalancer", "after", "--tcp=80:8000")
        self.addCleanup(self.control.kubectl, "delete", "service", "after")
        probe.sees("what comes after", lambda state: "default/after" in state["services"], within=15)

    def _start_again(self) -> None:
        self.control.start_etcd()
        self.control.start_server()
