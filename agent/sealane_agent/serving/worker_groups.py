"""Keeps each worker in a control group of its own, with its limits, and says when it broke them.

The group of the service was delegated to the endpoint. Processes may lie in leaves alone, so the
endpoint moves into one itself. Where nothing was delegated, workers are started as ever.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Final, Protocol

from sealane.limits import MIB

from sealane_agent.serving.worker_limits import ENDPOINT_WEIGHT, obstacle, out_of_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane_agent.serving.control_groups import GroupFiles
    from sealane_agent.serving.worker_limits import Limits, Surroundings, Wish

LEAF: Final = "endpoint"
"""The endpoint's own group."""

_log = logging.getLogger(__name__)


class Groups(Protocol):
    """Where workers are put."""

    @property
    def why_not(self) -> str:
        """Why they get no limits of their own; empty when they do."""
        ...

    def enter(self, worker: str, process: int, limits: Limits) -> None:
        """Put a process that has just begun into its group."""
        ...

    def limit(self, worker: str, limits: Limits) -> None:
        """Give it other limits."""
        ...

    def leave(self, worker: str) -> str:
        """It has ended: the limit that it broke, as a sentence, or nothing."""
        ...


class NoGroups:
    """Nothing was delegated."""

    def __init__(self, why_not: str) -> None:
        self.why_not = why_not

    def enter(self, worker: str, process: int, limits: Limits) -> None:
        """Nothing."""

    def limit(self, worker: str, limits: Limits) -> None:
        """Nothing."""

    def leave(self, worker: str) -> str:  # noqa: ARG002 - as in the protocol
        """Nobody can say why it ended."""
        return ""


class WorkerGroups:
    """A leaf for each worker, below the group that was delegated."""

    why_not = ""

    def __init__(self, files: GroupFiles, *, processors: bool) -> None:
        self._files, self._processors = files, processors
        self._limits: dict[str, Limits] = {}
        self._left: set[str] = set()

    def enter(self, worker: str, process: int, limits: Limits) -> None:
        """Put a process into its group; without one it works on, unlimited."""
        group = _group(worker)
        try:
            self._files.make(group)
            self._tell(group, limits)
            self._files.write(group, "cgroup.procs", str(process))
        except OSError as error:
            _log.warning("%s: it works without limits: %s", worker, error)
            self._left.add(group)
            return
        self._limits[worker] = limits

    def limit(self, worker: str, limits: Limits) -> None:
        """Give it other limits; where that fails it keeps those that it has."""
        if worker not in self._limits:
            return
        try:
            self._tell(_group(worker), limits)
        except OSError as error:
            _log.warning("%s: it keeps its limits: %s", worker, error)
            return
        self._limits[worker] = limits

    def leave(self, worker: str) -> str:
        """The limit that it broke, as a sentence; its group goes."""
        limits = self._limits.pop(worker, None)
        if limits is None:
            return ""
        group, events = _group(worker), ""
        with contextlib.suppress(OSError):
            events = self._files.read(group, "memory.events")
        self._left.add(group)
        self._sweep()
        if not out_of_memory(events):
            return ""
        return f"it reached its limit of {limits.memory_bytes // MIB} MiB of memory and was ended"

    def _tell(self, group: str, limits: Limits) -> None:
        self._files.write(group, "memory.max", str(limits.memory_bytes))
        self._files.write(group, "memory.oom.group", "1")
        with contextlib.suppress(FileNotFoundError):  # a kernel without swap
            self._files.write(group, "memory.swap.max", "0")
        if self._processors:
            self._files.write(group, "cpu.max", limits.cpu_max)

    def _sweep(self) -> None:
        """Remove what is left; a group from which the kernel still clears something stays."""
        for group in tuple(self._left):
            try:
                self._files.remove(group)
            except FileNotFoundError:
                self._left.discard(group)
            except OSError:
                continue
            self._left.discard(group)


def open_groups(found: Surroundings, files: GroupFiles, process: int, wish: Wish) -> Groups:
    """The groups of an endpoint, into whose leaf `process` moves; before any worker begins.

    Processor time is shared out between groups only where a worker's share shall be limited: it
    would make the priority of a process count for nothing beside those of other groups.
    """
    wanted = ("memory", "cpu") if wish.processors else ("memory",)
    handed_on = [name for name in wanted if name in found.controllers]
    why_not = obstacle(found) or _divided(files, process, handed_on)
    return NoGroups(why_not) if why_not else WorkerGroups(files, processors="cpu" in handed_on)


def _divided(files: GroupFiles, process: int, handed_on: Sequence[str]) -> str:
    """Hand the controllers on to the leaves; why that could not be done."""
    try:
        files.make(LEAF)
        files.write(LEAF, "cgroup.procs", str(process))
        files.write("", "cgroup.subtree_control", " ".join(f"+{name}" for name in handed_on))
        if "cpu" in handed_on:
            files.write(LEAF, "cpu.weight", str(ENDPOINT_WEIGHT))
    except OSError as error:
        return f"the group that was delegated cannot be divided: {error.strerror or error}"
    return ""


def _group(worker: str) -> str:
    return f"worker-{worker}"
