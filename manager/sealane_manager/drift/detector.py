"""Decides, window after window, whether a distribution has changed: the Shiryaev-Roberts detector.

For each change in the table it keeps R = (1 + R) x (how much likelier the change makes the window);
their mean is an e-detector: for whatever is nearer to the baseline than the floor, the mean time
until it reaches A is at least A windows, however often one looks. One odd window is no drift, so an
alarm also needs that each of the last windows reached the floor. It ends, and the detector begins
anew, when each of the last windows lay below it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from operator import mul
from typing import TYPE_CHECKING, Final

from sealane.telemetry.bins import Bins

from sealane_manager.drift.alternatives import table
from sealane_manager.drift.distance import js_distance, outcomes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane_manager.drift.alternatives import Table

DAY_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True)
class Policy:
    """When to alarm.

    Attributes:
        run_length: A: without a change that matters, an alarm comes after this many windows at
            the earliest, on average.
        floor: JS distance below which a change does not matter.
        windows: how many in a row must reach the floor.
        values: smaller windows are merged until they hold as many: fewer are seldom enough to
            tell a change from chance.
    """

    run_length: float = 2000.0
    floor: float = 0.10
    windows: int = 3
    values: int = 100


def run_length(days: float, window_seconds: int, streams: int) -> float:
    """The policy's A for at most one false alarm in so many days over so many inputs together."""
    return days * DAY_SECONDS / window_seconds * streams


@dataclass(frozen=True, slots=True)
class Watch:
    """What a detector remembers of one input.

    Attributes:
        evidence: ln R for each change; empty before the first window.
        distances: JS distances of the last windows, newest last.
        pending: windows that are too small to be judged yet.
        judged: windows that were.
        alarm: whether it sounds.
    """

    evidence: tuple[float, ...] = ()
    distances: tuple[float, ...] = ()
    pending: Bins = field(default_factory=Bins)
    judged: int = 0
    alarm: bool = False

    @property
    def log_evidence(self) -> float:
        """Logarithm of the mean R: from ln A on the detector is sure enough."""
        if not self.evidence:
            return -math.inf
        return _log_sum(self.evidence) - math.log(len(self.evidence))


@dataclass(frozen=True, slots=True)
class Baseline:
    """What windows are compared with, and the table of changes made from it."""

    bins: Bins
    table: Table

    @classmethod
    def of(cls, bins: Bins, policy: Policy) -> Baseline:
        """With its table, which costs several times as much as judging a window: keep it."""
        return cls(bins, table(bins, policy.floor))


def observe(watch: Watch, window: Bins, baseline: Baseline, policy: Policy) -> Watch:
    """What is remembered after one more window; one with more bins than the baseline is ignored."""
    bins = len(baseline.bins.counts)
    if len(window.counts) > bins:
        return watch
    pending = watch.pending.merge(window).merge(Bins((0,) * bins))
    if pending.seen < policy.values:
        return replace(watch, pending=pending)
    js, _ = js_distance(pending, baseline.bins)
    seen = Watch(
        evidence=_updated(watch.evidence, outcomes(pending), baseline.table),
        distances=(*watch.distances, js)[-policy.windows :],
        judged=watch.judged + 1,
        alarm=watch.alarm,
    )
    return _sounded(seen, policy)


def _updated(evidence: tuple[float, ...], counts: Sequence[int], rows: Table) -> tuple[float, ...]:
    before = evidence or (-math.inf,) * len(rows)
    return tuple(
        _log_one_plus(known) + sum(map(mul, row, counts))
        for known, row in zip(before, rows, strict=True)
    )


def _sounded(watch: Watch, policy: Policy) -> Watch:
    """The same with the alarm on or off, as the policy says."""
    if len(watch.distances) < policy.windows:
        return watch
    if watch.alarm:
        return Watch(judged=watch.judged) if max(watch.distances) < policy.floor else watch
    sure = watch.log_evidence >= math.log(policy.run_length)
    return replace(watch, alarm=sure and min(watch.distances) >= policy.floor)


def _log_one_plus(log_value: float) -> float:
    """ln(1 + exp(x)), without overflow."""
    return max(0.0, log_value) + math.log1p(math.exp(-abs(log_value)))


def _log_sum(logs: Sequence[float]) -> float:
    top = max(logs)
    return top + math.log(sum(math.exp(value - top) for value in logs))
