# SPDX-License-Identifier: Apache-2.0
"""The chart's container, as a kubelet and containerd would start it: the rendered pod, an image as packaging/Containerfile says, and
runc. containerd's own code writes the configuration, so the seccomp profile and the masked paths are real; AppArmor is asked for
nothing, because the chart says Unconfined.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Iterable, Mapping

from lab.namespace import CommandFailed, Namespace

from . import partner
from .story import ROOT

CONTAINERFILE = ROOT / "packaging/Containerfile"


def libraries(binary: Path) -> list[str]:
    """What the binary is linked with, and libcurl, which it loads when it follows a cluster."""
    known = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True, env={"PATH": "/usr/sbin:/sbin"}).stdout
    loaded = re.findall(r"^\s+libcurl\.so\.4 .* => (\S+)$", known, re.M)[:1]
    said = subprocess.run(["ldd", str(binary), *loaded], capture_output=True, text=True, check=True).stdout
    return [*loaded, *sorted(set(re.findall(r"(/\S+) \(0x", said)))]


def image(folder: Path, binary: Path) -> Path:
    """A root file system with what the Containerfile's last stage adds to Debian, and of Debian no more than the binary needs."""
    last_stage = re.split(r"^FROM .*$", CONTAINERFILE.read_text(), flags=re.M)[-1]
    target = re.search(r"^COPY --from=build /build/xdp-lb (\S+)$", last_stage, re.M)
    folders = re.search(r"^RUN mkdir -p (.*)$", last_stage, re.M)
    if not target or not folders:
        raise CommandFailed(f"{CONTAINERFILE}: says no longer where xdp-lb lies, or which folders there are")
    for name in (*folders[1].split(), "/proc", "/sys", "/dev", "/srv"):
        (folder / name.lstrip("/")).mkdir(parents=True, exist_ok=True)
    for source, place in ((binary, target[1]), *((Path(library), library) for library in libraries(binary))):
        into = folder / place.lstrip("/")
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, into)
    return folder


def entry_point() -> list[str]:
    return json.loads(re.search(r"^ENTRYPOINT (\[.*\])$", CONTAINERFILE.read_text(), re.M)[1])


class Container:
    """The one container of a rendered pod. Folders of the node are looked up in `node_folders`, by the chart's own paths; fields of the
    pod in `fields`; files of Secrets in `secrets`, by name. `account` is the folder with the token of its ServiceAccount, `server`
    the address and the port of the API server."""

    def __init__(self, pod: Mapping, node: Namespace, folder: Path, binary: Path, *, node_folders: Mapping[str, Path],
                 fields: Mapping[str, str], secrets: Mapping[str, Mapping[str, str]], account: Path | None = None,
                 server: tuple[str, int] | None = None) -> None:
        self.node, self.folder = node, folder
        self.name = node.name
        self._container = pod["containers"][0]
        self._env = [f"{one['name']}={one['value'] if 'value' in one else fields[one['valueFrom']['fieldRef']['fieldPath']]}"
                     for one in self._container["env"]]
        if server is not None:
            self._env += [f"KUBERNETES_SERVICE_HOST={server[0]}", f"KUBERNETES_SERVICE_PORT={server[1]}"]
        self._mounts = [*self._container["volumeMounts"]]
        self._root = image(folder / "root", binary)
        self._volumes = {}
        for volume in pod["volumes"]:
            if "hostPath" in volume:
                self._volumes[volume["name"]] = node_folders[volume["hostPath"]["path"]]
                continue
            here = self._volumes[volume["name"]] = folder / f"volume-{volume['name']}"
            here.mkdir()
            for name, text in secrets[volume["secret"]["secretName"]].items():
                (here / name).write_text(text)
                (here / name).chmod(volume["secret"]["defaultMode"])
        if account is not None:  # as the API server adds it to a pod
            self._volumes["account"] = account
            self._mounts.append({"name": "account", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True})
        if not pod["hostNetwork"]:
            raise CommandFailed("the pod is not on the node's network")

    def _mount(self, mount: Mapping) -> dict:
        source = self._volumes[mount["name"]]
        spread = {"HostToContainer": "rslave"}.get(mount.get("mountPropagation", ""), "rprivate")
        return {"destination": mount["mountPath"], "type": "bind", "source": str(source / mount.get("subPath", "")),
                "options": ["rbind", spread, "ro" if mount.get("readOnly") else "rw"]}

    def configure(self, arguments: Iterable[str] | None, without: str) -> None:
        rights = self._container["securityContext"]
        capabilities = [f"CAP_{name}" for name in rights["capabilities"]["add"] if name != without]
        if rights["capabilities"]["drop"] != ["ALL"] or rights["privileged"]:
            raise CommandFailed("more rights than are written here: the runtime's own would have to be counted, too")
        limit = re.fullmatch(r"(\d+)Mi", self._container["resources"]["limits"]["memory"])
        done = subprocess.run(
            [str(partner.containerd.get() / "container-configuration")], capture_output=True, text=True, input=json.dumps({
                "ID": self.name, "Root": str(self._root),
                "Args": [*entry_point(), *(self._container["args"] if arguments is None else arguments)], "Env": self._env,
                "User": rights["runAsUser"], "Group": rights["runAsGroup"], "Capabilities": capabilities,
                "NoNewRights": not rights["allowPrivilegeEscalation"], "ReadOnlyRoot": rights["readOnlyRootFilesystem"],
                "Network": self.node.path, "Mounts": [self._mount(mount) for mount in self._mounts],
                "MemoryLimit": int(limit[1]) << 20}))
        if done.returncode != 0:
            raise CommandFailed(f"container-configuration: {done.stderr.strip()}")
        (self.folder / "config.json").write_text(done.stdout)

    def _runc(self, *arguments: str) -> list[str]:
        return ["runc", "--root", str(self.folder / "runc"), *arguments]

    def run(self, *arguments: str, without: str = "", check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """A command of xdp-lb in a container of its own, with all rights of the chart or one less."""
        self.configure(arguments, without)
        done = subprocess.run(self._runc("run", "--bundle", str(self.folder), self.name), capture_output=True, text=True, timeout=timeout,
                              stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise CommandFailed(f"`{shlex.join(arguments)}` in the container exited {done.returncode}: {done.stderr.strip()}")
        return done

    def start(self, *arguments: str, log: Path) -> subprocess.Popen[str]:
        """The container itself; `arguments` instead of the chart's. Ended with `stop`, and with the node's namespace."""
        self.configure(arguments or None, "")
        with open(log, "a") as out:
            return subprocess.Popen(self._runc("run", "--bundle", str(self.folder), self.name), stdin=subprocess.DEVNULL, stdout=out,
                                    stderr=subprocess.STDOUT, text=True)

    def run_inside(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """What kubectl exec does, with the names that its user types."""
        done = subprocess.run(self._runc("exec", self.name, *arguments), capture_output=True, text=True, timeout=60,
                              stdin=subprocess.DEVNULL)
        if check and done.returncode != 0:
            raise CommandFailed(f"`{shlex.join(arguments)}` in the container exited {done.returncode}: {done.stderr.strip()}")
        return done

    def memory(self) -> tuple[int, int]:
        """What the container uses, with the tables that it made in the kernel, and its limit."""
        for folder, names in (("/sys/fs/cgroup/memory", ("memory.usage_in_bytes", "memory.limit_in_bytes")),
                              ("/sys/fs/cgroup", ("memory.current", "memory.max"))):
            here = Path(folder, self.name)
            if (here / names[0]).exists():
                return int((here / names[0]).read_text()), int((here / names[1]).read_text())
        raise CommandFailed(f"no memory cgroup of {self.name} is to be found")

    def stop(self) -> None:
        subprocess.run(self._runc("delete", "--force", self.name), capture_output=True, stdin=subprocess.DEVNULL)
