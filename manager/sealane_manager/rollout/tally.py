"""Adds up what one device reported, as far as a gate compares it. Pure.

The day before the rollout gives each device its own bounds of latency, and says what it predicted.
From then on windows are added, each once; where requests are split between two releases, each
window of both is a bet of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sealane.telemetry.histogram import bound, bucket
from sealane.telemetry.merging import merge_all
from sealane.telemetry.types import MAX_CLASSES, Arm, ErrorKind

from sealane_manager.gate.difference import Unit
from sealane_manager.gate.mix import Mix
from sealane_manager.gate.odds import Stratum
from sealane_manager.gate.shift import Predicted
from sealane_manager.gate.types import Checks, Kind, Paired

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from sealane.telemetry.histogram import Histogram
    from sealane.telemetry.types import ModelWindow, Window

    from sealane_manager.gate.odds import Split

BOUNDS: Final = (0.5, 0.9, 0.99)
"""Shares of its own requests that a device's bounds of latency let pass."""

LEAST_PAST: Final = 100
"""Requests of the day before, below which a device has no bounds of its own."""

BAD: Final = frozenset(
    {ErrorKind.FAILED, ErrorKind.CRASHED, ErrorKind.HUNG, ErrorKind.EXPIRED, ErrorKind.OVERLOADED}
)
"""Errors that are the release's; a client that sends nonsense or goes away proves nothing."""

ERRORS: Final = "errors"
_ANSWERS: Final = frozenset({Arm.ACTIVE, Arm.CANDIDATE})


@dataclass(frozen=True, slots=True)
class Watched:
    """What is followed on a device."""

    slot: str
    release: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What a release did on a device in the windows that were added.

    Attributes:
        answers: to clients; None before the first.
        shadow: to copies of requests; None without any.
        splits: by metric (ERRORS, or a share of BOUNDS), where both releases answered.
        mix: what both predicted there.
        first, last: seconds since 1970 of the start of the first window with answers and the end
            of the last; 0 before.
        until: end of the last window that was added.
    """

    answers: ModelWindow | None = None
    shadow: ModelWindow | None = None
    splits: Mapping[str, Split] = field(default_factory=dict)
    mix: Mix = field(default_factory=Mix)
    first: int = 0
    last: int = 0
    until: int = 0


@dataclass(frozen=True, slots=True)
class Past:
    """What a device did on the day before, with whatever answered then.

    Attributes:
        limits: latency in microseconds that each share of BOUNDS stays below; empty when unknown.
    """

    answers: ModelWindow | None = None
    limits: tuple[float, ...] = ()


def past(windows: Iterable[Window], slot: str) -> Past:
    """What the device's own past was."""
    models = [m for w in windows for m in w.models if m.slot == slot and m.arm in _ANSWERS]
    if not models:
        return Past()
    whole = merge_all(models)
    latency = whole.timings.latency
    known = latency.count >= LEAST_PAST
    return Past(whole, tuple(limit(latency, share) for share in BOUNDS) if known else ())


def limit(latency: Histogram, share: float) -> float:
    """The upper end of the bucket in which this share lies: what is above it is counted exactly."""
    middle = latency.quantile(share)
    return bound(bucket(middle, latency.scale), latency.scale) if middle > 0 else 0.0


def bad(model: ModelWindow) -> int:
    """Requests that it should have answered and did not."""
    return sum(count for kind, count in model.errors.items() if kind in BAD)


def added(known: Tally, windows: Iterable[Window], watched: Watched, asked: Asked) -> Tally:
    """With more windows."""
    for window in windows:
        known = _with(known, window, watched, asked)
    return known


@dataclass(frozen=True, slots=True)
class Asked:
    """What a device's windows are compared by: the checks, and its own bounds of latency."""

    checks: Checks
    limits: tuple[float, ...] = ()

    @property
    def metrics(self) -> Mapping[str, tuple[Kind, Callable[[ModelWindow], int]]]:
        """How the bad requests of each metric are counted."""
        slow = {
            str(share): (Kind.LATENCY, _slower_than(each))
            for share, each in zip(BOUNDS, self.limits, strict=False)
        }
        return {ERRORS: (Kind.ERRORS, bad), **slow}


def _slower_than(latency: float) -> Callable[[ModelWindow], int]:
    return lambda model: model.timings.latency.above(latency)


def _with(known: Tally, window: Window, watched: Watched, asked: Asked) -> Tally:
    mine = [m for m in window.models if (m.slot, m.release) == (watched.slot, watched.release)]
    answers = [model for model in mine if model.arm in _ANSWERS and model.requests]
    shadow = [model for model in mine if model.arm is Arm.SHADOW]
    arms = _arms(window, watched)
    found = replace(
        known,
        answers=_merged(known.answers, answers),
        shadow=_merged(known.shadow, shadow),
        splits=_split(known.splits, arms, asked),
        mix=_mixed(known.mix, arms),
        until=max(known.until, window.end),
    )
    if not answers:
        return found
    return replace(found, first=known.first or window.start, last=max(known.last, window.end))


def _merged(known: ModelWindow | None, more: list[ModelWindow]) -> ModelWindow | None:
    parts = [known, *more] if known else more
    return merge_all(parts) if parts else None


def _arms(window: Window, watched: Watched) -> tuple[ModelWindow, ModelWindow] | None:
    """What the release and the one beside it did in a window; None when one answered nothing."""
    here = [model for model in window.models if model.slot == watched.slot]
    candidate = [m for m in here if m.arm is Arm.CANDIDATE and m.release == watched.release]
    active = [m for m in here if m.arm is Arm.ACTIVE and m.release != watched.release]
    if not candidate or not active:
        return None
    return merge_all(candidate), merge_all(active)


def _mixed(known: Mix, arms: tuple[ModelWindow, ModelWindow] | None) -> Mix:
    """With what both predicted; rows that came together are no bets of their own."""
    if arms is None or any(m.timings.batch.sum != m.timings.batch.count for m in arms):
        return known
    one, other = (_by_class(model) for model in arms)
    return known.add(one, other)


def _by_class(model: ModelWindow) -> tuple[int, ...]:
    """How often each class came; those that are counted together have the last place."""
    seen = model.predictions
    if not seen.other_classes:
        return seen.classes
    return (*seen.classes, *([0] * (MAX_CLASSES - len(seen.classes))), seen.other_classes)


def _split(
    known: Mapping[str, Split], arms: tuple[ModelWindow, ModelWindow] | None, asked: Asked
) -> Mapping[str, Split]:
    """The bets after a window in which both releases answered; the same when one did not."""
    if arms is None:
        return known
    one, other = arms
    found = dict(known)
    for name, (kind, count) in asked.metrics.items():
        check = asked.checks.of(kind)
        if check:
            stratum = Stratum(one.requests, count(one), other.requests, count(other))
            found[name] = (known.get(name) or check.bets.nothing()).add(stratum, check.bets)
    return found


# What the gate compares


def errors(tally: Tally, before: Past) -> Unit | None:
    """The device as a unit of errors; None when it answered nothing, now or then."""
    return _unit(tally, before, bad)


def slow(tally: Tally, before: Past, place: int) -> Unit | None:
    """The device as a unit of requests above its own bound of this place in BOUNDS."""
    return _unit(tally, before, _slower_than(before.limits[place])) if before.limits else None


def _unit(tally: Tally, before: Past, count: Callable[[ModelWindow], int]) -> Unit | None:
    now, then = tally.answers, before.answers
    if now is None or then is None:
        return None
    return Unit(count(now), now.requests, count(then), then.requests)


def paired(tally: Tally) -> Paired | None:
    """The device's shadow answers; None without any."""
    seen = tally.shadow.predictions if tally.shadow else None
    return Paired(seen.disagreed, seen.compared) if seen and seen.compared else None


def predicted(tally: Tally, before: Past, classes: int) -> Predicted | None:
    """The device's predictions now and before, by class; None when there were none."""
    if not tally.answers or not before.answers:
        return None
    return Predicted(_classes(before.answers, classes), _classes(tally.answers, classes))


def classes_of(*models: ModelWindow | None) -> int:
    """How many classes were ever predicted in these."""
    return max((len(model.predictions.classes) for model in models if model), default=0)


def _classes(model: ModelWindow, count: int) -> tuple[int, ...]:
    seen = model.predictions
    return (*seen.classes, *([0] * (count - len(seen.classes))), seen.other_classes)
