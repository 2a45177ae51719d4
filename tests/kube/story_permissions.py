# SPDX-License-Identifier: Apache-2.0
"""The chart's account may do what the daemon does, and nothing else: asked of the real authorizer, with the account's own token."""

from __future__ import annotations

from .api import Api
from .story import NAMESPACE, RELEASE, TUTORIAL, ClusterStory

READ = ("get", "list", "watch")
# All that the daemon asks the API server for. A verb that is added here is added to charts/xdp-lb/templates/rbac.yaml, and the other
# way round.
EVERYWHERE: dict[str, tuple[str, ...]] = {
    "services": READ,
    "nodes": READ,
    "namespaces": READ,
    "pods": READ,
    "endpointslices.discovery.k8s.io": READ,
    "networkpolicies.networking.k8s.io": READ,
    "services/status": ("patch",),
    "events": ("create", "patch"),
}
OWN_NAMESPACE: dict[str, tuple[str, ...]] = {
    "leases.coordination.k8s.io": (*READ, "create", "update", "patch", "delete"),
    "ipaddresspools.metallb.io": READ,
    "l2advertisements.metallb.io": READ,
    "ipaddresspools/status.metallb.io": ("patch", "update"),
    "servicel2statuses.metallb.io": (*READ, "create", "update", "patch", "delete"),
    "servicel2statuses/status.metallb.io": ("patch", "update"),
    "configurationstates.metallb.io": (*READ, "create", "update", "patch", "delete"),
    "configurationstates/status.metallb.io": ("patch", "update"),
}
# What Kubernetes lets everybody do who has a token: ask about oneself.
EVERYBODY = {("create", f"{name}.{group}") for name, group in (
    ("selfsubjectaccessreviews", "authorization.k8s.io"), ("selfsubjectrulesreviews", "authorization.k8s.io"),
    ("selfsubjectreviews", "authentication.k8s.io"))}
MERGE = "application/merge-patch+json"


class Account(ClusterStory):
    @classmethod
    def prepare(cls) -> None:
        cls.install()
        cls.control.apply(text=TUTORIAL.read_text())
        cls.control.kubectl("create", "service", "loadbalancer", "web", "--tcp=80:8000")
        cls.api = Api(cls.control, cls.control.token(NAMESPACE, RELEASE))
        cls.addClassCleanup(cls.api.close)

    def test_what_it_needs_it_may(self) -> None:
        for needed, namespaces in ((EVERYWHERE, ("", "default", NAMESPACE)), (OWN_NAMESPACE, (NAMESPACE,))):
            for resource, verbs in needed.items():
                for verb in verbs:
                    for namespace in namespaces:
                        self.assertTrue(self.api.may(verb, resource, namespace), f"{verb} {resource} in {namespace or 'all namespaces'}")

    def test_what_it_does_not_need_it_may_not(self) -> None:
        """The authorizer's own list of what the account may do, rule by rule, is the list above."""
        everywhere = EVERYBODY | {(verb, resource) for resource, verbs in EVERYWHERE.items() for verb in verbs}
        own = everywhere | {(verb, resource) for resource, verbs in OWN_NAMESPACE.items() for verb in verbs}
        for namespace, wanted in ((NAMESPACE, own), ("default", everywhere), ("kube-system", everywhere)):
            with self.subTest(namespace):
                code, said = self.api.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {
                    "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace}})
                self.assertEqual((code, said["status"]["incomplete"]), (201, False), said)
                granted = {(verb, f"{resource}.{group}" if group else resource) for rule in said["status"]["resourceRules"]
                           for verb in rule["verbs"] for group in rule["apiGroups"] for resource in rule["resources"]}
                self.assertEqual(sorted(granted), sorted(wanted))
                self.assertEqual({verb for rule in said["status"]["nonResourceRules"] for verb in rule["verbs"]}, {"get"})

    def test_what_would_be_a_way_around_is_closed(self) -> None:
        for verb, resource in (("impersonate", "users"), ("escalate", "roles.rbac.authorization.k8s.io"), ("create", "pods/exec"),
                               ("bind", "clusterroles.rbac.authorization.k8s.io"), ("create", "serviceaccounts/token"),
                               ("get", "secrets"), ("patch", "services"), ("create", "pods")):
            self.assertFalse(self.api.may(verb, resource, NAMESPACE), f"{verb} {resource}")

    # -- not only reviewed, but done -------------------------------------------------------------------------------------

    def test_address_and_annotation_are_one_patch_of_the_status(self) -> None:
        code, service = self.api.ask("PATCH", "/api/v1/namespaces/default/services/web/status", {
            "metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": "ipaddresspool"}},
            "status": {"loadBalancer": {"ingress": [{"ip": "192.168.0.200", "ipMode": "VIP"}]}}}, MERGE)
        self.assertEqual(code, 200, service)
        self.assertEqual(service["metadata"]["annotations"]["metallb.io/ip-allocated-from-pool"], "ipaddresspool")
        shown = self.control.kubectl("get", "service", "web").stdout
        self.assertRegex(shown, r"web +LoadBalancer +10\.43\.\S+ +192\.168\.0\.200 ")
        # As a controller's patch that takes both away.
        code, service = self.api.ask("PATCH", "/api/v1/namespaces/default/services/web/status", {
            "metadata": {"annotations": {"metallb.io/ip-allocated-from-pool": None}}, "status": {"loadBalancer": {"ingress": None}}}, MERGE)
        self.assertEqual((code, service["metadata"].get("annotations"), service["status"]["loadBalancer"]), (200, None, {}))

    def test_an_address_is_claimed_by_creating_a_lease(self) -> None:
        leases = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases"
        lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "vip-192.168.0.200"},
                 "spec": {"holderIdentity": "uid"}}
        code, made = self.api.ask("POST", leases, lease)
        self.assertEqual(code, 201, made)
        self.assertEqual(self.api.ask("POST", leases, lease)[0], 409)
        wrong = {"preconditions": {"uid": made["metadata"]["uid"], "resourceVersion": "1"}}
        self.assertEqual(self.api.ask("DELETE", f"{leases}/vip-192.168.0.200", wrong)[0], 409)
        wrong["preconditions"]["resourceVersion"] = made["metadata"]["resourceVersion"]
        self.assertEqual(self.api.ask("DELETE", f"{leases}/vip-192.168.0.200", wrong)[0], 200)
        self.assertEqual(self.api.ask("POST", leases.replace(NAMESPACE, "default"), lease)[0], 403)

    def test_writing_anything_else_is_refused(self) -> None:
        service = "/api/v1/namespaces/default/services/web"
        pool = f"/apis/metallb.io/v1beta1/namespaces/{NAMESPACE}/ipaddresspools/ipaddresspool"
        for method, path, body in (("PATCH", service, {"spec": {"externalIPs": ["192.168.0.1"]}}),
                                   ("PATCH", service, {"metadata": {"annotations": {"a": "b"}}}),
                                   ("DELETE", service, None),
                                   ("POST", "/api/v1/namespaces/default/pods", {"apiVersion": "v1", "kind": "Pod"}),
                                   ("GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/xdp-lb-key", None),
                                   ("PATCH", "/api/v1/nodes/pi1", {"spec": {"unschedulable": True}}),
                                   ("PATCH", pool, {"spec": {"addresses": ["10.0.0.0/8"]}}),
                                   ("DELETE", pool, None)):
            with self.subTest(f"{method} {path}"):
                code, said = self.api.ask(method, path, body, MERGE if method == "PATCH" else "application/json")
                self.assertEqual(code, 403, said)
