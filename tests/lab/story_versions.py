# SPDX-License-Identifier: Apache-2.0
"""Kernels and pins that are not as this build would like them: no BTF, another layout, tables that are full."""

from __future__ import annotations

from . import servers
from .story import FIRST_VIP, MODE, Story, service
from .traffic import http


class Layouts(Story):
    FRESH = True

    def test_kernel_without_btf(self) -> None:
        """As stock Raspberry Pi kernels are: hidden from this one process by an empty file system over it."""
        self.add_pools()
        # Of /sys alone: in a chroot / is no mount that could be made private.
        hidden = ("unshare", "-m", "--propagation", "unchanged", "sh", "-c",
                  'mount --make-rprivate /sys && mount -t tmpfs none /sys/kernel/btf && test ! -e /sys/kernel/btf/vmlinux && '
                  'exec "$@"', "sh")
        self.node.run(*hidden, str(self.lab.binary), "attach", "eth0", "--mode", MODE)
        servers.nginx(self.lab, self.pods[0])
        self.node.lb("service", "add", "traefik", "--port", "80:8000", "--backend", self.pods[0].address)
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")
        self.node.run(*hidden, str(self.lab.binary), "upgrade")
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")

    def test_pins_of_another_layout(self) -> None:
        """In use they are refused with the way out; unused they are swept."""
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        (self.node.pin_dir / "v4711").mkdir()
        for words in (("attach", "eth0", "--mode", MODE), ("upgrade",)):
            done = self.node.lb(*words, check=False)
            self.assertEqual(done.returncode, 1, done.stdout)
            self.assertIn("v4711", done.stderr)
            self.assertIn("detach --all", done.stderr)
            self.assertEqual(len(done.stderr.strip().splitlines()), 1)
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8", "what serves goes on serving")
        self.node.lb("detach", "--all")
        self.attach()
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")
        self.assertFalse((self.node.pin_dir / "v4711").exists())

    def test_pinned_table_of_another_size(self) -> None:
        self.add_pools()
        tables = self.node.tables_dir
        tables.mkdir(parents=True)
        self.node.run("bpftool", "map", "create", str(tables / "xlb_services"), "type", "hash", "key", "4", "value", "4",
                      "entries", "16", "name", "xlb_services")
        done = self.node.lb("attach", "eth0", "--mode", MODE, check=False)
        if done.returncode:
            self.assertEqual(done.returncode, 1)
            self.assertIn("detach --all", done.stderr, "the way out")
            self.assertEqual(len(done.stderr.strip().splitlines()), 1, done.stderr)
            self.assertNotIn("xlb_", self.node.run("bpftool", "net").stdout)
            self.node.lb("detach", "--all")
            self.attach()
        servers.nginx(self.lab, self.pods[0])
        self.node.lb("service", "add", "traefik", "--port", "80:8000", "--backend", self.pods[0].address)
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")


class FullTable(Story):
    FRESH = True
    ONLY_MODE = "tc"

    def test_more_vips_than_fit_are_refused_whole(self) -> None:
        servers.nginx(self.lab, self.pods[0])
        self.tutorial()
        self.node.lb("pool", "add", "many", "10.200.0.0/19")
        many = "---\n".join(service(f"many{n}", [(80, 8000, "TCP")], [self.pods[0].address],
                                    vip=f"10.200.{n // 250}.{n % 250 + 1}") for n in range(4200))
        before = sorted(path.name for path in self.node.config_dir.rglob("*"))
        done = self.node.lb("apply", "-f", str(self.manifest(many)), check=False, timeout=120)
        self.assertEqual(done.returncode, 1, done.stdout[-300:] + done.stderr[-300:])
        self.assertIn("4096", done.stderr.replace(",", ""))
        self.assertLess(len(done.stderr), 1000)
        self.assertEqual(sorted(path.name for path in self.node.config_dir.rglob("*")), before, "nothing of it was taken")
        self.assertEqual(http(self.lan, FIRST_VIP).pod, "pi1-pod8")
        self.node.lb("service", "add", "another", "--port", "80:8000", "--backend", self.pods[0].address)
