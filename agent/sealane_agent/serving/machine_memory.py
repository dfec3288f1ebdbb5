"""Reads how much memory the machine, and the control groups around this process, can still give.

Sources: proc_meminfo(5); Documentation/admin-guide/cgroup-v2.rst of the Linux kernel.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealane_agent.serving.admission import reserve
from sealane_agent.serving.control_groups import ROOT, own_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

_KIB: Final = 1024
_MEMINFO: Final = Path("/proc/meminfo")


@dataclass(frozen=True, slots=True)
class MachineMemory:
    """The real one; `groups`: folders of the group around this process and of its parents."""

    groups: tuple[Path, ...] = ()
    meminfo: Path = _MEMINFO

    def available(self) -> int:
        """Bytes that can be given to models; below 0 when the reserve is in use. Raises OSError."""
        told = self.meminfo.read_text(encoding="ascii")
        machine, most = _line(told, "MemAvailable"), _line(told, "MemTotal")
        left = [machine, *(room for folder in self.groups if (room := _room(folder)) is not None)]
        return min(left) - reserve(most)


def surrounding_memory() -> MachineMemory:
    """Of this machine, as seen from this process; before it moves into a group of its own."""
    folder = ROOT
    with contextlib.suppress(OSError):
        folder = own_folder()
    return MachineMemory(tuple(_upwards(folder)))


def _upwards(folder: Path) -> Iterator[Path]:
    """The root too: in a container it is the container's own group."""
    yield folder
    while folder != ROOT and ROOT in folder.parents:
        folder = folder.parent
        yield folder


def _room(folder: Path) -> int | None:
    """What a group's limit leaves, where it has one; files that it only caches make room."""
    try:
        limit = (folder / "memory.max").read_text(encoding="ascii").strip()
        if limit == "max":
            return None
        used = int((folder / "memory.current").read_text(encoding="ascii"))
        cached = _line((folder / "memory.stat").read_text(encoding="ascii"), "inactive_file")
        return int(limit) - used + cached
    except (OSError, ValueError):
        return None


def _line(text: str, name: str) -> int:
    """A number of one of these files in bytes; raises OSError when it is not there."""
    for line in text.splitlines():
        key, *values = line.replace(":", " ").split()
        if key == name and values:
            return int(values[0]) * (_KIB if values[1:] == ["kB"] else 1)
    raise FileNotFoundError(os.strerror(2), name)
