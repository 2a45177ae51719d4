# SPDX-License-Identifier: Apache-2.0
"""xdp-lb takes over from a running MetalLB, installed by its own chart: `xdp-lb migrate`. Clients go on meanwhile, and every
address is kept.

One cluster, one story: the tests are its chapters, in the order of their numbers."""

from __future__ import annotations

import json
import signal
import subprocess
import time

from lab import probes
from lab.lab import GATEWAY, GATEWAY6
from lab.traffic import Load, eventually, solicit, who_has

from . import control_plane, metallb, partner
from .metallb import MetalLB
from .nodes import NodesStory
from .story import CHART, FULL, NAMESPACE, RELEASE, need
from .story_services import ADVERTISEMENT, pool

HOME, HOME6, FAR = "192.168.0.200-192.168.0.210", "fd00:0:0:1::200-fd00:0:0:1::20f", "203.0.113.0/28"
SERVICES = {"web": "192.168.0.200", "shop": "192.168.0.201", "mail": "192.168.0.202", "held": "192.168.0.203", "six": "fd00:0:0:1::200"}
CLAIMS = sorted(f"vip-{vip}" if ":" not in vip else "vip-fd00-0-0-1-0-0-0-200" for vip in SERVICES.values())
ECHO = 9000
HELD = 30
REQUESTS = 10_000 if FULL else 5_000
PAUSE = 0.02  # as many requests as users make, not as many as go
# What a migration writes, or might.
WATCHED = ("deployments,daemonsets,pods,leases,ipaddresspools,l2advertisements,servicel2statuses,secrets,serviceaccounts", "-n", NAMESPACE)
CLUSTER_WIDE = ("services,nodes,customresourcedefinitions", "-A")


class Migrate(NodesStory):
    NODES, PODS = 3, 1
    STANDBY = ("--fail-back-delay", "2s", "--metrics", "127.0.0.1:7474", "--standby")
    OPTIONS = STANDBY
    CONTROLLERS = control_plane.CONTROLLERS + metallb.CONTROLLERS
    # MetalLB's chart has brought the definitions.
    CHART_OPTIONS = ("--skip-crds", "--set", "standby=true")

    @classmethod
    def setUpClass(cls) -> None:
        need(partner.metallb, partner.metallb_chart)
        super().setUpClass()
        pods = cls.control.pods_of(RELEASE, NAMESPACE)
        for node in cls.lab.nodes:
            cls.control.bind(pods[node.role], node.role, NAMESPACE)
            cls.control.patch_status("pod", pods[node.role]["metadata"]["name"], {
                "phase": "Running", "hostIP": node.address, "podIP": node.address, "podIPs": [{"ip": node.address}],
                "conditions": [{"type": "Ready", "status": "True"}]}, NAMESPACE)

    @classmethod
    def prepare(cls) -> None:
        for node in cls.lab.nodes:
            cls.control.start_proxy(node)
        for node in cls.lab.nodes:
            for pod in node.pods:
                probes.echo(pod, ECHO)
        cls.metallb = MetalLB(cls.control, cls.lab.nodes)
        cls.addClassCleanup(cls.metallb.stop)
        cls.metallb.install()
        cls.control.apply(pool("home", HOME), pool("home6", HOME6), pool("far", FAR, autoAssign=False), ADVERTISEMENT)
        # MetalLB announces whatever it is told; it is in no subnet of the nodes.
        cls.lab.lan.ip(f"route add {FAR} dev eth0")

    # -- words -------------------------------------------------------------------------------------------------------

    def migrate(self, *options: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.host.run(str(self.lab.binary), "migrate", "--kubeconfig", str(self.control.kubeconfig), *options, check=check,
                             timeout=300)

    def versions(self) -> list[str]:
        said = ""
        for what in (WATCHED, CLUSTER_WIDE):
            said += self.kubectl("get", *what, "-o", "jsonpath={range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name} "
                                                     "{.metadata.resourceVersion}{'\\n'}{end}")
        return sorted(said.splitlines())

    def claims(self) -> list[str]:
        return [one["metadata"]["name"] for one in self.control.get("leases", "-n", NAMESPACE)["items"]
                if one["metadata"]["name"].startswith("vip-")]

    def who(self, vip: str) -> list[str]:
        """The nodes that answer for it, whoever answers there."""
        names = {node.mac(): node.role for node in self.lab.nodes}
        if ":" in vip:
            macs = [mac for mac, _ in solicit(self.lab.router, vip, GATEWAY6, interface="lan0", timeout=0.3)]
        else:
            macs = who_has(self.lab.router, vip, GATEWAY, interface="lan0", timeout=0.3)
        return sorted(names.get(mac, mac) for mac in macs)

    def clients_know(self) -> bool:
        """The LAN client has the MAC of the node that answers; who has none asks."""
        names = {node.mac(): node.role for node in self.lab.nodes}
        known = {vip: (self.lab.lan.neighbour(vip) or {}).get("lladdr") for vip in SERVICES.values()}
        return all(mac is None or [names.get(mac)] == self.who(vip) for vip, mac in known.items())

    def all_answered(self) -> None:
        for name, vip in SERVICES.items():
            self.until(f"one node answers for {name}", lambda: len(self.who(vip)) == 1)
            self.until(f"{name} answers", lambda: self.answers(self.lab.lan, vip))

    def verdicts(self, name: str) -> int:
        return sum(node.lb_json("stats")["verdicts"].get(name, {"packets": 0})["packets"] for node in self.lab.nodes)

    def other_verdicts(self) -> dict[str, dict[str, int]]:
        """By node: what packets have met but for the way to a pod and back."""
        fine = {"to_pod", "to_peer", "returned", "returned_kernel", "echo_returned", "echo_home"}
        return {node.role: {name: counted["packets"] for name, counted in node.lb_json("stats")["verdicts"].items()
                            if counted["packets"] and name not in fine} for node in self.lab.nodes}

    def until(self, what, condition, within=40):  # type: ignore[no-untyped-def]
        try:
            return super().until(what, condition, within)
        except AssertionError as never:
            raise AssertionError(f"{never}\n{self.metallb.logs()}") from None

    # -- the story ---------------------------------------------------------------------------------------------------

    def test_1_beside_metallb_nothing_is_touched(self) -> None:
        for name, more in (("web", {}), ("shop", {"externalTrafficPolicy": "Local"}), ("mail", {}),
                           ("held", {"ports": [{"name": "echo", "port": ECHO, "targetPort": ECHO},
                                              {"name": "web", "port": 80, "targetPort": 8000}]}),
                           ("six", {"ipFamilies": ["IPv6"]})):
            self.service(name, **more)
            self.until(f"MetalLB gives {name} its address", lambda: self.addresses(name) == [SERVICES[name]])
        self.all_answered()
        for node in self.lab.nodes:
            self.assertEqual(node.lb_json("status")["vips"], [])
            self.assertIn("standby: MetalLB's until", self.log(node))
        self.assertEqual(self.claims(), [])

    def test_2_a_dry_run_changes_nothing(self) -> None:
        eventually("MetalLB says who announces",
                   lambda: len(self.control.get("servicel2statuses", "-n", NAMESPACE)["items"]) == len(SERVICES), within=30)
        before = self.versions()
        said = self.migrate().stdout
        self.assertEqual(self.versions(), before)
        for vip in SERVICES.values():
            self.assertIn(vip, said)
        self.assertIn("Nothing was changed", said)
        self.assertIn("helm uninstall metallb", said)
        plan = json.loads(self.migrate("-o", "json").stdout)
        self.assertEqual(self.versions(), before)
        self.assertEqual({vip["vip"]: vip["services"] for vip in plan["vips"]},
                         {vip: [f"default/{name}"] for name, vip in SERVICES.items()})
        self.assertEqual([plan["refusals"], plan["controller"]["stopped"], plan["namespace"]], [[], False, NAMESPACE])
        self.assertTrue(all(vip["from"] and not vip["taken_over"] for vip in plan["vips"]), plan["vips"])
        refused = self.migrate("-o", "json", "--yes", check=False)
        self.assertEqual(refused.returncode, 2, refused)
        self.assertIn("leave -o out", refused.stderr)

    def test_3_what_fails_in_the_middle_is_undone(self) -> None:
        # After the others: no node can take it, because it is in no subnet of theirs.
        self.service("far", annotations={"metallb.io/address-pool": "far"})
        self.until("MetalLB gives it an address", lambda: self.addresses("far"))
        far = self.addresses("far")[0]
        self.until("it answers", lambda: self.answers(self.lab.lan, far))
        failed = self.migrate("--yes", "--patience", "4s", check=False)
        self.assertEqual(failed.returncode, 1, failed.stdout)
        self.assertIn("taken over: 192.168.0.203", failed.stdout, "those before it went well")
        self.assertIn(f"{far} of default/far: no node has taken it", failed.stderr)
        self.assertEqual(self.claims(), [])
        deployment = self.control.get("deployment", "metallb-controller", "-n", NAMESPACE)
        self.assertEqual(deployment["spec"]["replicas"], 1)
        self.assertNotIn("xdp-lb.io/replicas", deployment["metadata"].get("annotations", {}))
        self.until("MetalLB's controller runs", self.metallb.runs)
        self.until("no node of xdp-lb has a VIP", lambda: all(not node.lb_json("status")["vips"] for node in self.lab.nodes))
        self.all_answered()
        self.assertTrue(self.answers(self.lab.lan, far))
        self.kubectl("delete", "service", "far")

    def test_4_whoever_was_killed_is_gone_on_with_or_undone(self) -> None:
        for how in (signal.SIGKILL, signal.SIGINT):
            running = self.host.start(str(self.lab.binary), "migrate", "--kubeconfig", str(self.control.kubeconfig), "--yes",
                                      stdout=self.control.folder / "interrupted.log")
            self.until("one VIP is claimed", self.claims)
            running.send_signal(how)
            running.wait(30)
            self.until("somebody answers for each", lambda: all(len(self.who(vip)) == 1 for vip in SERVICES.values()))
            self.assertFalse(self.metallb.runs())
            if how == signal.SIGKILL:
                self.assertIn("is scaled to 0 already", self.migrate("--yes").stdout)
                self.assertEqual(self.claims(), CLAIMS)
                self.assertEqual(self.control.get("deployment", "metallb-controller", "-n", NAMESPACE)["metadata"]["annotations"]
                                 ["xdp-lb.io/replicas"], "1")
            self.migrate("--undo")
            self.assertEqual(self.claims(), [])
            self.until("MetalLB's controller runs", self.metallb.runs)
            self.until("clients know where MetalLB announces from", self.clients_know)
            self.all_answered()
        self.assertIn("Go on: the same command", (self.control.folder / "interrupted.log").read_text())

    def test_5_every_address_is_kept_and_no_request_is_lost(self) -> None:
        before = {name: self.who(vip) for name, vip in SERVICES.items()}
        self.assertTrue(self.clients_know())
        held = probes.Held(self.lab.lan, SERVICES["held"], ECHO, HELD)
        loads = [Load(self.lab.lan, vip, threads=1, limit=REQUESTS // len(SERVICES), pause=PAUSE).start() for vip in SERVICES.values()]
        try:
            time.sleep(2)
            begun = time.monotonic()
            done = self.migrate("--yes")
            took = time.monotonic() - begun
        finally:
            for load in loads:
                load.wait()
        for load, name in zip(loads, SERVICES):
            self.assertEqual(sum(load.errors.values()), 0, f"{name}: {load}\n{self.other_verdicts()}\n{done.stdout}\n{self.logs()}")
        self.assertEqual(sum(load.done for load in loads), REQUESTS)
        self.assertLess(took, min(load.seconds for load in loads), "the requests are over before the migration is")
        for name, vip in SERVICES.items():
            self.assertEqual(self.addresses(name), [vip])
            self.assertIn(f"taken over: {vip}", done.stdout)
        self.assertEqual(self.claims(), CLAIMS)
        self.assertEqual({name: self.who(vip) for name, vip in SERVICES.items()}, before, "each goes on where it was announced")
        self.assertFalse(self.metallb.runs())
        told = held.end()
        self.assertEqual(told["broken"], 0, f"connections that were open before: {told}")

    def test_6_metallbs_speakers_are_silent_wherever_a_vip_goes(self) -> None:
        vip = SERVICES["web"]
        before = self.who(vip)
        owner = next(node for node in self.lab.nodes if [node.role] == before)
        owner.lb("drain")
        self.until("another node answers", lambda: len(self.who(vip)) == 1 and self.who(vip) != before)
        for _ in range(10):
            self.assertNotIn(owner.role, self.who(vip), "MetalLB's speaker there answers no more")
        self.assertGreater(self.verdicts("taken_over"), 0)
        for told in owner.lb_json("status")["vips"]:
            self.assertTrue(told["taken_over"], told)
            self.assertIn("kept silent", told["reason"])
        owner.lb("undrain")
        self.all_answered()

    def test_7_metallb_goes_and_nothing_changes(self) -> None:
        type(self).OPTIONS = self.STANDBY[:-1]
        self.control.helm("upgrade", RELEASE, str(CHART), "-n", NAMESPACE, "--reuse-values", "--set", "standby=false")
        for node in self.lab.nodes:
            self.daemons[node].send_signal(signal.SIGTERM)
            self.daemons[node].wait(10)
            self.start(node)
        self.until("one of them gives addresses out", lambda: any("gives addresses out" in self.log(node) for node in self.lab.nodes))
        self.all_answered()
        loads = [Load(self.lab.lan, vip, threads=1, pause=PAUSE).start() for vip in SERVICES.values()]
        try:
            self.control.helm("upgrade", "metallb", str(self.metallb.chart), "-n", NAMESPACE, "--reuse-values", "--set",
                              "crds.enabled=false")
            self.metallb.uninstall()
            time.sleep(3)
        finally:
            for load in loads:
                load.stop()
        for load, name in zip(loads, SERVICES):
            self.assertEqual(sum(load.errors.values()), 0, f"{name}: {load}")
        definitions = self.kubectl("get", "customresourcedefinitions", "-o", "name")
        for kind in ("ipaddresspools", "l2advertisements", "servicel2statuses"):
            self.assertIn(f"{kind}.metallb.io", definitions)
        self.assertNotIn("bgppeers.metallb.io", definitions, "helm has indeed taken away what nobody kept")
        self.assertEqual(len(self.control.get("ipaddresspools", "-n", NAMESPACE)["items"]), 3)
        for name, vip in SERVICES.items():
            self.assertEqual(self.addresses(name), [vip])
        self.all_answered()
        self.service("new")
        self.until("xdp-lb gives addresses out", lambda: self.addresses("new") == ["192.168.0.204"])

    def test_8_without_metallb_there_is_nothing_to_migrate(self) -> None:
        refused = self.migrate(check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("no Deployment of MetalLB's controller", refused.stderr)
