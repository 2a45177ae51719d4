# SPDX-License-Identifier: Apache-2.0
"""The lab's own instruments: faults do what they say, and probes measure a fault of known length as long as it was.

No xdp-lb in here. The stories about dying nodes believe these instruments.
"""

from __future__ import annotations

import threading
import time

from . import probes
from .faults import Faults, allow_udp, drop_all_udp
from .story import Story
from .traffic import ETH_ARP, Listener, eventually, ping, who_has

SLACK = 80  # ms; three stories share the machine's CPUs


class Instruments(Story):
    LAB = {"nodes": 3, "pods": 1}
    ONLY_MODE = "tc"

    @classmethod
    def prepare(cls) -> None:
        cls.faults = Faults(cls.lab)
        cls.watcher = cls.lab.add_host("watcher", 60)
        cls.one, cls.two, cls.three = cls.lab.nodes

    def tearDown(self) -> None:
        self.faults.heal()
        super().tearDown()

    def hears(self, host, other) -> bool:
        return ping(host, other.address, timeout=0.3)

    def test_an_outage_is_measured_as_long_as_it_was(self) -> None:
        server = probes.echo(self.one)
        for udp in (False, True):
            with self.subTest(udp=udp):
                flows = probes.NewFlows(self.lan, self.one.address, 9000, udp=udp)
                time.sleep(0.3)
                cut = time.monotonic()
                self.faults.cut(self.one)
                time.sleep(0.3)
                mended = time.monotonic()
                self.faults.mend(self.one)
                time.sleep(0.5)
                seen = flows.end()
                outage, real = flows.outage(cut), (mended - cut) * 1000
                for measured in (outage.window, outage.gap):
                    self.assertLess(abs(measured - real), SLACK, f"{outage} instead of {real:.0f} ms: {seen}")
                self.assertGreater(outage.failed, 100)
                self.assertEqual(len(seen["windows"]), 1, seen)
        server.terminate()

    def test_refused_flows_failed(self) -> None:
        flows = probes.NewFlows(self.lan, self.two.address, 9999)
        time.sleep(0.2)
        seen = flows.end()
        self.assertEqual(seen["failed"], seen["flows"])
        self.assertIn("Connection refused", seen["reasons"])

    def test_two_who_answer_are_seen_and_one_is_not_two(self) -> None:
        address = "192.168.0.222"
        self.one.ip(f"addr add {address}/24 dev eth0")
        watch = probes.Watch(self.watcher, address)
        time.sleep(0.3)
        since = time.monotonic()
        self.two.ip(f"addr add {address}/24 dev eth0")
        time.sleep(0.25)
        self.one.ip(f"addr del {address}/24 dev eth0")
        both = (time.monotonic() - since) * 1000
        time.sleep(0.2)
        self.two.ip(f"addr del {address}/24 dev eth0")
        nobody = time.monotonic()
        time.sleep(0.3)
        seen = watch.end()
        self.assertLess(abs(watch.double() - both), SLACK, seen)
        self.assertEqual(watch.double(until=since), 0, seen)
        self.assertEqual(watch.moves(), 1, seen)
        self.assertGreater(watch.silence(nobody), 300 - SLACK, seen)
        self.assertLess(watch.silence(until=nobody), SLACK, seen)

    def test_held_connections_break_with_their_server_and_not_with_the_wire(self) -> None:
        servers = {node: probes.echo(node, 9100) for node in (self.one, self.two)}
        steady = probes.Held(self.lan, self.one.address, 9100, 20)
        doomed = probes.Held(self.lan, self.two.address, 9100, 20)
        self.faults.cut(self.one)
        time.sleep(0.5)
        self.faults.mend(self.one)
        servers[self.two].kill()
        time.sleep(0.5)
        seen = steady.end()
        self.assertEqual((seen["broken"], seen["servers"]["pi1"]), (0, {"opened": 20, "broken": 0}), seen)
        self.assertGreater(seen["latest_ms"], 400, "what was sent into the cut wire came back late")
        self.assertEqual(doomed.end()["broken"], 20)

    def test_the_server_echoes_more_than_a_buffer_holds(self) -> None:
        probes.echo(self.one, 9400)
        with self.lan.connect(self.one.address, 9400) as connection:
            connection.settimeout(10)
            self.assertEqual(connection.recv(100), b"pi1\n")
            data = bytes(range(256)) * (16 << 10)
            sender = threading.Thread(target=connection.sendall, args=(data,))
            sender.start()
            time.sleep(0.3)
            back = b""
            while len(back) < len(data):
                back += connection.recv(1 << 20)
            sender.join()
            self.assertEqual(back, data)

    def test_each_fault_of_the_wires(self) -> None:
        one, two, three = self.one, self.two, self.three
        for name, fault, ears in (
                ("unplug", lambda: self.faults.unplug(one), {(two, one): False, (two, three): True}),
                ("cut", lambda: self.faults.cut(one), {(two, one): False, (two, three): True}),
                ("part", lambda: self.faults.part(one, two), {(one, two): False, (one, three): True, (two, three): True})):
            with self.subTest(name):
                fault()
                for (host, other), heard in ears.items():
                    self.assertEqual(self.hears(host, other), heard, f"{host} -> {other}")
                self.faults.heal()
                if name == "unplug":
                    self.assertEqual(one.ip_json("link", "show", "eth0")[0]["operstate"], "UP")
                eventually("healed", lambda: self.hears(one, two) and self.hears(two, one))

    def test_one_way(self) -> None:
        for name, fault in (("deafen", self.faults.deafen), ("mute", self.faults.mute)):
            with self.subTest(name):
                fault(self.one)
                deaf = name == "deafen"
                with Listener(self.two, ETH_ARP) as heard_by_two, Listener(self.one, ETH_ARP) as heard_by_one:
                    who_has(self.one, "192.168.0.99", self.one.address, timeout=0.1)
                    who_has(self.two, "192.168.0.99", self.two.address, timeout=0.1)
                    time.sleep(0.1)
                self.assertEqual(bool(heard_by_two.arps(self.one.address)), deaf)
                self.assertEqual(bool(heard_by_one.arps(self.two.address)), not deaf)
                self.faults.heal()

    def test_loss_by_chance(self) -> None:
        probes.echo(self.three, 9200)
        self.lan.connect(self.three.address, 9200).close()  # the neighbour is known: a lost ARP request costs a second
        self.faults.lose(20, self.three)
        flows = probes.NewFlows(self.lan, self.three.address, 9200, udp=True)
        time.sleep(1)
        seen = flows.end()
        share = seen["failed"] / seen["flows"]  # there and back: 36 %
        self.assertTrue(0.26 < share < 0.46, f"{share:.2f} of {seen['flows']}")

    def test_a_firewall_drops_udp_both_ways(self) -> None:
        server = probes.echo(self.two, 9300)
        with self.lan.udp(self.two.address, 9300, timeout=0.3) as udp:
            drop_all_udp(self.two)
            udp.send(b"x")
            with self.assertRaises(TimeoutError):
                udp.recv(100)
            allow_udp(self.two)
            udp.send(b"y")
            self.assertEqual(udp.recv(100), b"pi2y")
        server.terminate()


class Machines(Story):
    LAB = {"nodes": 3, "pods": 1}
    FRESH = True
    ONLY_MODE = "tc"

    def test_power_and_pods_reach_each_other(self) -> None:
        one, two, _ = self.lab.nodes
        (one.config_dir / "on-disk").write_text("still here")
        (one.run_dir / "in-memory").write_text("gone")
        server = probes.echo(one.pods[0])
        self.assertTrue(ping(two.pods[0], one.pods[0].address), "pods of different nodes, routed by the nodes")
        self.lab.power_off(one)
        self.assertIsNotNone(server.poll(), "what ran in a pod of a node without power")
        self.assertFalse(ping(two, one.address, timeout=0.3))
        self.lab.power_on(one)
        self.assertEqual((one.config_dir / "on-disk").read_text(), "still here")
        self.assertEqual(list(one.run_dir.iterdir()), [])
        eventually("back", lambda: ping(two, one.address))
        eventually("its pods, too", lambda: ping(two.pods[0], one.pods[0].address))

    def test_two_switches(self) -> None:
        one, two, three = self.lab.nodes
        faults = Faults(self.lab)
        faults.two_switches(three)
        eventually("joined", lambda: ping(one, three.address))
        faults.split()
        self.assertFalse(ping(one, three.address, timeout=0.3))
        self.assertTrue(ping(one, two.address))
        faults.heal()
        eventually("joined again", lambda: ping(one, three.address))
