"""Decides what is exported: families of samples from counters of cohorts and counts of the fleet.

A cohort is a release in a slot and an arm. Devices are many and come and go, so no family has a
label for them; single devices are shown by the dashboard and the read API.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sealane.telemetry import names
from sealane.telemetry.bins import CONFIDENCE_EDGES
from sealane.telemetry.types import MAX_CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sealane.telemetry.bins import Bins
    from sealane.telemetry.histogram import Histogram
    from sealane.telemetry.types import ModelWindow, Timings

    from sealane_manager.store.telemetry.records import Cohort

    _Parts = Iterator[tuple[tuple[tuple[str, str], ...], int]]

Labels = tuple[tuple[str, str], ...]


class Kind(StrEnum):
    """How a family behaves."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Grid:
    """The bounds of a classic histogram: powers of 2, so many to a doubling.

    They are the same at every scrape, whatever was counted, because a bound that appears later
    would look like a counter that began anew.

    Attributes:
        scale: 2**scale bounds a doubling.
        low, high: exponents of 2 of the first and the last bound.
    """

    scale: int
    low: int
    high: int


TIMES: Final = Grid(2, 4, 26)
"""From 16 µs to 67 s in steps of 19 %."""

ROWS: Final = Grid(0, 0, 12)
"""1, 2, 4, … 4,096."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A histogram on the devices' own grid, and the bounds for those who need fewer."""

    values: Histogram
    grid: Grid


@dataclass(frozen=True, slots=True)
class Steps:
    """Counts between fixed edges; the last is above them all."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sample:
    """One value and its labels."""

    labels: Labels
    value: float | Spread | Steps


@dataclass(frozen=True, slots=True)
class Family:
    """Samples of one name."""

    name: str
    kind: Kind
    text: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the manager knows at one moment.

    Attributes:
        fleet: its name.
        version: the manager's.
        cohorts: what was stored since the manager started.
        devices: how many are in each status.
        rollouts: how many are in each state that has not ended.
        alerts: how many are open, by rule and severity.
    """

    fleet: str
    version: str
    cohorts: Mapping[Cohort, ModelWindow] = field(default_factory=dict)
    devices: Mapping[str, int] = field(default_factory=dict)
    rollouts: Mapping[str, int] = field(default_factory=dict)
    alerts: Mapping[tuple[str, str], int] = field(default_factory=dict)


def families(found: Snapshot) -> tuple[Family, ...]:
    """Everything that is exported; a family without samples is left out."""
    every = (*_of_fleet(found), *_of_requests(found.cohorts), *_of_answers(found.cohorts))
    return tuple(family for family in every if family.samples)


def _of_fleet(found: Snapshot) -> Iterator[Family]:
    info = (("fleet", found.fleet), ("version", found.version))
    yield Family(names.INFO, Kind.GAUGE, "The manager.", (Sample(info, 1),))
    yield _counted(names.DEVICES, "Devices by status.", "status", found.devices)
    yield _counted(names.ROLLOUTS, "Rollouts that have not ended.", "state", found.rollouts)
    alerts = tuple(
        Sample((("rule", rule), ("severity", severity)), count)
        for (rule, severity), count in sorted(found.alerts.items())
    )
    yield Family(names.ALERTS, Kind.GAUGE, "Alerts that are open.", alerts)


def _counted(name: str, text: str, label: str, counts: Mapping[str, int]) -> Family:
    samples = tuple(Sample(((label, word),), count) for word, count in sorted(counts.items()))
    return Family(name, Kind.GAUGE, text, samples)


def _of_requests(cohorts: Mapping[Cohort, ModelWindow]) -> Iterator[Family]:
    yield _counter(names.REQUESTS, "Requests, answered or not.", cohorts, _one("requests"))
    yield _counter(names.ERRORS, "Requests not answered by this release.", cohorts, _errors)
    yield _counter(
        names.FALLBACKS, "Of those, answered by the previous release.", cohorts, _one("fallbacks")
    )
    for name, text, part, grid in (
        (names.LATENCY, "From a request's arrival to its answer.", "latency", TIMES),
        (names.QUEUE, "The part of it that was waiting.", "queue", TIMES),
        (names.BATCH, "Rows in each call of the engine.", "batch", ROWS),
    ):
        samples = tuple(
            Sample(_labels(cohort), Spread(_timing(model.timings, part), grid))
            for cohort, model in sorted(cohorts.items())
        )
        yield Family(name, Kind.HISTOGRAM, text, samples)


def _of_answers(cohorts: Mapping[Cohort, ModelWindow]) -> Iterator[Family]:
    yield _counter(names.PREDICTIONS, "Answers by their first class.", cohorts, _classes)
    yield _confidence(cohorts)
    yield _counter(names.COMPARED, "Shadow answers compared.", cohorts, _answers("compared"))
    yield _counter(names.DISAGREED, "Of those, different.", cohorts, _answers("disagreed"))
    for name, text, count in (
        (names.INPUT, "Values of an input in its bins.", _in_bins),
        (names.INPUT_MISSING, "Values of an input that were missing.", _missing),
        (names.INPUT_NON_FINITE, "NaN and infinite values of an input.", _non_finite),
    ):
        yield _counter(name, text, cohorts, _inputs(count))


def _counter(
    name: str,
    text: str,
    cohorts: Mapping[Cohort, ModelWindow],
    parts: Callable[[ModelWindow], Iterable[tuple[Labels, int]]],
) -> Family:
    samples = tuple(
        Sample((*_labels(cohort), *more), count)
        for cohort, model in sorted(cohorts.items())
        for more, count in parts(model)
    )
    return Family(name, Kind.COUNTER, text, samples)


def _labels(cohort: Cohort) -> Labels:
    return (
        ("arm", cohort.arm),
        ("model", cohort.release.partition("@")[0]),
        ("release", cohort.release),
        ("slot", cohort.slot),
    )


def _one(field_name: str) -> Callable[[ModelWindow], _Parts]:
    def parts(model: ModelWindow) -> _Parts:
        yield (), getattr(model, field_name)

    return parts


def _answers(field_name: str) -> Callable[[ModelWindow], _Parts]:
    def parts(model: ModelWindow) -> _Parts:
        if model.predictions.compared:
            yield (), getattr(model.predictions, field_name)

    return parts


def _errors(model: ModelWindow) -> _Parts:
    for kind, count in sorted(model.errors.items()):
        yield (("kind", kind),), count


def _classes(model: ModelWindow) -> _Parts:
    for number, count in enumerate(model.predictions.classes[:MAX_CLASSES]):
        yield (("class", str(number)),), count
    if model.predictions.other_classes:
        yield (("class", "other"),), model.predictions.other_classes


def _confidence(cohorts: Mapping[Cohort, ModelWindow]) -> Family:
    samples = tuple(
        Sample(_labels(cohort), Steps(CONFIDENCE_EDGES, model.predictions.confidence.counts))
        for cohort, model in sorted(cohorts.items())
        if model.predictions.confidence.count
    )
    text = "Confidence of the first class; the sum is of the bins' centres."
    return Family(names.CONFIDENCE, Kind.HISTOGRAM, text, samples)


def _inputs(count: Callable[[Bins], int]) -> Callable[[ModelWindow], _Parts]:
    def parts(model: ModelWindow) -> _Parts:
        for name, bins in sorted(model.inputs.items()):
            yield (("input", name),), count(bins)

    return parts


def _in_bins(bins: Bins) -> int:
    return bins.count


def _missing(bins: Bins) -> int:
    return bins.missing


def _non_finite(bins: Bins) -> int:
    return bins.non_finite


def _timing(timings: Timings, part: str) -> Histogram:
    found: Histogram = getattr(timings, part)
    return found
