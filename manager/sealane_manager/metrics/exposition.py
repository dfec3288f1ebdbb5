"""Writes families as Prometheus' classic text: buckets are cumulative and end with `+Inf`."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from sealane.telemetry.histogram import bound

from sealane_manager.metrics.families import Spread, Steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sealane.telemetry.histogram import Histogram

    from sealane_manager.metrics.families import Family, Grid, Labels, Sample

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_ESCAPES: Final = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_TOP: Final = 1.0


def text(families: Iterable[Family]) -> str:
    """The page that Prometheus scrapes."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.text}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples:
        yield from _sample(family.name, sample)


def _sample(name: str, sample: Sample) -> Iterator[str]:
    match sample.value:
        case Spread(values, grid):
            yield from _buckets(name, sample.labels, cumulative(values, grid))
            yield f"{name}_sum{_labels(sample.labels)} {values.sum}"
            yield f"{name}_count{_labels(sample.labels)} {values.count}"
        case Steps(edges, counts):
            bounds = zip(edges, accumulate(counts), strict=False)
            yield from _buckets(name, sample.labels, (*bounds, (float("inf"), sum(counts))))
            yield f"{name}_sum{_labels(sample.labels)} {_number(centred(edges, counts))}"
            yield f"{name}_count{_labels(sample.labels)} {sum(counts)}"
        case number:
            yield f"{name}{_labels(sample.labels)} {_number(number)}"


def _buckets(name: str, labels: Labels, found: Iterable[tuple[float, int]]) -> Iterator[str]:
    for limit, count in found:
        edge = "+Inf" if limit == float("inf") else _number(limit)
        yield f"{name}_bucket{_labels((*labels, ('le', edge)))} {count}"


def cumulative(values: Histogram, grid: Grid) -> tuple[tuple[float, int], ...]:
    """How many values each bound of the grid holds; too few where it cuts a coarser bucket."""
    found = []
    for index in range(grid.low * 2**grid.scale - 1, grid.high * 2**grid.scale):
        limit = bound(index, grid.scale)
        ends = math.floor(math.ldexp(index + 1, values.scale - grid.scale))
        used = max(0, ends - values.offset)
        found.append((limit, values.zero + sum(values.counts[:used])))
    return (*found, (float("inf"), values.count))


def centred(edges: tuple[float, ...], counts: tuple[int, ...]) -> float:
    """The sum of values from 0 to 1, as if each lay in the middle of its bin."""
    lows, highs = (0.0, *edges), (*edges, _TOP)
    parts = zip(lows, highs, counts, strict=False)
    return sum((low + high) / 2 * count for low, high, count in parts)


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{key}="{value.translate(_ESCAPES)}"' for key, value in labels) + "}"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
