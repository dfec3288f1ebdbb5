"""Decides who comes when: the order of devices, and how many places each stage has."""

from __future__ import annotations

import hashlib
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName

from sealane_manager.rollout.types import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sealane.names import DeviceId

MAX_STAGES: Final = 32
"""Stages of one rollout: a plan that nobody can read is no plan."""

EVERYBODY: Final = Stage(percent=100)

_STAGE: Final = re.compile(r"([1-9][0-9]{0,8})(%?)")
_ALL: Final = 100


def parse_stage(text: str) -> Stage:
    """Read `5` (devices) or `40%` (of them); raises InvalidName."""
    found = _STAGE.fullmatch(text.strip())
    if not found or (found[2] and int(found[1]) > _ALL):
        raise InvalidName(
            f"{text[:40]!r} is not a stage", hint="write a count like 5, or a share like 40%"
        )
    number = int(found[1])
    return Stage(percent=number) if found[2] else Stage(count=number)


def stage_text(stage: Stage) -> str:
    """The stage as `parse_stage` reads it."""
    return f"{stage.percent}%" if stage.percent is not None else str(stage.count)


def order(rollout: str, devices: Iterable[DeviceId]) -> tuple[DeviceId, ...]:
    """The devices in the order of their turn: by hash, so that no device is always the first."""
    return tuple(sorted(devices, key=lambda device: turn(rollout, device)))


def turn(rollout: str, device: str) -> bytes:
    """What the devices of a rollout are ordered by."""
    return hashlib.sha256(f"{rollout}\0{device}".encode()).digest()


def places(stages: Sequence[Stage], total: int) -> tuple[int, ...]:
    """How many devices hold a place when each stage is full; grows, and ends with all of them."""
    counts = []
    highest = 0
    for stage in stages:
        highest = max(highest, min(total, _wanted(stage, total)))
        counts.append(highest)
    counts[-1] = total
    return tuple(counts)


def _wanted(stage: Stage, total: int) -> int:
    if stage.percent is not None:
        return -(-stage.percent * total // _ALL)
    return stage.count or 0


def plan(stages: Sequence[Stage], total: int) -> tuple[Stage, ...]:
    """The stages that will really run: ending with everybody, without those that add nobody.

    Raises InvalidName when there are none or too many.
    """
    if not 1 <= len(stages) <= MAX_STAGES:
        raise InvalidName(
            f"a rollout has 1 to {MAX_STAGES} stages, not {len(stages)}",
            hint="write stages like 1, 40%, 100%",
        )
    full = (*stages, EVERYBODY)
    steps = pairwise((0, *places(full, total)))
    kept = [stage for stage, (before, after) in zip(full, steps, strict=True) if after > before]
    return tuple(kept) or (EVERYBODY,)


def stage_of(position: int, counts: Sequence[int]) -> int:
    """The stage in which the device at this position has its turn."""
    return next(index for index, count in enumerate(counts) if position < count)
