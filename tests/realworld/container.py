"""A container of an image, run by runc as the image says and as a careful operator would."""

from __future__ import annotations

import json
import subprocess
import tarfile
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from realworld.machine import BoxError, command

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NAMESPACES: Final = ("pid", "mount", "ipc", "uts")
MOUNTS: Final = (
    ("/proc", "proc", "proc", ()),
    ("/dev", "tmpfs", "tmpfs", ("nosuid", "mode=755", "size=65536k")),
    ("/dev/shm", "tmpfs", "shm", ("nosuid", "noexec", "nodev", "size=65536k")),
    ("/tmp", "tmpfs", "tmpfs", ("nosuid", "noexec", "nodev", "mode=1777")),
)


@dataclass(frozen=True, slots=True)
class Image:
    """An image's files, and what it says about running them."""

    root: Path
    config: Mapping[str, Any]

    @classmethod
    def unpack(cls, archive: Path, folder: Path) -> Image:
        """Lay an OCI archive out; an operator's tools would do the same."""
        layout, root = folder / "layout", folder / "root"
        root.mkdir(parents=True)
        with tarfile.open(archive) as packed:
            packed.extractall(layout, filter="data")
        manifest = _blob(layout, json.loads((layout / "index.json").read_text())["manifests"][0])
        for layer in manifest["layers"]:
            # By tar itself: owners and permissions are a part of what is tested
            command("tar", "-xpf", str(_path(layout, layer)), "-C", str(root))
        return cls(root, _blob(layout, manifest["config"])["config"])


def _path(layout: Path, descriptor: Mapping[str, Any]) -> Path:
    return layout / "blobs" / str(descriptor["digest"]).replace(":", "/")


def _blob(layout: Path, descriptor: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(_path(layout, descriptor).read_text())
    return found


@dataclass(slots=True)
class Container:
    """One container.

    Attributes:
        netns: the name of its network namespace.
        volumes: folders of this machine by their paths inside; the image's volumes among them.
    """

    name: str
    image: Image
    folder: Path
    netns: str
    volumes: Mapping[str, Path]
    variables: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str) -> str:
        """Run it to its end, as an init container; raises BoxError when it fails."""
        bundle = self._bundle(f"{self.name}-once", arguments)
        done = subprocess.run(
            ["runc", "run", "--bundle", str(bundle), bundle.name],  # noqa: S607 - as the system finds it
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise BoxError(f"{self.name} {' '.join(arguments)}: {done.stdout}{done.stderr}"[-2000:])
        return done.stdout

    def start(self, *arguments: str) -> None:
        """Run it with the arguments, or with the image's own, until `stop`."""
        bundle = self._bundle(self.name, arguments or self.image.config["Cmd"])
        with (self.folder / f"{self.name}.log").open("wb") as log:
            self._process = subprocess.Popen(
                ["runc", "run", "--bundle", str(bundle), self.name],  # noqa: S607 - as the system finds it
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def inside(self, *arguments: str) -> str:
        """Run the image's program with other arguments in it; raises BoxError when it fails."""
        program = self.image.config["Entrypoint"]
        done = subprocess.run(
            ["runc", "exec", self.name, *program, *arguments],  # noqa: S607 - as the system finds it
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode:
            raise BoxError(f"{self.name} {' '.join(arguments)}: {done.stdout}{done.stderr}"[-2000:])
        return done.stdout

    def processes(self) -> list[int]:
        """This machine's numbers of everything that runs in it."""
        listed = subprocess.run(
            ["runc", "ps", "--format", "json", self.name],  # noqa: S607 - as the system finds it
            stdout=subprocess.PIPE,
            check=True,
        )
        found: list[int] = json.loads(listed.stdout)
        return found

    def said(self) -> str:
        """What it wrote."""
        return (self.folder / f"{self.name}.log").read_text(errors="replace")

    def stop(self) -> int:
        """End it in order; its status."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            command("runc", "kill", self.name, "TERM")
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=60)
        if self._process.poll() is None:
            command("runc", "kill", self.name, "KILL")
        return self._process.wait(timeout=10)

    def _bundle(self, name: str, arguments: tuple[str, ...]) -> Path:
        bundle = self.folder / name
        bundle.mkdir()
        (bundle / "config.json").write_text(json.dumps(self._config(arguments)))
        return bundle

    def _config(self, arguments: tuple[str, ...]) -> dict[str, Any]:
        own = self.image.config
        user = int(own["User"].partition(":")[0])
        variables = {**dict(each.split("=", 1) for each in own["Env"]), **self.variables}
        binds = [
            {"destination": inside, "type": "bind", "source": str(folder), "options": ["rbind"]}
            for inside, folder in self.volumes.items()
        ]
        mounts = [
            {"destination": place, "type": kind, "source": source, "options": list(options)}
            for place, kind, source, options in MOUNTS
        ]
        network = {"type": "network", "path": f"/run/netns/{self.netns}"}
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": user, "gid": user},
                "args": [*own["Entrypoint"], *arguments],
                "env": [f"{name}={value}" for name, value in variables.items()],
                "cwd": "/",
                "capabilities": {},
                "noNewPrivileges": True,
            },
            "root": {"path": str(self.image.root), "readonly": True},
            "hostname": self.name,
            "mounts": [*mounts, *binds],
            "linux": {"namespaces": [*({"type": each} for each in NAMESPACES), network]},
        }
