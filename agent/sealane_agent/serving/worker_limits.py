"""Decides how much memory and processor a worker may take. Pure.

  the worker         may hold
  -----------------  --------------------------------------------------------------------------
  loads              what its bundle expects, twice; where it says nothing, most of the machine;
                     never more than was free when it was admitted
  has proved itself  twice what a probation would tolerate, never more than most of the machine
  in either state    what the operator wrote down, if there is something

Its probation sends a release back that grows; this limit is the wall behind it, where only the one
worker ends. A softer limit (`memory.high`) is not set: what a worker holds cannot be written out,
so the kernel would slow its answers down instead, and a hang would be told in place of the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane.limits import MIB

if TYPE_CHECKING:
    from sealane.bundle.types import ProbationLimits

MOST_OF_THE_MACHINE: Final = 3 / 4
"""Of its memory: the rest is for the endpoint, the supervisor and whatever else runs there."""

SLACK: Final = 2
"""Over what is expected or tolerated."""

GROWTH_BYTES: Final = 128 * MIB
"""Growth that no ratio forbids: a small model's first requests fill the engine's own buffers."""

PERIOD_US: Final = 100_000
"""Over which the kernel shares out processor time (its own default)."""

ENDPOINT_WEIGHT: Final = 400
"""Of the endpoint beside its workers, each of which has the kernel's default of 100: who waits for
an answer must not wait for the models that others keep busy."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator wrote down for each worker; 0: nothing."""

    memory_bytes: int = 0
    processors: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker may take at most; 0 processors: as many as there are."""

    memory_bytes: int
    processors: int = 0

    @property
    def cpu_max(self) -> str:
        """As the file `cpu.max` says it."""
        return f"{self.processors * PERIOD_US or 'max'} {PERIOD_US}"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the limits of every worker follow from: the wish, and the machine's memory in bytes."""

    wish: Wish
    machine_bytes: int

    def while_loading(self, expected_bytes: int, at_most: int = 0) -> Limits:
        """Of a worker that loads a variant; 0 when its bundle does not say what it needs.

        `at_most`: bytes that are free for it, beyond which it would take what others were promised.
        """
        needs = SLACK * max(expected_bytes, GROWTH_BYTES) if expected_bytes else self._most
        limits = self._within(needs)
        within = min(limits.memory_bytes, at_most) if at_most else limits.memory_bytes
        return replace(limits, memory_bytes=within)

    def once_proved(self, proved_bytes: int, probation: ProbationLimits) -> Limits:
        """Of a worker that held so much when it was proved."""
        if not (proved_bytes and probation.max_memory_ratio):
            return self._within(self._most)
        return self._within(SLACK * tolerated_bytes(proved_bytes, probation))

    @property
    def _most(self) -> int:
        return round(MOST_OF_THE_MACHINE * self.machine_bytes)

    def _within(self, needs: int) -> Limits:
        return Limits(self.wish.memory_bytes or min(needs, self._most), self.wish.processors)


def tolerated_bytes(proved_bytes: int, probation: ProbationLimits) -> int:
    """What a worker may hold in its probation."""
    return round(max(probation.max_memory_ratio * proved_bytes, proved_bytes + GROWTH_BYTES))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What this process found of control groups.

    Attributes:
        unified: the machine has version 2 of them, and nothing of version 1.
        writable: this user may make groups in that in which the process is.
        alone: no other process is in it.
        controllers: that it may hand on, by name.
    """

    unified: bool
    writable: bool
    alone: bool
    controllers: frozenset[str] = frozenset()


def obstacle(found: Surroundings) -> str:
    """Why workers get no limits of their own here; empty when they do."""
    if not found.unified:
        return "this machine keeps control groups of version 1"
    if not found.writable:
        return "no control group was delegated to the endpoint"
    if not found.alone:
        return "the endpoint shares its control group with other processes"
    if "memory" not in found.controllers:
        return "the group that was delegated has no memory controller"
    return ""


def out_of_memory(events: str) -> bool:
    """Whether the kernel ended the group because of its limit, as `memory.events` says."""
    counts = dict(line.split(maxsplit=1) for line in events.splitlines() if " " in line)
    return counts.get("oom_kill", "0").strip() not in ("", "0")
