# SPDX-License-Identifier: Apache-2.0
"""Everything that can go wrong between the daemon and the API server (tests/kube/proxy.py): what is served stays served, what
changed meanwhile is applied afterwards, and it is said once."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
from collections import Counter
from pathlib import Path

from lab import tables
from lab.lab import FIRST_VIP, Node

from .nodes import NodesStory
from .proxy import FaultProxy
from .story import FULL
from .story_services import ADVERTISEMENT, pool


class Clients(threading.Thread):
    """Asks the VIP again and again, and keeps what it was answered otherwise than it should be."""

    def __init__(self, story: Faults) -> None:
        super().__init__(daemon=True)
        self.story, self.stopped = story, threading.Event()
        self.asked, self.failed = 0, 0

    def run(self) -> None:
        while not self.stopped.wait(0.05):
            self.asked += 1
            self.failed += not self.story.answers(self.story.lab.lan, FIRST_VIP)

    def end(self) -> None:
        self.stopped.set()
        self.join(10)


class Faults(NodesStory):
    NODES = 2
    proxy: FaultProxy | None = None

    @classmethod
    def kubeconfig_of(cls, node: Node) -> Path:
        if cls.proxy is None:
            cls.proxy = FaultProxy(cls.control)
        return cls.proxy.kubeconfig(cls.kubeconfig)

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.late = 0
        cls.control.apply(pool("home", "192.168.0.200-192.168.0.250"), ADVERTISEMENT)

    def setUp(self) -> None:
        self.wrong(clean=True)
        if not self.addresses_of_all().get("web"):
            self.service("web")
        self.wait_for("web", [FIRST_VIP])
        self.until("a server answers", lambda: self.answers(self.lab.lan, FIRST_VIP))
        self.until("both see both pods", lambda: all(self.backends(node) == 2 for node in self.lab.nodes))
        # A list that the fault before this one has put off would come in the middle of this one.
        self.until("both know every address", lambda: all(
            tables.read(node).addresses() >= {one for given in self.addresses_of_all().values() for one in given}
            for node in self.lab.nodes), within=60)
        self.until("nothing changes any more", self.calm)

    def calm(self) -> bool:
        """What tests before this one have changed has been carried out."""
        before = [tables.read(node).served() for node in self.lab.nodes]
        time.sleep(1.5)
        return [tables.read(node).served() for node in self.lab.nodes] == before

    def addresses_of_all(self) -> dict[str, list[str]]:
        return {one["metadata"]["name"]: [entry["ip"] for entry in one["status"]["loadBalancer"].get("ingress") or []]
                for one in self.control.get("services", "-n", "default")["items"]}

    def wrong(self, clean: bool = False, **faults: object) -> None:
        """What is wrong from now on, for watches that are open too."""
        assert self.proxy is not None
        good = [str(self.control.folder / "server.crt"), str(self.control.folder / "server.key")]
        self.proxy.order(certificate=faults.pop("certificate", good))
        self.proxy.faults(**({} if clean else faults))
        self.proxy.hang_up()

    # -- what is looked at -----------------------------------------------------------------------------------------------

    def backends(self, node: Node) -> int:
        """How many pods take new flows."""
        return len(tables.read(node).taking())

    def said(self, node: Node, since: int) -> list[str]:
        """Sentences about the API server since that place of the log."""
        lines = re.findall(r'api server about="((?:[^"\\]|\\.)*)"', self.log(node)[since:])
        return [line.encode().decode("unicode_escape") for line in lines]

    def assert_as_before(self, node: Node, before: tuple, what: str) -> None:
        now = tables.read(node).served()
        if now != before:
            changed = [f"{then}\n-> {one}" for then, one in zip(before, now) if then != one]
            self.fail(what + ":\n" + "\n".join(changed) + "\n" + self.log(node)[-3000:])

    # -- one fault ---------------------------------------------------------------------------------------------------------

    def suffer(self, sentence: str, *, blind: bool, seconds: float = 4, over: bool = True, lies: bool = False,
               **faults: object) -> None:
        """The fault comes; things change; it goes. `blind`: nothing of the changes can be known meanwhile. `lies`: what was
        not said will never be, without a list: the server comes to its senses with one."""
        marks = {node: len(self.log(node)) for node in self.lab.nodes}
        before = {node: tables.read(node).served() for node in self.lab.nodes}
        clients = Clients(self)
        clients.start()
        self.wrong(**faults)
        try:
            Faults.late += 1
            late = f"late-{self.late}"
            self.service(late)
            self.control.report_ready(f"{self.lab.nodes[0].role}-0", False)
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                if blind:
                    for node in self.lab.nodes:
                        self.assert_as_before(node, before[node], f"the tables of {node} changed during {faults}")
                time.sleep(0.2)
            if sentence:
                for node in self.lab.nodes:
                    self.until(f"{node} says {sentence!r}", lambda: any(re.search(sentence, one) for one in self.said(node, marks[node])),
                               within=30)
        finally:
            if lies:
                self.wrong(event=410)
                time.sleep(0.5)
            self.wrong(clean=True)
        for node in self.lab.nodes:
            self.until(f"{node} knows which pod is not ready", lambda: self.backends(node) == 1, within=60)
        self.until(f"{late} has an address", lambda: self.addresses(late), within=60)
        vip = self.addresses(late)[0]
        self.until(f"{late} is served", lambda: self.answers(self.lab.lan, vip), within=30)
        self.control.report_ready(f"{self.lab.nodes[0].role}-0", True)
        for node in self.lab.nodes:
            self.until(f"{node} knows that it is ready again", lambda: self.backends(node) == 2, within=60)
            if sentence and over:
                self.until(f"{node} says that it is over", lambda: any(one.startswith("this is over") for one in
                                                                      self.said(node, marks[node])), within=60)
            told = Counter(re.sub(r": .*", "", one) for one in self.said(node, marks[node]) if not one.startswith("this is over"))
            self.assertFalse([one for one, times in told.items() if times > 1], f"{node} says it more than once")
            self.alive(node)
        clients.end()
        self.assertGreater(clients.asked, 10)
        self.assertEqual(clients.failed, 0, f"of {clients.asked} requests of clients")

    def test_watches_are_cut_at_any_byte(self) -> None:
        self.suffer("", blind=False, lines="cut", seconds=6, over=False)

    def test_lines_of_garbage(self) -> None:
        self.suffer("makes no sense, they are listed anew", blind=False, lines="garbage")

    def test_lines_without_an_end(self) -> None:
        self.suffer("is too long", blind=False, lines="endless")

    def test_watches_that_expire_at_once(self) -> None:
        self.suffer(r"ends each watch of \w+ \(410\)", blind=False, event=410)

    def test_a_storm_of_expired_versions(self) -> None:
        self.suffer(r"refuses to \w+ \w+ \(410\)", blind=True, status=410)

    def test_a_storm_of_timeouts(self) -> None:
        self.suffer(r"refuses to \w+ \w+ \(504\)", blind=True, status=504)

    def test_too_many_requests(self) -> None:
        self.suffer(r"refuses to \w+ \w+ \(429\)", blind=True, status=429, retry_after=1, seconds=6)

    def test_a_server_that_fails(self) -> None:
        self.suffer(r"refuses to \w+ \w+ \(500\)", blind=True, status=500)

    def test_slow_answers(self) -> None:
        self.suffer("", blind=False, slow=1.5, seconds=8)

    def test_a_token_that_has_expired(self) -> None:
        self.suffer(r"does not know us \(401\)", blind=True, token="expired")

    def test_a_certificate_that_has_expired(self) -> None:
        self.suffer("cannot be reached: .*certificate", blind=True, certificate=[str(part) for part in self.expired_certificate()])

    def expired_certificate(self) -> tuple[Path, Path]:
        """Of the same authority and for the same name, of the year 2020."""
        folder = self.control.folder
        ca = folder / "old-ca"
        ca.mkdir(exist_ok=True)
        (ca / "index.txt").write_text("")
        (ca / "serial").write_text("01\n")
        (ca / "openssl.cnf").write_text(
            f"[ca]\ndefault_ca=one\n[one]\ndatabase={ca}/index.txt\nserial={ca}/serial\nnew_certs_dir={ca}\ndefault_md=sha256\n"
            f"policy=any\nx509_extensions=server\n[any]\ncommonName=supplied\n[server]\nsubjectAltName=IP:{self.control.address}\n")
        self.control._openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
                              "/CN=kube-apiserver", "-keyout", str(ca / "old.key"), "-out", str(ca / "old.csr"))
        self.control._openssl("ca", "-batch", "-config", str(ca / "openssl.cnf"), "-cert", "ca.crt", "-keyfile", "ca.key",
                              "-startdate", "200101000000Z", "-enddate", "201231000000Z", "-in", str(ca / "old.csr"),
                              "-out", str(ca / "old.crt"))
        return ca / "old.crt", ca / "old.key"

    def test_lines_that_come_twice(self) -> None:
        self.suffer("", blind=False, lines="double")

    def test_lines_that_change_places(self) -> None:
        self.suffer("", blind=False, lines="swap", lies=True)

    def test_lines_that_are_lost(self) -> None:
        self.suffer("", blind=True, lines="lose", lies=True)

    def test_watches_that_say_nothing(self) -> None:
        """Bookmarks come every minute; after 90 seconds without one the client asks for everything anew."""
        if not FULL:
            self.skipTest("takes two minutes: tests/kube/run --full")
        self.suffer("", blind=False, lines="silent", seconds=100)

    def test_daemons_that_start_in_a_storm(self) -> None:
        """What the node knew is in force without the server, and what it did not know comes with the first list."""
        node = self.lab.nodes[1]
        self.until("it is kept", lambda: FIRST_VIP in (node.config_dir / "api.json").read_text(), within=30)
        before = tables.read(node).served()
        self.wrong(status=500)
        self.daemons[node].send_signal(signal.SIGTERM)
        self.daemons[node].wait(10)
        self.start(node)
        time.sleep(2)
        self.assertTrue(tables.read(node).served() == before, "the tables are others after a start without the server")
        self.assertTrue(self.answers(self.lab.lan, FIRST_VIP))
        self.wrong(clean=True)
        self.service("storm")
        self.until("it has an address", lambda: self.addresses("storm"), within=60)
        self.until("its VIP is known to who was started", lambda: self.addresses("storm")[0] in tables.read(node).addresses(), within=60)
