# SPDX-License-Identifier: Apache-2.0
"""Programs of others on the interface are named, and never taken away."""

from __future__ import annotations

import os

from . import bpf, servers
from .lab import BPFFS
from .story import FIRST_VIP, MODE, Story
from .traffic import http


class Foreign(Story):
    FRESH = True

    def load(self, kind: int, verdict: int, name: str, attach_type: int = 0) -> str:
        """A program pinned where `ip` and `tc` can take it from."""
        path = BPFFS / f"xlb-{self.lab.name}-{name}"
        program = bpf.load_constant(kind, verdict, name, attach_type)
        try:
            bpf.pin(program, str(path))
        finally:
            os.close(program)
        return str(path)

    def assertRefused(self, *options: str, name: str) -> None:
        done = self.node.lb("attach", "eth0", *options, check=False)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn(name, done.stderr, "whose program it is")
        self.assertIn("eth0", done.stderr)
        self.assertEqual(self.node.lb_json("status")["links"] if self.node.pin_dir.exists() else [], [])
        self.assertNotIn("xlb_", self.node.run("bpftool", "net").stdout, "nothing half-done")

    def test_xdp_program(self) -> None:
        flavour = "xdpgeneric" if MODE != "native" else "xdpdrv"
        path = self.load(bpf.PROG_TYPE_XDP, bpf.XDP_PASS, "their_xdp")
        self.node.run("ip", "link", "set", "dev", "eth0", flavour, "pinned", path)
        if MODE == "tc":
            # Room for both: it is said who runs before us, because it may take packets away.
            done = self.node.lb("attach", "eth0", "--mode", "tc", check=False)
            self.assertIn("their_xdp", done.stdout + done.stderr)
        else:
            self.assertRefused("--mode", MODE, name="their_xdp")
        self.node.lb("detach", "--all", check=False)
        self.assertIn("their_xdp", self.node.run("bpftool", "net", "-p").stdout
                      + self.node.run("bpftool", "prog").stdout)
        self.assertIn("prog/xdp", self.node.run("ip", "link", "show", "eth0").stdout, "still attached")

    def test_xdp_program_and_auto(self) -> None:
        path = self.load(bpf.PROG_TYPE_XDP, bpf.XDP_PASS, "their_xdp")
        self.node.run("ip", "link", "set", "dev", "eth0", "xdpgeneric", "pinned", path)
        done = self.node.lb("attach", "eth0", check=False)
        self.assertIn(done.returncode, (0, 1))
        self.assertIn("their_xdp", done.stdout + done.stderr)
        self.assertIn("prog/xdp", self.node.run("ip", "link", "show", "eth0").stdout, "still attached")

    def test_tc_filter(self) -> None:
        path = self.load(bpf.PROG_TYPE_SCHED_CLS, bpf.TC_ACT_UNSPEC, "their_tc")
        self.node.run("tc", "qdisc", "add", "dev", "eth0", "clsact")
        self.node.run("tc", "filter", "add", "dev", "eth0", "ingress", "prio", "10", "bpf", "object-pinned", path, "da")
        before = self.filters()
        self.assertIn("their_tc", before)
        self.assertIn("their_tc", self.attach_named())
        self.serve_and_detach()
        self.assertEqual(self.filters(), before, "their filter, and the qdisc that they made, stay")

    def test_tc_filter_that_comes_later(self) -> None:
        """The clsact is ours, but not empty any more when we go."""
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        path = self.load(bpf.PROG_TYPE_SCHED_CLS, bpf.TC_ACT_UNSPEC, "their_tc")
        self.node.run("tc", "filter", "add", "dev", "eth0", "ingress", "prio", "40000", "bpf", "object-pinned", path, "da")
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")
        self.node.lb("detach", "--all")
        self.assertIn("their_tc", self.filters())

    def test_tcx_program(self) -> None:
        program = bpf.load_constant(bpf.PROG_TYPE_SCHED_CLS, bpf.TC_ACT_UNSPEC, "their_tcx", bpf.ATTACH_TCX_INGRESS)
        try:
            with self.node.entered():
                link = bpf.link(program, self.node.ifindex("eth0"), bpf.ATTACH_TCX_INGRESS)
        except OSError as problem:
            self.skipTest(f"this kernel has no tcx: {problem}")
        finally:
            os.close(program)
        try:
            self.assertIn("their_tcx", self.attach_named())
            self.serve_and_detach()
            self.assertIn("their_tcx", self.node.lb("attach", "eth0", "--mode", MODE).stderr
                          + self.node.lb("attach", "eth0", "--mode", MODE).stdout, "still there")
        finally:
            os.close(link)

    def filters(self) -> str:
        return "\n".join(self.node.run("tc", *what).stdout for what in (
            ("qdisc", "show", "dev", "eth0"), ("filter", "show", "dev", "eth0", "ingress")))

    def attach_named(self) -> str:
        done = self.node.lb("attach", "eth0", "--mode", MODE)
        return done.stdout + done.stderr

    def serve_and_detach(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")
        self.node.lb("detach", "--all")
