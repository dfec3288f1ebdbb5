"""The files of control groups, version 2: what the kernel shows below one group.

Source: Documentation/admin-guide/cgroup-v2.rst of the Linux kernel.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from sealane_agent.serving.worker_limits import Surroundings

ROOT: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")
_UNIFIED: Final = "0::"


class GroupFiles(Protocol):
    """The groups below one; names are relative to it, empty for itself. All raise OSError."""

    def read(self, group: str, file: str) -> str:
        """What a file of a group says."""
        ...

    def write(self, group: str, file: str, text: str) -> None:
        """Tell the kernel something about a group."""
        ...

    def make(self, group: str) -> None:
        """Make a group; one that is there already stays."""
        ...

    def remove(self, group: str) -> None:
        """Remove a group in which no process is."""
        ...


@dataclass(frozen=True, slots=True)
class KernelFiles:
    """The real ones; `folder` is that of the group."""

    folder: Path

    def read(self, group: str, file: str) -> str:
        """What a file of a group says."""
        return (self.folder / group / file).read_text(encoding="ascii")

    def write(self, group: str, file: str, text: str) -> None:
        """Tell the kernel something about a group: in one write, as it expects."""
        descriptor = os.open(self.folder / group / file, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode("ascii"))
        finally:
            os.close(descriptor)

    def make(self, group: str) -> None:
        """Make a group; one that is there already stays."""
        (self.folder / group).mkdir(exist_ok=True)

    def remove(self, group: str) -> None:
        """Remove a group in which no process is."""
        (self.folder / group).rmdir()


def own_path(text: str) -> str:
    """The own group in `/proc/self/cgroup`, as a path below the root; empty for the root itself."""
    found = [line.removeprefix(_UNIFIED) for line in text.splitlines() if line.startswith(_UNIFIED)]
    return found[0].strip("/") if found else ""


def own_folder() -> Path:
    """The folder of the group in which this process is; raises OSError."""
    return ROOT / own_path(_OWN.read_text(encoding="utf-8"))


def surroundings() -> tuple[Surroundings, KernelFiles]:
    """What this process finds of control groups, and the files of its own one."""
    folder = own_folder()
    files = KernelFiles(folder)
    unified = (ROOT / "cgroup.controllers").is_file()
    try:
        controllers = frozenset(files.read("", "cgroup.controllers").split())
        alone = files.read("", "cgroup.procs").split() == [str(os.getpid())]
    except OSError:
        controllers, alone = frozenset(), False
    writable = folder != ROOT and all(
        os.access(folder / name, os.W_OK)
        for name in (".", "cgroup.procs", "cgroup.subtree_control")
    )
    return Surroundings(unified, writable, alone, controllers), files
