"""Decides what charts show: each line of each quantity over time, and as numbers in a table. Pure.

A line is told by its colour and by its dashes, and each moment that nobody reported stays a gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sealane_manager.store.telemetry.records import Bucket

from sealane_manager.store.telemetry.records import Span

MOST: Final = 4
"""Releases and arms that are drawn, those with the most requests; as many as there are colours."""

FEWEST: Final = 15
"""Moments that are drawn at least."""

DASHES: Final = ("solid", "dashed", "dotted")


@dataclass(frozen=True, slots=True)
class Range:
    """How far back a chart goes, in seconds, and how long each of its buckets is."""

    name: str
    seconds: int
    bucket: int


RANGES: Final = (
    Range("1h", 3600, 60),
    Range("6h", 6 * 3600, 300),
    Range("24h", 86_400, 1200),
    Range("7d", 7 * 86_400, 7200),
    Range("30d", 30 * 86_400, 21_600),
)
"""The first one is usual. No window is longer than a bucket of the range in which it still lies:
devices merge those that they could not send for six hours, and the manager those of two days."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line: `values` has one for each moment, None where nothing was reported.

    Attributes:
        shade: number of its colour, from 0.
        dash: solid, dashed or dotted.
    """

    name: str
    shade: int
    dash: str
    values: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """One quantity over time; `moments` are seconds since 1970."""

    name: str
    title: str
    unit: str
    moments: tuple[int, ...]
    lines: tuple[Line, ...]

    @property
    def rows(self) -> tuple[tuple[int, tuple[float | None, ...]], ...]:
        """The moments at which anything was reported, with a value for each line."""
        columns = zip(*(line.values for line in self.lines), strict=True)
        pairs = zip(self.moments, columns, strict=True)
        return tuple((at, row) for at, row in pairs if any(value is not None for value in row))


@dataclass(frozen=True, slots=True)
class Charts:
    """The charts of one subject; `hidden` counts releases and arms that are not drawn."""

    range: Range
    parts: tuple[str, ...]
    charts: tuple[Chart, ...]
    hidden: int = 0


def range_of(name: str) -> Range:
    """The range of that name, else the usual one."""
    return next((each for each in RANGES if each.name == name), RANGES[0])


def span_of(chosen: Range, now: int) -> Span:
    """From when until when it goes."""
    return Span.last(chosen.seconds, now, chosen.bucket)


def draw(found: Mapping[tuple[str, str], Sequence[Bucket]], chosen: Range, now: int) -> Charts:
    """Requests, errors and latency of each release and arm."""
    span = span_of(chosen, now)
    busiest = sorted(found, key=lambda part: -sum(each.requests for each in found[part]))[:MOST]
    parts = sorted(busiest)
    moments = tuple(range(_first(found, span), span.end, span.bucket))
    series = [{each.start: each for each in found[part]} for part in parts]
    names = [_name(part, parts) for part in parts]
    values = _Values(moments, series, names)
    charts = (
        Chart("requests", "Requests", "a minute", moments, values.lines(_rate(now))),
        Chart("errors", "Errors", "% of requests", moments, values.lines(_error_share)),
        Chart("latency", "Latency", "ms", moments, values.quantiles()),
    )
    drawn = charts if parts else ()
    return Charts(chosen, tuple(names), drawn, len(found) - len(parts))


def _first(found: Mapping[tuple[str, str], Sequence[Bucket]], span: Span) -> int:
    """Where the charts begin: of a young fleet not before it told anything."""
    told = min((each.start for buckets in found.values() for each in buckets), default=span.start)
    latest = (span.end - 1) // span.bucket * span.bucket - (FEWEST - 1) * span.bucket
    return max(span.start, min(told - span.bucket, latest))


def _name(part: tuple[str, str], parts: Sequence[tuple[str, str]]) -> str:
    """A release; with its arm when the release answered in several or in an unusual one."""
    release, arm = part
    alone = arm == "active" and sum(other == release for other, _ in parts) == 1
    return release if alone else f"{release} {arm}"


@dataclass(frozen=True, slots=True)
class _Values:
    moments: tuple[int, ...]
    series: Sequence[Mapping[int, Bucket]]
    names: Sequence[str]

    def lines(self, value: Callable[[Bucket], float | None]) -> tuple[Line, ...]:
        """One line for each release and arm."""
        return tuple(
            Line(name, shade, DASHES[0], self._values(self.series[shade], value))
            for shade, name in enumerate(self.names)
        )

    def quantiles(self) -> tuple[Line, ...]:
        """Three lines for each release and arm, told apart by their dashes."""
        return tuple(
            Line(f"{name} {quantile}", shade, dash, self._values(self.series[shade], value))
            for shade, name in enumerate(self.names)
            for (quantile, value), dash in zip(_QUANTILES, DASHES, strict=True)
        )

    def _values(
        self, buckets: Mapping[int, Bucket], value: Callable[[Bucket], float | None]
    ) -> tuple[float | None, ...]:
        return tuple(value(buckets[at]) if at in buckets else None for at in self.moments)


def _rate(now: int) -> Callable[[Bucket], float | None]:
    """Requests a minute; of a bucket that is not over, in the part that is."""

    def rate(bucket: Bucket) -> float:
        seconds = min(bucket.seconds, max(60, now - bucket.start))
        return round(bucket.requests * 60 / seconds, 1)

    return rate


def _error_share(bucket: Bucket) -> float | None:
    return round(100 * bucket.errors / bucket.requests, 3) if bucket.requests else None


def _quantile(share: float) -> Callable[[Bucket], float | None]:
    def milliseconds(bucket: Bucket) -> float | None:
        return round(bucket.latency.quantile(share) / 1000, 3) if bucket.latency.count else None

    return milliseconds


_QUANTILES: Final = (("p99", _quantile(0.99)), ("p90", _quantile(0.9)), ("p50", _quantile(0.5)))
