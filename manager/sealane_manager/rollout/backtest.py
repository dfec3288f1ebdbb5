"""Replays what devices reported as if some of them had got a release, and asks the gate. Pure.

The groups are drawn by chance and nothing was different about them, so that each time the gate
would have stopped is a false alarm of this very fleet. With bad requests added by chance to the
devices of the group, the same replays say which harm it would have found. Hours are the unit: older
telemetry is kept by hours. The gate is the gate itself; predictions are left out, as they stop
nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sealane.telemetry.merging import merge_all
from sealane.telemetry.types import Arm

from sealane_manager.gate.judge import judge
from sealane_manager.gate.power import drawn
from sealane_manager.gate.types import Arms, Kind, Seen
from sealane_manager.rollout.tally import BOUNDS, LEAST_PAST, Past, Tally, errors, limit, slow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sealane.telemetry.types import ModelWindow, Window

    from sealane_manager.gate.difference import Unit
    from sealane_manager.gate.power import Chance
    from sealane_manager.gate.types import Checks

HOUR: Final = 3600
PAST_HOURS: Final = 24
"""What a device did before a replay is what it is compared with."""

APART_HOURS: Final = 6
"""Between the beginnings of two replays."""

FACTORS: Final = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""Harm that is tried, as factors on bad requests, the smallest first."""

FOUND: Final = 0.8
"""A harm is detectable when so large a share of replays is stopped."""

_ANSWERS: Final = frozenset({Arm.ACTIVE, Arm.CANDIDATE})


@dataclass(slots=True)
class History:
    """What one device answered in a slot, by the hour, and with which releases."""

    hours: dict[int, ModelWindow] = field(default_factory=dict)
    releases: dict[int, set[str]] = field(default_factory=dict)

    def add(self, window: Window, slot: str) -> None:
        """With one more window."""
        models = [m for m in window.models if m.slot == slot and m.arm in _ANSWERS and m.requests]
        if not models:
            return
        hour = window.start // HOUR * HOUR
        known = [self.hours[hour]] if hour in self.hours else []
        self.hours[hour] = merge_all([*known, *models])
        self.releases.setdefault(hour, set()).update(model.release for model in models)

    def between(self, start: int, end: int) -> list[ModelWindow]:
        """What it answered from one hour until before another."""
        return [self.hours[hour] for hour in range(start, end, HOUR) if hour in self.hours]

    def steady(self, start: int, end: int) -> bool:
        """Whether one release alone answered, in the past and afterwards."""
        seen = [self.releases.get(hour, set()) for hour in range(start, end, HOUR)]
        return len(set().union(*seen)) == 1


@dataclass(frozen=True, slots=True)
class Terms:
    """What is replayed.

    Attributes:
        treated: devices in a fake group.
        hours: that each replay lasts, with a look at the end of each.
        runs: replays, over all beginnings.
    """

    checks: Checks
    treated: int = 5
    hours: int = 4
    runs: int = 200


@dataclass(frozen=True, slots=True)
class Scene:
    """One beginning: what each device has counted by the end of each hour, against its own past.

    Attributes:
        errors: by hour, then by device; None for a device that cannot be compared.
        slow: the same, for the bound that devices are compared by.
    """

    start: int
    errors: tuple[tuple[Unit | None, ...], ...]
    slow: tuple[tuple[Unit | None, ...], ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """How often the gate stopped fake groups.

    Attributes:
        runs: replays.
        stopped: of them.
        error: standard error of the share, from how much beginnings differ.
        by: which check stopped how many.
    """

    runs: int
    stopped: int
    error: float
    by: Mapping[str, int] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Of the replays that were stopped."""
        return self.stopped / self.runs if self.runs else 0.0


def collected(windows: Iterable[tuple[str, Window]], slot: str) -> dict[str, History]:
    """What each device answered in a slot."""
    found: dict[str, History] = {}
    for device, window in windows:
        found.setdefault(device, History()).add(window, slot)
    return {device: found[device] for device in sorted(found) if found[device].hours}


def scenes(histories: Mapping[str, History], terms: Terms) -> tuple[Scene, ...]:
    """Every beginning at which enough devices can be compared."""
    every = [hour for history in histories.values() for hour in history.hours]
    if not every:
        return ()
    first = min(every) + PAST_HOURS * HOUR
    last = max(every) + HOUR - terms.hours * HOUR
    found = [
        _scene(histories, start, terms.hours)
        for start in range(first, last + 1, APART_HOURS * HOUR)
    ]
    return tuple(each for each in found if _usable(each) >= terms.treated + 2)


def _usable(scene: Scene) -> int:
    return sum(unit is not None for unit in scene.errors[-1])


def _scene(histories: Mapping[str, History], start: int, hours: int) -> Scene:
    rows = [_device(history, start, hours) for history in histories.values()]
    return Scene(
        start,
        tuple(tuple(row[hour][0] for row in rows) for hour in range(hours)),
        tuple(tuple(row[hour][1] for row in rows) for hour in range(hours)),
    )


def _device(history: History, start: int, hours: int) -> list[tuple[Unit | None, Unit | None]]:
    """Errors and slow requests of one device by the end of each hour."""
    begun = start - PAST_HOURS * HOUR
    before = history.between(begun, start)
    if not before or not history.steady(begun, start + hours * HOUR):
        return [(None, None)] * hours
    past = _past(merge_all(before))
    place = BOUNDS.index(0.9)
    units: list[tuple[Unit | None, Unit | None]] = []
    for hour in range(1, hours + 1):
        since = history.between(start, start + hour * HOUR)
        tally = Tally(answers=merge_all(since)) if since else Tally()
        units.append((errors(tally, past), slow(tally, past, place)))
    return units


def _past(answers: ModelWindow) -> Past:
    latency = answers.timings.latency
    known = latency.count >= LEAST_PAST
    return Past(answers, tuple(limit(latency, share) for share in BOUNDS) if known else ())


def replay(found: Sequence[Scene], terms: Terms, factor: float, chance: Chance) -> Replayed:
    """Draw fake groups and ask the gate; `factor` times as many requests fail in the group."""
    stopped: list[list[bool]] = [[] for _ in found]
    by: Counter[str] = Counter()
    for run in range(terms.runs):
        place = run % len(found)
        checks = _stopped(found[place], terms, factor, chance)
        stopped[place].append(bool(checks))
        by.update(str(kind) for kind in checks)
    every = [each for group in stopped for each in group]
    return Replayed(len(every), sum(every), _error(stopped), dict(by))


def _error(stopped: Sequence[Sequence[bool]]) -> float:
    """Replays of one beginning are alike: the error comes from how beginnings differ."""
    shares = [sum(group) / len(group) for group in stopped if group]
    if len(shares) < 2:  # noqa: PLR2004 - one alone says nothing of how they differ
        return math.nan
    middle = sum(shares) / len(shares)
    spread = sum((share - middle) ** 2 for share in shares) / (len(shares) - 1)
    return math.sqrt(spread / len(shares))


def _stopped(scene: Scene, terms: Terms, factor: float, chance: Chance) -> tuple[Kind, ...]:
    """The checks that stop one fake group; none when it passes."""
    devices = [place for place, unit in enumerate(scene.errors[-1]) if unit is not None]
    group = _drawn_from(devices, terms.treated, chance)
    worse = {place: _Worse(factor) for place in group}
    for hour, (units, slow_units) in enumerate(zip(scene.errors, scene.slow, strict=True), 1):
        harmed = tuple(
            worse[place].met(unit, chance) if unit and place in worse else unit
            for place, unit in enumerate(units)
        )
        seen = Seen(
            stages=1,
            minutes=hour * 60.0,
            errors=_arms(harmed, group),
            latency={0.9: _arms(slow_units, group)},
        )
        judged = judge(terms.checks, seen)
        if judged.fails:
            return tuple(each.kind for each in judged.findings if each.counts)
    return ()


class _Worse:
    """Adds bad requests to a device, hour by hour, so that what was added stays."""

    def __init__(self, factor: float) -> None:
        self._factor, self._seen, self._more = factor, 0, 0

    def met(self, unit: Unit, chance: Chance) -> Unit:
        """The device as it would have been."""
        self._more += drawn((self._factor - 1) * (unit.bad - self._seen), chance)
        self._seen = unit.bad
        return replace(unit, bad=min(unit.requests, unit.bad + self._more))


def _arms(units: Sequence[Unit | None], group: frozenset[int]) -> Arms:
    return Arms(
        treated=tuple(u for place, u in enumerate(units) if u is not None and place in group),
        control=tuple(u for place, u in enumerate(units) if u is not None and place not in group),
    )


def _drawn_from(places: Sequence[int], count: int, chance: Chance) -> frozenset[int]:
    """So many of them, each choice alike."""
    ordered = sorted((chance.random(), place) for place in places)
    return frozenset(place for _, place in ordered[:count])
