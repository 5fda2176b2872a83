"""A pod without a cluster: its containers' commands, as its manifest says, where only its volumes can be written.

Each runs in a mount namespace of its own, on a root made of the system's programs, this checkout and the pod's volumes,
as the pod's user, with no capability and no other environment. The network is the machine's.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_IMAGE = {"PATH": f"{sys.prefix}/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
"""What deploy/Containerfile sets."""

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/proc", "/dev")
_NAMES = ("passwd", "group", "nsswitch.conf", "hosts", "resolv.conf", "ssl", "ld.so.cache", "ld.so.conf")


@dataclass(frozen=True)
class Ran:
    """How a container ended."""

    status: int
    out: str
    err: str


@dataclass(frozen=True)
class Pod:
    """The spec of a pod, with a folder for each of its volumes that is not empty at first."""

    spec: Mapping[str, Any]
    volumes: Mapping[str, Path]
    folder: Path  # becomes the root

    def container(self, name: str) -> Mapping[str, Any]:
        """By its name."""
        return next(c for c in (*self.spec.get("initContainers", ()), *self.spec["containers"]) if c["name"] == name)

    def give(self) -> None:
        """Make the files of all volumes those of the pod's group, as the kubelet does. May be repeated."""
        for folder in self.volumes.values():
            for path in folder.iterdir():
                if os.geteuid() == 0:
                    os.chown(path, 0, self.spec["securityContext"]["fsGroup"])
                path.chmod(0o440)

    def start(self, name: str, *command: str, **streams: Any) -> subprocess.Popen[str]:
        """Start a container, or another command in its place."""
        container = self.container(name)
        set_to = _IMAGE | {each["name"]: each["value"] for each in container["env"]}
        words = [f"{key}={value}" for key, value in set_to.items()] + list(command or container["command"])
        user, group = (self.spec["securityContext"][key] for key in ("runAsUser", "runAsGroup"))
        dropping = ["setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"]
        if os.geteuid() == 0:
            apart = ["unshare", "--mount"]
            dropping += [f"--reuid={user}", f"--regid={group}", f"--groups={self.spec['securityContext']['fsGroup']}"]
        else:
            apart = ["unshare", "--mount", "--user", "--keep-caps", f"--map-user={user}", f"--map-group={group}"]
            dropping += ["--ambient-caps=-all"]
        entering = ["chroot", str(self.folder), *dropping, "env", "--ignore-environment", "--chdir=/var/empty", *words]
        script = "\n".join(["set -eu", *self._root(container), f"exec {shlex.join(entering)}"])
        return subprocess.Popen([*apart, "bash", "-c", script], text=True, **streams)

    def run(self, name: str, *command: str) -> Ran:
        """Run a container to its end."""
        with (self.folder.parent / "out").open("w+") as out, (self.folder.parent / "err").open("w+") as err:
            process = self.start(name, *command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            status = process.wait()
            for stream in (out, err):
                stream.seek(0)
            return Ran(status, out.read(), err.read())

    def _root(self, container: Mapping[str, Any]) -> Iterator[str]:
        def at(path: str) -> str:
            return shlex.quote(f"{self.folder}{path}")

        def bind(source: str, path: str) -> Iterator[str]:
            yield f"mkdir -p {at(path)}"
            yield f"mount --rbind {shlex.quote(source)} {at(path)}"

        yield f"mount -t tmpfs -o mode=755 pod {at('')}"
        yield f"mkdir -p {at('/etc')} {at('/run')} {at('/tmp')} {at('/var/empty')}"
        yield f"ln -s /run {at('/var/run')}"
        for path in filter(os.path.exists, (f"/etc/{name}" for name in _NAMES)):
            yield f"cp -rL --no-preserve=ownership {path} {at('/etc/')}"
        for place in filter(Path.exists, map(Path, _SYSTEM)):
            if place.is_symlink():
                yield f"ln -s {place.readlink()} {at(str(place))}"
            else:
                yield from bind(str(place), str(place))
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        empty = [volume["name"] for volume in self.spec["volumes"] if "emptyDir" in volume]
        for name in empty:  # first: the checkout may lie below /tmp
            path = mounts[name]["mountPath"]
            yield f"mkdir -p {at(path)}"
            yield f"mount -t tmpfs -o mode=1777 {name} {at(path)}"
        for folder in dict.fromkeys((str(ROOT), sys.base_prefix, sys.prefix)):
            yield from bind(folder, folder)
        for name in mounts.keys() - empty:
            path = mounts[name]["mountPath"].replace("/var/run/", "/run/")
            yield from bind(str(self.volumes[name]), path)
            yield f"mount -o remount,bind,ro {at(path)}"
        yield f"mount -o remount,ro {at('')}"
