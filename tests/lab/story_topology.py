# SPDX-License-Identifier: Apache-2.0
"""The lab itself, without xdp-lb: what it promises to the other stories, and that they would notice a balancer missing."""

from __future__ import annotations

import subprocess

from . import servers
from .lab import CLUSTER_IP, CLUSTER_IP6, ROUTER_WAN, WAN_CLIENT, WAN_CLIENT6, down
from .namespace import stop
from .story import FIRST_VIP, Story
from .traffic import http, ping, who_has


class Topology(Story):
    @classmethod
    def prepare(cls) -> None:
        cls.ingress = servers.nginx(cls.lab, cls.lab.pods[0])
        servers.haproxy(cls.lab, cls.lab.pods[1])

    def test_everybody_reaches_the_pods_as_in_a_cluster(self) -> None:
        self.assertEqual(http(self.node, self.pods[0].address, 8000).pod, "pi1-pod8")
        self.assertEqual(http(self.node, self.pods[1].address6, 8443, tls=True).pod, "pi1-pod9")
        for cluster_ip in (CLUSTER_IP, CLUSTER_IP6):
            seen = {http(self.pods[0], cluster_ip).pod for _ in range(40)}
            self.assertEqual(seen, {"pi1-pod8", "pi1-pod9"}, f"kube-proxy's service {cluster_ip}")

    def test_pods_reach_the_world_masqueraded(self) -> None:
        with servers.tcp_server(self.wan, 7000, servers.say_name("wan")) as server:
            with self.pods[0].connect(WAN_CLIENT, 7000) as tcp:
                tcp.recv(100)
        self.assertEqual(server.peers[0][0], ROUTER_WAN)
        self.assertTrue(ping(self.pods[0], WAN_CLIENT6))

    def test_port_forward_keeps_the_client(self) -> None:
        """With a plain server behind it: the router, not xdp-lb, is looked at here."""
        self.node.ip(f"addr add {FIRST_VIP}/32 dev eth0")
        server = servers.nginx(self.lab, self.node, 80, 443)
        try:
            self.assertEqual(http(self.wan, ROUTER_WAN).client, WAN_CLIENT)
            self.assertEqual(server.clients(), [WAN_CLIENT])
            self.assertEqual(http(self.wan, ROUTER_WAN, 443, tls=True).client, WAN_CLIENT)
        finally:
            server.stop()
            self.node.ip(f"addr del {FIRST_VIP}/32 dev eth0")
            self.router.forget_neighbours()

    def test_nobody_has_the_vip_yet(self) -> None:
        self.assertEqual(who_has(self.lan, FIRST_VIP, "0.0.0.0", timeout=0.2), [])
        with self.assertRaises(OSError):
            http(self.lan, FIRST_VIP, timeout=0.5)

    def test_nothing_of_it_is_in_the_root_namespace(self) -> None:
        here = subprocess.run(["ip", "addr"], capture_output=True, text=True, check=True).stdout
        for address in ("192.168.0.", "203.0.113.", "10.42.0.", "fd00:0:0:1:", "fd00:42:"):
            self.assertNotIn(address, here)
        links = subprocess.run(["ip", "link"], capture_output=True, text=True, check=True).stdout
        self.assertNotIn("xlb-", links, "a wire that ends in a lab's namespace")
        self.assertEqual(self.wan.ip_json("route", "get", "8.8.8.8")[0]["gateway"], ROUTER_WAN)
        self.assertNotIn("default", {route["dst"] for route in self.router.ip_json("route")}, "a way out")

    def test_down_leaves_nothing(self) -> None:
        from .lab import Lab
        name = self.lab.name[:-1] + "z"
        lab = Lab(name, mode=self.lab.mode, binary=self.lab.binary).up()
        lab.node.start("sleep", "1000")
        starting = None
        if lab.node.cgroup is not None:  # in its cgroup already, not yet in its namespace
            starting = subprocess.Popen(["/bin/sh", "-c", 'echo $$ > "$0/cgroup.procs" && echo in && exec sleep 1000',
                                         str(lab.node.pod_cgroup)], stdout=subprocess.PIPE, text=True)
            self.assertEqual(starting.stdout.readline(), "in\n")
        down(name)  # as another process would, knowing only the name
        listing = subprocess.run(f"ls -d /run/netns/xlb-{name}-* /sys/fs/bpf/xlb-{name}-* /sys/fs/cgroup/xlb-{name}-* "
                                 f"/sys/fs/cgroup/unified/xlb-{name}-* /var/tmp/xlb-lab/{name} /dev/shm/xlb-lab/{name}", shell=True,
                                 capture_output=True, text=True).stdout
        self.assertEqual(listing, "")
        if starting is not None:
            stop(starting)
        lab.down()


class RoutedPods(Story):
    """Calico's way of connecting pods."""
    LAB = {"pod_style": "routed"}

    def test_everybody_reaches_the_pods(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.assertEqual(http(self.node, self.pods[0].address, 8000).pod, "pi1-pod8")
        self.assertEqual(http(self.pods[1], self.pods[0].address6, 8000).client, self.pods[1].address6)
        self.assertTrue(ping(self.pods[0], WAN_CLIENT))
