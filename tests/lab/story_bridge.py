# SPDX-License-Identifier: Apache-2.0
"""Pods are found, not configured: through ageing, deletion and return of a pod."""

from __future__ import annotations

import time

from . import servers
from .lab import Pod
from .story import FIRST_VIP, FULL, Story
from .traffic import Load, eventually, http

AGEING, TRAFFIC = (10, 60) if FULL else (2, 7)


class Ageing(Story):
    """Redirected frames starve the bridge's learning; its forgetting a MAC must not change the path."""
    FRESH = True

    def prepare_load(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.node.ip(f"link set cni0 type bridge ageing_time {AGEING * 100}")
        self.tutorial()
        http(self.lan, FIRST_VIP)

    def keep_talking(self) -> None:
        before = self.verdicts()
        load = Load(self.lan, FIRST_VIP, threads=1).start()
        time.sleep(TRAFFIC)
        load.stop()
        self.assertEqual(dict(load.errors), {}, str(load))
        counted = self.counted(before)
        self.assertNotIn("to_kernel", counted)
        self.assertGreater(counted.get("to_pod", 0), load.done)

    def test_without_daemon(self) -> None:
        self.prepare_load()
        self.keep_talking()

    def test_with_daemon(self) -> None:
        self.prepare_load()
        self.node.start(str(self.lab.binary), "run", stdout=self.lab.directory / "daemon.log")
        self.keep_talking()

    def test_pod_that_was_silent_before_it_became_a_backend(self) -> None:
        """No entry in the forwarding database yet: asked for, not guessed."""
        self.node.ip(f"link set cni0 type bridge ageing_time {AGEING * 100}")
        servers.nginx(self.lab, self.pods[0])
        self.node.run("ip", "neigh", "flush", "dev", "cni0")
        self.node.run("bridge", "fdb", "flush", "dev", self.pods[0].veth, check=False)
        self.tutorial()
        before = self.verdicts()
        for _ in range(5):
            http(self.lan, FIRST_VIP)
        self.assertGreater(self.counted(before).get("to_pod", 0), 0)


class PodDeleted(Story):
    FRESH = True

    def delete_under_load(self) -> None:
        """Within a second nothing vanishes any more: each packet is refused or left to the kernel, and counted."""
        load = Load(self.lan, FIRST_VIP, threads=2, timeout=1).start()
        time.sleep(1)
        self.assertGreater(load.done, 50, "the load runs")
        self.pods[0].remove()
        time.sleep(1)
        before = self.verdicts()
        with self.assertRaises(OSError):
            http(self.lan, FIRST_VIP, timeout=1.5)
        counted = self.counted(before)
        load.stop()
        told = sum(counted.get(name, 0) for name in ("to_kernel", "no_backend", "rejected_tcp", "not_live",
                                                     "reject_limited"))
        self.assertGreater(told, 0, counted)
        self.assertNotIn("to_pod", counted, "packets into a pod that is gone")
        self.assertNotIn("error", counted)

    def come_back(self) -> None:
        """The same address in a new pod, with another MAC and another veth, as after a restart."""
        pod = Pod(self.node, 8)
        pod.veth = "vethnew8"
        self.lab.extra.append(pod)
        pod.create()
        pod.sysctl(net__ipv6__conf__default__accept_dad=0)
        # Not the old pod's MAC first: of clients that still send the node's kernel would learn it.
        self.lab.connect_pod(pod, mac="02:00:00:42:99:08")
        servers.nginx(self.lab, pod)

    def test_with_daemon(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        self.node.start(str(self.lab.binary), "run", stdout=self.lab.directory / "daemon.log")
        eventually("the daemon serves", lambda: http(self.lan, FIRST_VIP))
        self.delete_under_load()
        self.come_back()

        def fast_again() -> bool:
            before = self.verdicts()
            http(self.lan, FIRST_VIP, timeout=1)
            return self.counted(before).get("to_pod", 0) > 0

        eventually("the pod that came back is served by the fast path", fast_again, within=10)

    def test_without_daemon(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        self.delete_under_load()
        self.come_back()
        # By the kernel path, or by the fast one after the next command has looked again.
        eventually("the pod that came back is served", lambda: http(self.lan, FIRST_VIP, timeout=1), within=10)
