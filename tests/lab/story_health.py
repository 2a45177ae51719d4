# SPDX-License-Identifier: Apache-2.0
"""Where Kubernetes does not say how backends are, the daemon asks them: a dead one gets no new flows."""

from __future__ import annotations

import time

from . import servers
from .story import FIRST_VIP, Story
from .traffic import eventually, http


class Health(Story):
    FRESH = True

    def backends(self) -> dict[str, dict]:
        services = self.node.lb_json("status")["services"]
        return {backend["address"]: backend for service in services for backend in service["backends"]}

    def serve(self, *options: str) -> None:
        self.add_pools()
        self.attach()
        self.node.start(str(self.lab.binary), "run", stdout=self.lab.directory / "daemon.log")
        eventually("the control socket", lambda: any(self.node.run_dir.rglob("*.sock")))
        self.node.lb("service", "add", "web", "--port", "80:8000", *(f"--backend={pod.address}" for pod in self.pods),
                     "--vip", FIRST_VIP, *options)

    def answering(self, count: int = 40) -> set[str]:
        """Pods that answer; each request has to succeed."""
        return {http(self.lan, FIRST_VIP, timeout=2).pod for _ in range(count)}

    def test_a_dead_backend_gets_no_new_flows_until_it_is_well_again(self) -> None:
        first, second = (servers.nginx(self.lab, pod) for pod in self.pods)
        self.serve("--health", "http:/")
        self.assertEqual(self.answering(), {"pi1-pod8", "pi1-pod9"})
        second.stop()
        dead = self.pods[1].address
        eventually("it is seen", lambda: not self.backends()[dead]["healthy"], within=10)
        # What it fell ill of: a server that ends may still have closed a connection before it refuses them.
        self.assertRegex(self.backends()[dead]["reason"],
                         rf"^health probe http:/ of {dead}:8000: (connection refused|closed without an answer|.*reset.*)$")
        self.assertTrue(self.backends()[self.pods[0].address]["healthy"])
        self.assertEqual(self.answering(), {"pi1-pod8"})
        # Who looks later, and the next daemon, know what this one knew: the tables stay as they are.
        self.assertEqual(self.node.lb_json("status")["pending_edits"], 0)
        servers.nginx(self.lab, self.pods[1])
        eventually("it is back", lambda: self.backends()[dead]["healthy"], within=10)
        self.assertEqual(self.answering(), {"pi1-pod8", "pi1-pod9"})
        self.assertTrue(first.clients())

    def test_with_nobody_well_the_address_is_not_answered_for(self) -> None:
        only = servers.nginx(self.lab, self.pods[0])
        self.serve("--health", "tcp:8000")  # the other pod serves nothing
        eventually("one is left", lambda: not self.backends()[self.pods[1].address]["healthy"], within=10)
        self.assertEqual(self.answering(), {"pi1-pod8"})
        only.stop()
        eventually("nobody is", lambda: not self.vip_status(FIRST_VIP)["owned"], within=10)
        self.assertIn("connection refused", self.vip_status(FIRST_VIP)["reason"])

    def test_probes_are_no_packets_of_a_vip(self) -> None:
        """They go to the backend's own address, so no verdict counts them, and the ingress sees the node."""
        ingress, _ = (servers.nginx(self.lab, pod) for pod in self.pods)
        self.serve("--health", "http:/probe")
        http(self.lan, FIRST_VIP)
        before, asked = self.verdicts(), len(ingress.clients())
        eventually("several probes", lambda: len(ingress.clients()) >= asked + 3)
        self.assertEqual({name: count for name, count in self.counted(before).items() if not name.startswith("arp")}, {})
        time.sleep(0.2)
        self.assertEqual(set(ingress.clients()[asked:]), {"10.42.0.1"})

    def test_nonsense_is_refused_in_a_sentence(self) -> None:
        done = self.node.lb("service", "add", "web", "--port", "80:8000", "--backend", self.pods[0].address, "--health", "icmp",
                            check=False)
        self.assertEqual(done.returncode, 2)
        self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
        self.assertIn("write tcp, tcp:PORT, http:/PATH", done.stderr)
