# SPDX-License-Identifier: Apache-2.0
"""Living with others on the LAN: announcing an address, not taking somebody's, noticing a thief."""

from __future__ import annotations

import ipaddress
import json
import time

from . import servers
from .lab import GATEWAY, GATEWAY6, LAN_CLIENT, LAN_CLIENT6
from .namespace import Namespace
from .servers import Server
from .story import FIRST_VIP, FIRST_VIP6, MODE, Story, service
from .traffic import ETH_ARP, ETH_IPV6, Arp, Listener, arp_frame, eventually, http, mac_bytes, mac_text, solicit, who_has

SECOND_VIP = "192.168.0.201"


class Announcements(Story):
    FRESH = True

    def listen(self) -> tuple[Listener, Listener]:
        return Listener(self.lan, ETH_ARP), Listener(self.lan, ETH_IPV6)

    def test_taking_an_address_is_announced(self) -> None:
        """Caches of clients that knew the address elsewhere are mended at once, both kinds of them."""
        arp, nd = self.listen()
        with arp, nd:
            self.tutorial()
            time.sleep(0.5)
        gratuitous = [a for a in arp.arps(FIRST_VIP) if a.target == FIRST_VIP]
        kinds = {a.operation for a in gratuitous}
        self.assertEqual(kinds, {1, 2}, "a request and a reply, sender and target the VIP")
        for announcement in gratuitous:
            self.assertEqual(announcement.sender_mac, self.node.mac())
            if announcement.operation == 2:
                self.assertEqual(announcement.target_mac, announcement.sender_mac, "so that Linux takes it at once")
        self.assertIn("ff:ff:ff:ff:ff:ff", {a.destination for a in gratuitous})
        advertisements = nd.advertisements(FIRST_VIP6)
        self.assertTrue(advertisements)
        for _, mac, flags in advertisements:
            self.assertEqual(mac, self.node.mac())
            self.assertEqual(flags & 0x60, 0x20, "unsolicited: override set, solicited clear")

    def test_the_gateway_is_told_by_itself_too(self) -> None:
        """Routers that ignore what goes to everybody; the node has talked to its gateway, so it knows its MAC."""
        for gateway in (GATEWAY, GATEWAY6):
            self.node.run("ping", "-c", "1", "-W", "1", gateway)
        arp, nd = Listener(self.router, ETH_ARP, "lan0"), Listener(self.router, ETH_IPV6, "lan0")
        with arp, nd:
            self.tutorial()
            time.sleep(0.5)
        router = self.router.mac("lan0")
        for destination in (router, "ff:ff:ff:ff:ff:ff"):
            kinds = [a.operation for a in arp.arps(FIRST_VIP) if a.target == FIRST_VIP and a.destination == destination]
            self.assertEqual((kinds.count(1), kinds.count(2)), (3, 3), f"at 0, 50 and 200 ms to {destination}")
        destinations = [mac_text(frame[:6]) for _, frame in nd.frames if frame[62:78] == ipaddress.IPv6Address(FIRST_VIP6).packed
                        and frame[20] == 58 and frame[54] == 136]
        self.assertEqual(destinations.count(router), 3, destinations)
        self.assertEqual(destinations.count("33:33:00:00:00:01"), 3, destinations)

    def test_daemon_repeats(self) -> None:
        self.tutorial()
        arp, nd = self.listen()
        with arp, nd:
            self.node.start(str(self.lab.binary), "run", stdout=self.lab.directory / "daemon.log")
            time.sleep(1)
            self.node.lb("service", "add", "second", "--port", "80:8000", "--backend", self.pods[0].address,
                         "--vip", SECOND_VIP)
            time.sleep(6.5)
        # 0, 50, 200 ms, then every 1.1 s until 5 s; frames of one announcement come within a few milliseconds.
        times = [a.at for a in arp.arps(SECOND_VIP) if a.operation == 1 and a.destination == "ff:ff:ff:ff:ff:ff"
                 and a.target == SECOND_VIP]
        self.assertGreaterEqual(len(times), 6, times)
        early = [at - times[0] for at in times if at - times[0] < 0.5]
        self.assertGreaterEqual(len(early), 3, early)
        self.assertLess(max(times) - times[0], 6)

    def test_cache_of_a_client_follows(self) -> None:
        """A client that had the address elsewhere, in its cache, reaches the VIP without waiting for its time-out."""
        servers.nginx(self.lab, self.pods[0])
        self.lan.ip(f"neigh add {FIRST_VIP} lladdr 02:00:00:00:00:99 dev eth0 nud reachable",
                    f"neigh add {FIRST_VIP6} lladdr 02:00:00:00:00:99 dev eth0 nud reachable")
        self.tutorial()
        for vip in (FIRST_VIP, FIRST_VIP6):
            eventually(f"the client reaches {vip}", lambda vip=vip: http(self.lan, vip, timeout=0.5), within=2)


class Taken(Story):
    """Somebody else has the address: a printer with a static one, a DHCP lease."""
    FRESH = True

    def setUp(self) -> None:
        super().setUp()
        servers.nginx(self.lab, self.pods[0])
        self.printer: Namespace = self.lab.add_host("printer", 77)
        self.printer.ip(f"addr add {FIRST_VIP}/24 dev eth0", f"addr add {FIRST_VIP6}/64 dev eth0 nodad")
        self.add_pools()

    def declare(self) -> None:
        """Both services, before anything is attached: there is nobody to ask yet."""
        for name, address, vip in (("a", self.pods[0].address, FIRST_VIP), ("b", self.pods[0].address6, FIRST_VIP6)):
            self.apply(service(name, [(80, 8000, "TCP")], [address], vip=vip))

    def assertOnlyPrinterAnswers(self) -> None:
        self.assertEqual(who_has(self.lan, FIRST_VIP, "0.0.0.0"), [self.printer.mac()])
        self.assertEqual([mac for mac, _ in solicit(self.lan, FIRST_VIP6, LAN_CLIENT6)], [self.printer.mac()])

    def test_a_service_that_asks_for_it_is_refused(self) -> None:
        self.attach()
        for name, address, vip in (("a", self.pods[0].address, FIRST_VIP), ("b", self.pods[0].address6, FIRST_VIP6)):
            with self.subTest(vip=vip):
                done = self.node.lb("service", "add", name, "--port", "80:8000", "--backend", address, "--vip", vip,
                                    check=False)
                self.assertEqual(done.returncode, 1, done.stdout)
                self.assertIn(vip, done.stderr)
                self.assertIn(self.printer.mac(), done.stderr)
        self.assertOnlyPrinterAnswers()

    def test_a_service_that_takes_any_gets_another(self) -> None:
        self.attach()
        done = self.node.lb("service", "add", "a", "--port", "80:8000", "--backend", self.pods[0].address)
        self.assertIn(self.printer.mac(), done.stdout + done.stderr)
        self.assertEqual(http(self.lan, SECOND_VIP).pod, "pi1-pod8")
        self.assertEqual(who_has(self.lan, FIRST_VIP, "0.0.0.0"), [self.printer.mac()])

    def test_found_when_attaching_and_said_by_status(self) -> None:
        self.declare()
        done = self.node.lb("attach", "eth0", "--mode", MODE)
        for part in (FIRST_VIP, FIRST_VIP6, self.printer.mac()):
            self.assertIn(part, done.stdout + done.stderr)
        self.assertIn(self.printer.mac(), self.node.lb("status").stdout)
        for vip in self.node.lb_json("status")["vips"]:
            self.assertFalse(vip["owned"], vip)
        self.assertOnlyPrinterAnswers()

    def test_taken_once_it_is_free(self) -> None:
        self.declare()
        self.attach()
        self.node.start(str(self.lab.binary), "run", stdout=self.lab.directory / "daemon.log")
        printer = self.printer.mac()
        self.printer.remove()
        self.lan.forget_neighbours()
        # The kernel takes a namespace down in the background: for a moment it still answers. The daemon asks when it starts,
        # so it may have taken them already.
        for address, ask in ((FIRST_VIP, lambda: who_has(self.lan, FIRST_VIP, LAN_CLIENT)),
                             (FIRST_VIP6, lambda: [mac for mac, _ in solicit(self.lan, FIRST_VIP6, LAN_CLIENT6)])):
            eventually(f"the printer does not answer for {address}", lambda ask=ask: printer not in ask(), within=10)
        self.node.lb("attach", "eth0", "--mode", MODE)
        for vip in (FIRST_VIP, FIRST_VIP6):
            eventually(f"{vip} is taken when nobody answers any more", lambda vip=vip: http(self.lan, vip, timeout=0.5),
                       within=10)

    def test_probe_is_not_repeated_for_an_address_in_use(self) -> None:
        """Who has served it before does not ask again: a fail-over must not wait for a probe."""
        self.printer.remove()
        self.declare()
        self.attach()
        self.lan.forget_neighbours()
        with Listener(self.lan, ETH_ARP) as arp:
            self.attach()
            self.node.lb("upgrade")
            time.sleep(0.3)
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")
        probes = [a for a in arp.arps("0.0.0.0") if a.target == FIRST_VIP]
        self.assertEqual(probes, [])


class ProxyArp(Story):
    """A router that answers for every address must not take all VIPs away: a warning, not a conflict."""
    FRESH = True

    def setUp(self) -> None:
        super().setUp()
        servers.nginx(self.lab, self.pods[0])
        self.proxy = self.lab.add_host("proxy", 78)
        self.add_pools()
        self.attach()

    def serve(self, *options: str) -> str:
        done = self.node.lb("service", "add", "traefik", "--port", "80:8000", "--backend", self.pods[0].address, *options)
        self.assertTrue(self.vip_status(FIRST_VIP)["owned"])
        return done.stdout + done.stderr

    def test_linux_as_a_proxy(self) -> None:
        """It answers requests, not probes: there is nothing to warn of, and nothing to mistake."""
        self.proxy.sysctl(net__ipv4__ip_forward=1, net__ipv4__conf__eth0__proxy_arp=1,
                          net__ipv4__neigh__eth0__proxy_delay=0)
        self.proxy.ip("link add hole type veth peer name end", "link set hole up", "link set end up",
                      "route add 192.168.0.192/26 dev hole")
        self.assertEqual(who_has(self.lan, "192.168.0.222", LAN_CLIENT), [self.proxy.mac()], "the proxy answers")
        self.serve()

    def answer_everybody(self) -> Server:
        """A router with a proxy that makes no difference between requests and probes."""
        server, own = Server(), self.proxy.mac()
        hosts = (GATEWAY, LAN_CLIENT, self.node.address, "192.168.0.78")  # who are there answer for themselves
        raw = self.proxy.packets("eth0", ETH_ARP)
        raw.settimeout(0.2)
        server.sockets.append(raw)

        def answer() -> None:
            asked = Arp.parse(raw.recv(2000), 0)
            if asked and asked.operation == 1 and asked.target not in hosts and asked.target != asked.sender:
                raw.send(arp_frame(own, 2, asked.target, asked.sender, target_mac=asked.sender_mac,
                                   destination=mac_bytes(asked.sender_mac)))

        server.serve(answer)
        return server

    def test_any_address(self) -> None:
        with self.answer_everybody():
            self.assertIn(self.proxy.mac(), self.serve(), "who does that, in a warning")

    def test_an_address_asked_for(self) -> None:
        with self.answer_everybody():
            self.assertIn(self.proxy.mac(), self.serve("--vip", FIRST_VIP), "who does that, in a warning")


class Thief(Story):
    """Somebody begins to claim a VIP that this node owns."""
    FRESH = True

    def test_noticed_named_and_defended(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        daemon_log = self.lab.directory / "daemon.log"
        self.node.start(str(self.lab.binary), "run", stdout=daemon_log)
        eventually("the daemon serves", lambda: http(self.lan, FIRST_VIP))
        time.sleep(0.5)
        thief = self.lab.add_host("thief", 66)
        before = self.verdicts()
        with Listener(self.lan, ETH_ARP) as arp:
            with thief.packets("eth0", ETH_ARP) as raw:
                since = time.monotonic()
                for operation in (1, 2):
                    raw.send(arp_frame(thief.mac(), operation, FIRST_VIP, FIRST_VIP))
            time.sleep(1.5)
        self.assertGreaterEqual(self.counted(before).get("conflict", 0), 1)
        defence = [a for a in arp.arps(FIRST_VIP) if a.sender_mac == self.node.mac() and a.at > since]
        self.assertTrue(defence, "the node says whose it is")
        self.assertIn(thief.mac(), daemon_log.read_text())
        self.assertTrue(self.vip_status(FIRST_VIP)["owned"], "never yields to a stranger")
        eventually("clients are back", lambda: http(self.lan, FIRST_VIP, timeout=1), within=10)

    def test_status_says_it_without_a_daemon(self) -> None:
        self.tutorial()
        thief = self.lab.add_host("thief", 66)
        before = self.verdicts()
        with thief.packets("eth0", ETH_ARP) as raw:
            raw.send(arp_frame(thief.mac(), 2, FIRST_VIP, FIRST_VIP))
        eventually("counted", lambda: self.counted(before).get("conflict", 0) >= 1, within=10)
        json.dumps(self.node.lb_json("stats"))
