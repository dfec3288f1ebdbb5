"""Decides who comes when: the order of devices, and who has a place in each stage."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from sealane.errors import InvalidName
from sealane.names import parse_label

from sealane_manager import selector
from sealane_manager.rollout.types import Stage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sealane.names import DeviceId

MAX_STAGES: Final = 32
"""Stages of one rollout: a plan that nobody can read is no plan."""

EVERYBODY: Final = Stage(percent=100)

_STAGE: Final = re.compile(r"([1-9][0-9]{0,8})(%?)")
_ALL: Final = 100
_WHERE: Final = "where "
_EACH: Final = "each "
_COMMA: Final = re.compile(r",(?![^()]*\))")
"""One that stands in no list of values."""


def parse_stage(text: str) -> Stage:
    """Read `5` (devices), `40%` (of them), `where line=a` or `each site`; raises InvalidName."""
    text = text.strip()
    if text.startswith(_WHERE):
        return _where(text.removeprefix(_WHERE).strip())
    if text.startswith(_EACH):
        label = text.removeprefix(_EACH).strip()
        parse_label(label, "any")
        selector.refuse_reserved([label])
        return Stage(group=label)
    found = _STAGE.fullmatch(text)
    if not found or (found[2] and int(found[1]) > _ALL):
        raise InvalidName(
            f"{text[:40]!r} is not a stage",
            hint="write a count like 5, a share like 40%, `where line=a` or `each site`",
        )
    number = int(found[1])
    return Stage(percent=number) if found[2] else Stage(count=number)


def _where(text: str) -> Stage:
    if not selector.parse(text).terms:
        raise InvalidName("a stage means some devices", hint="write `where line=a`, or 100%")
    return Stage(selector=text)


def parse_stages(text: str) -> tuple[Stage, ...]:
    """Read stages that are joined by commas: `1, where site in (bern,rome), 100%`.

    A selector of several terms stands in a file. Raises InvalidName.
    """
    return tuple(parse_stage(part) for part in _COMMA.split(text))


def stage_text(stage: Stage) -> str:
    """The stage as `parse_stage` reads it."""
    if stage.selector:
        return f"{_WHERE}{stage.selector}"
    if stage.group:
        return f"{_EACH}{stage.group}"
    return f"{stage.percent}%" if stage.percent is not None else str(stage.count)


def order(rollout: str, devices: Iterable[DeviceId]) -> tuple[DeviceId, ...]:
    """The devices in the order of their turn: by hash, so that no device is always the first."""
    return tuple(sorted(devices, key=lambda device: turn(rollout, device)))


def turn(rollout: str, device: str) -> bytes:
    """What the devices of a rollout are ordered by."""
    return hashlib.sha256(f"{rollout}\0{device}".encode()).digest()


def places(stages: Sequence[Stage], total: int) -> tuple[int, ...]:
    """How many devices hold a place when each stage is full; grows, and ends with all of them.

    A stage that is given by a selector has room for all whom it means, and none of its own here.
    """
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

    For stages that only count. Raises InvalidName when there are none or too many.
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


def selects(stages: Iterable[Stage]) -> bool:
    """Whether it depends on labels who is in which stage."""
    return any(stage.selector or stage.group for stage in stages)


def labels_of(stages: Iterable[Stage]) -> tuple[str, ...]:
    """Labels whose values must be known to plan these stages."""
    return tuple(sorted({stage.group for stage in stages if stage.group}))


def expanded(stages: Sequence[Stage], values: Mapping[str, Iterable[str]]) -> tuple[Stage, ...]:
    """The stages with one for each value in the place of a group, and everybody at the end.

    Raises InvalidName when there are none or too many.
    """
    found = tuple(one for stage in stages for one in _values(stage, values))
    if not (stages and len(found) <= MAX_STAGES):
        raise InvalidName(
            f"a rollout has 1 to {MAX_STAGES} stages, not {len(found)}",
            hint="write stages like 1, where line=a, 100%",
        )
    return (*found, EVERYBODY)


def _values(stage: Stage, values: Mapping[str, Iterable[str]]) -> Iterable[Stage]:
    if not stage.group:
        return (stage,)
    return (Stage(selector=f"{stage.group}={value}") for value in sorted(values[stage.group]))


@dataclass(frozen=True, slots=True)
class Member:
    """A device that has its turn in a rollout, and the labels by which stages mean it."""

    device: DeviceId
    labels: Mapping[str, str] = field(default_factory=dict)


def room(stage: Stage, total: int, placed: int) -> int:
    """How many of those that are left may come in this stage."""
    return total - placed if stage.selector else min(_wanted(stage, total), total) - placed


def spread(
    stages: Sequence[Stage], members: Sequence[Member]
) -> tuple[tuple[Stage, tuple[Member, ...]], ...]:
    """Who comes in each stage, in the order of turns; stages that add nobody are left out."""
    left, found = list(members), []
    for stage in stages:
        meant = selector.parse(stage.selector)
        most = room(stage, len(members), len(members) - len(left))
        chosen = [each for each in left if selector.matches(meant, each.labels, each.device)]
        if taken := tuple(chosen[: max(0, most)]):
            found.append((stage, taken))
            gone = {each.device for each in taken}
            left = [each for each in left if each.device not in gone]
    return tuple(found)
