"""The closing table: made from the requests that were sent and the rollouts that were run."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Request:
    """One line of the traffic's log."""

    at: float
    device: str
    version: str
    outcome: str
    micros: int


@dataclass(frozen=True, slots=True)
class Swap:
    """One device went from one release to another between two answers.

    `gap_ms` is the longest time without an answer around the swap, `usual_ms` the median distance
    of two answers on that device.
    """

    device: str
    before: str
    after: str
    gap_ms: float
    usual_ms: float


def read_requests(log: Path) -> list[Request]:
    """Every request in the log; a last line that was cut is not counted."""
    rows = []
    for line in log.read_text().splitlines():
        fields = line.split(",")
        if len(fields) == len(Request.__dataclass_fields__):
            at, device, version, outcome, micros = fields
            rows.append(Request(float(at), device, version, outcome, int(micros)))
    return rows


def find_swaps(requests: Iterable[Request]) -> list[Swap]:
    """Where the answering release changed, device by device."""
    by_device: dict[str, list[Request]] = defaultdict(list)
    for request in requests:
        if request.outcome in ("ok", "wrong"):
            by_device[request.device].append(request)
    return [swap for rows in by_device.values() for swap in _swaps_of(rows)]


def _swaps_of(rows: Sequence[Request]) -> list[Swap]:
    gaps = [(after.at - before.at) * 1000 for before, after in pairwise(rows)]
    usual = median(gaps) if gaps else 0.0
    return [
        Swap(rows[i].device, rows[i].version, rows[i + 1].version, max(gaps[i - 1 : i + 2]), usual)
        for i in range(1, len(gaps))
        if rows[i].version != rows[i + 1].version
    ]


def release_rows(requests: Sequence[Request]) -> list[tuple[str, int, int, float, float]]:
    """Per release: answers, wrong ones, p50 and p99 in milliseconds."""
    by_version: dict[str, list[Request]] = defaultdict(list)
    for request in requests:
        by_version[request.version].append(request)
    rows = []
    for version, answered in sorted(by_version.items()):
        if version == "-":
            continue
        times = sorted(request.micros for request in answered)
        wrong = sum(request.outcome == "wrong" for request in answered)
        p99 = times[min(len(times) - 1, len(times) * 99 // 100)]
        rows.append((version, len(answered), wrong, median(times) / 1000, p99 / 1000))
    return rows


def failed(requests: Iterable[Request]) -> list[Request]:
    """Requests that got no answer."""
    return [request for request in requests if request.version == "-"]
