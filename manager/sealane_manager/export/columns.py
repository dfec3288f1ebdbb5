"""Decides what an export holds: three tables, their columns, and the rows of one stored window.

Whoever reads a file needs nothing of Sealane: quantiles are there as numbers, and histograms and
bins as lists, so that windows can be added up again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sealane.telemetry.types import ErrorKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane.telemetry.bins import Bins
    from sealane.telemetry.histogram import Histogram
    from sealane.telemetry.types import HostWindow, Level, ModelWindow, Window

    Value = str | int | float | tuple[int, ...] | None
    Row = tuple[Value, ...]


class Table(StrEnum):
    """What a row is about."""

    MODELS = "models"
    """A release in a slot and an arm, in one window."""
    INPUTS = "inputs"
    """One input of it."""
    HOSTS = "hosts"
    """The machine, in one window."""


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    INTEGERS = "integers"
    """A list; in CSV separated by spaces."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column; an empty cell: it was not measured."""

    name: str
    kind: Kind
    says: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A row of the manager's store: of a device, or of a cohort of a site or of the fleet."""

    device: str
    site: str
    late: int
    window: Window


_TEXT, _INTEGER, _NUMBER, _INTEGERS = Kind.TEXT, Kind.INTEGER, Kind.NUMBER, Kind.INTEGERS

_WHERE: Final = (
    Column("device", _TEXT, "empty in a table of cohorts"),
    Column("site", _TEXT, "of a cohort; empty: of the whole fleet, or of a device"),
    Column("start", _INTEGER, "of the window, in seconds since 1970"),
    Column("seconds", _INTEGER, "its length"),
)
_MODEL: Final = (
    Column("slot", _TEXT, "where the model serves"),
    Column("release", _TEXT, "`model@version`"),
    Column("arm", _TEXT, "`active`, `candidate`, `shadow`, `previous` or `other`"),
)
_QUANTILES: Final = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
_HISTOGRAMS: Final = (
    ("latency_us", "arrival to answer, in microseconds"),
    ("queue_us", "the part of it that was waiting"),
    ("batch_rows", "rows in each call of the engine"),
)
_LEVELS: Final = (
    ("cpu", 1000, "busy share of all cores, 0 to 1"),
    ("memory", 1000, "used share"),
    ("disk", 1000, "used share of the agent's disk"),
    ("temperature", 10, "of the hottest sensor, in degrees Celsius"),
    ("accelerator", 1000, "busy share"),
    ("clock_offset", 1000, "device's clock less the manager's, in seconds"),
)


def _histogram_columns(name: str, says: str) -> tuple[Column, ...]:
    return (
        Column(f"{name}_count", _INTEGER, says),
        Column(f"{name}_sum", _INTEGER, "sum of the values"),
        *(Column(f"{name}_{word}", _NUMBER, f"quantile {share}") for share, word in _QUANTILES),
        Column(f"{name}_scale", _INTEGER, "2**scale buckets a doubling"),
        Column(f"{name}_offset", _INTEGER, "number of the first bucket, as in OpenTelemetry"),
        Column(f"{name}_zero", _INTEGER, "values below 2**-20"),
        Column(f"{name}_buckets", _INTEGERS, "values in each bucket"),
    )


COLUMNS: Final = {
    Table.MODELS: (
        *_WHERE,
        *_MODEL,
        Column("requests", _INTEGER, "answered or not"),
        Column("late", _INTEGER, "of a cohort: requests whose windows came late"),
        Column("fallbacks", _INTEGER, "errors that the previous release answered for"),
        *(Column(f"errors_{kind}", _INTEGER, f"errors of kind `{kind}`") for kind in ErrorKind),
        *(column for name, says in _HISTOGRAMS for column in _histogram_columns(name, says)),
        Column("classes", _INTEGERS, "how often each class came first"),
        Column("other_classes", _INTEGER, "how often a class beyond the 64th did"),
        Column("confidence", _INTEGERS, "of the first class, in 20 bins from 0 to 1"),
        Column("compared", _INTEGER, "shadow answers compared"),
        Column("disagreed", _INTEGER, "of those, different"),
    ),
    Table.INPUTS: (
        *_WHERE,
        *_MODEL,
        Column("input", _TEXT, "as the bundle's reference names it"),
        Column("counts", _INTEGERS, "values in each bin of the reference"),
        Column("missing", _INTEGER, "values that were not there"),
        Column("non_finite", _INTEGER, "NaN and infinite values"),
    ),
    Table.HOSTS: (
        *_WHERE,
        *(
            column
            for name, _, says in _LEVELS
            for column in (
                Column(f"{name}_mean", _NUMBER, says),
                Column(f"{name}_low", _NUMBER, "lowest sample"),
                Column(f"{name}_high", _NUMBER, "highest sample"),
            )
        ),
        Column("throttled_s", _INTEGER, "seconds in which the processor was slowed down"),
        Column("restarts", _INTEGER, "workers that were started again"),
        Column("lost", _INTEGER, "windows that the device could not keep"),
    ),
}
"""The columns of each table, in their order; later versions add at the end."""


def rows(table: Table, stored: Stored) -> Iterator[Row]:
    """The rows of one stored window."""
    window = stored.window
    where: Row = (stored.device, stored.site, window.start, window.seconds)
    if table is Table.HOSTS:
        if window.host is not None:
            yield (*where, *_host(window.host))
        return
    for model in window.models:
        names = (*where, str(model.slot), model.release, str(model.arm))
        if table is Table.MODELS:
            yield (*names, *_model(model, stored.late))
        else:
            for name, bins in model.inputs.items():
                yield (*names, name, *_input(bins))


def _model(model: ModelWindow, late: int) -> Row:
    timings, answers = model.timings, model.predictions
    histograms = (timings.latency, timings.queue, timings.batch)
    return (
        model.requests,
        late,
        model.fallbacks,
        *(model.errors.get(kind, 0) for kind in ErrorKind),
        *(cell for found in histograms for cell in _histogram(found)),
        answers.classes,
        answers.other_classes,
        answers.confidence.counts,
        answers.compared,
        answers.disagreed,
    )


def _histogram(found: Histogram) -> Row:
    quantiles = (found.quantile(share) if found.count else None for share, _ in _QUANTILES)
    grid = (found.scale, found.offset, found.zero, found.counts)
    return (found.count, found.sum, *quantiles, *grid)


def _input(bins: Bins) -> Row:
    return bins.counts, bins.missing, bins.non_finite


def _host(host: HostWindow) -> Row:
    cells = (cell for name, unit, _ in _LEVELS for cell in _level(getattr(host, name), unit))
    return (*cells, host.throttled, host.restarts, host.lost)


def _level(level: Level | None, unit: int) -> Row:
    if level is None:
        return None, None, None
    return level.mean / unit, level.low / unit, level.high / unit
