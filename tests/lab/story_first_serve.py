# SPDX-License-Identifier: Apache-2.0
"""The tutorial: a pool manifest, attach, an ingress; the router resolves 192.168.0.200 and forwards 80 and 443 to it."""

from __future__ import annotations

import json
import time

from . import servers
from .lab import LAN_CLIENT, LAN_CLIENT6, ROUTER_WAN, WAN_CLIENT, WAN_CLIENT6
from .story import FIRST_VIP, FIRST_VIP6, MODE, Story
from .traffic import http, ping, solicit, who_has


class FirstServe(Story):
    @classmethod
    def prepare(cls) -> None:
        cls.ingress = servers.nginx(cls.lab, cls.lab.pods[0])
        cls.tutorial()

    def test_router_resolves_the_vip_to_the_node(self) -> None:
        self.router.forget_neighbours()
        http(self.wan, ROUTER_WAN)
        entry = self.router.neighbour(FIRST_VIP)
        self.assertIsNotNone(entry, "the router never asked")
        self.assertEqual(entry["lladdr"], self.node.mac())

    def test_arp_probe_and_request_are_answered_once(self) -> None:
        for sender in ("0.0.0.0", LAN_CLIENT):
            self.assertEqual(who_has(self.lan, FIRST_VIP, sender), [self.node.mac()])

    def test_solicitation_with_and_without_option(self) -> None:
        for option in (True, False):
            with self.subTest(source_link_layer_option=option):
                answers = solicit(self.lan, FIRST_VIP6, LAN_CLIENT6, option=option)
                self.assertEqual([mac for mac, _ in answers], [self.node.mac()])
                self.assertEqual(answers[0][1] & 0x60, 0x40, "solicited set, override clear")

    def test_port_forward_shows_the_real_client(self) -> None:
        for url in ("http://203.0.113.1/", "https://203.0.113.1/"):
            body = self.wan.run("curl", "-sSk", "--max-time", "5", url).stdout
            self.assertEqual(body.split(), ["pi1-pod8", WAN_CLIENT])
        self.assertEqual(self.ingress.clients()[-2:], [WAN_CLIENT] * 2)

    def test_lan_client(self) -> None:
        self.assertEqual(http(self.lan, FIRST_VIP).client, LAN_CLIENT)
        self.assertEqual(http(self.lan, FIRST_VIP, 443, tls=True).client, LAN_CLIENT)

    def test_ipv6(self) -> None:
        for host, address in ((self.lan, LAN_CLIENT6), (self.wan, WAN_CLIENT6)):
            self.assertEqual(http(host, FIRST_VIP6).client, address)
            self.assertEqual(http(host, FIRST_VIP6, 443, tls=True).client, address)

    def test_ping(self) -> None:
        before = self.verdicts()
        for vip in (FIRST_VIP, FIRST_VIP6):
            for size in (0, 56, 1400):
                self.assertTrue(ping(self.lan, vip, size), f"{size} bytes to {vip}")
        self.assertGreaterEqual(self.counted(before).get("ping_reply", 0), 6)

    def test_unknown_tcp_port_is_refused_at_once(self) -> None:
        for host, vip in ((self.lan, FIRST_VIP), (self.lan, FIRST_VIP6), (self.wan, FIRST_VIP6)):
            since = time.monotonic()
            with self.assertRaises(ConnectionRefusedError, msg=f"{vip} from {host}"):
                host.connect(vip, 81, timeout=3)
            self.assertLess(time.monotonic() - since, 0.5)

    def test_unknown_udp_port_is_refused_at_once(self) -> None:
        for vip in (FIRST_VIP, FIRST_VIP6):
            with self.lan.udp(vip, 5999) as udp:
                udp.send(b"anybody?")
                with self.assertRaises(ConnectionRefusedError):
                    udp.recv(100)

    def test_addresses_of_the_node_itself_are_untouched(self) -> None:
        for address in (self.node.address, self.node.address6):
            self.assertTrue(ping(self.lan, address))
            with servers.tcp_server(self.node, 2222, servers.say_name("sshd"), "::"):
                with self.lan.connect(address, 2222) as ssh:
                    self.assertEqual(ssh.recv(100), b"sshd\n")
        self.assertEqual(who_has(self.lan, self.node.address, LAN_CLIENT), [self.node.mac()])
        self.assertEqual(who_has(self.lan, "192.168.0.201", LAN_CLIENT, timeout=0.2), [], "a VIP of nobody")

    def test_neighbour_stays_reachable_under_unicast_probes(self) -> None:
        """Routers confirm an entry by unicast before they broadcast again."""
        http(self.lan, FIRST_VIP)
        self.lan.run("ip", "neigh", "change", FIRST_VIP, "dev", "eth0", "nud", "probe", check=False)
        time.sleep(0.3)
        http(self.lan, FIRST_VIP)
        self.assertEqual(self.lan.neighbour(FIRST_VIP)["lladdr"], self.node.mac())

    def test_status(self) -> None:
        http(self.lan, FIRST_VIP)
        status = self.node.lb_json("status")
        self.assertEqual(status["node"], "pi1")
        link, = status["links"]
        self.assertEqual((link["name"], link["mode"]), ("eth0", MODE))
        self.assertTrue(link["programs"])
        vip = self.vip_status(FIRST_VIP)
        self.assertEqual((vip["pool"], vip["owned"], vip["services"]), ("ipaddresspool", True, ["default/traefik"]))
        traefik, = (s for s in status["services"] if s["name"].endswith("traefik"))
        self.assertEqual(traefik["vip"], FIRST_VIP)
        self.assertEqual({(p["port"], p["protocol"].lower()) for p in traefik["ports"]}, {(80, "tcp"), (443, "tcp")})
        self.assertEqual({b["address"] for b in traefik["backends"]}, {self.pods[0].address})
        self.assertEqual({b["path"] for b in traefik["backends"]}, {"fast"})
        for words in (("status",), ("pool", "ls"), ("service", "ls"), ("stats",), ("flows",)):
            text = self.node.lb(*words).stdout
            self.assertNotIn("\x1b", text, "colour without a terminal")
        self.assertIn(FIRST_VIP, self.node.lb("status").stdout)
        pool, = (p for p in self.node.lb_json("pool", "ls") if p["name"] == "ipaddresspool")
        self.assertEqual((pool["total"], pool["assigned"], pool["available"]), (51, 1, 50))

    def test_flows_are_listed(self) -> None:
        with self.lan.connect(FIRST_VIP, 80):
            text = json.dumps(self.node.lb_json("flows"))
        for part in (LAN_CLIENT, FIRST_VIP, self.pods[0].address):
            self.assertIn(part, text)

    def test_counters_tell_the_fast_path(self) -> None:
        before = self.verdicts()
        for _ in range(10):
            http(self.lan, FIRST_VIP)
        counted = self.counted(before)
        self.assertGreaterEqual(counted.get("to_pod", 0), 40, counted)
        self.assertGreaterEqual(counted.get("returned", 0), 40, counted)
        self.assertFalse(set(counted) & {"to_kernel", "error", "malformed", "no_backend", "not_live"}, counted)

    def test_netfilter_never_sees_a_fast_flow(self) -> None:
        http(self.lan, FIRST_VIP, source_port=45454)
        table = self.node.run("conntrack", "-L").stdout
        self.assertNotIn("45454", table)

    def test_maps_read_as_named_fields(self) -> None:
        for name, wanted in (("xlb_services", "slot_base"), ("xlb_vips", "vip_id"), ("xlb_backends", "generation")):
            pinned, = self.node.pin_dir.rglob(name)
            rows = json.loads(self.node.run("bpftool", "-j", "map", "dump", "pinned", str(pinned)).stdout)
            self.assertTrue(rows, name)
            self.assertIn(wanted, rows[0]["formatted"]["value"])

    def test_bpftool_shows_what_is_attached(self) -> None:
        shown = self.node.run("bpftool", "net").stdout
        self.assertIn("xlb_", shown)
        self.assertIn("eth0", shown)
