"""A month of telemetry of a fleet, written straight into telemetry.db as ingest would leave it.

Every device reported one window a minute: the last two days lie in minutes, the rest in
hours, and what has ended in blocks. Requests follow the day; what a device says at a moment
depends on its release alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from sealane.names import SlotName
from sealane.telemetry.bins import CONFIDENCE_BINS, Bins
from sealane.telemetry.codec import encode_histogram, encode_windows, join_windows
from sealane.telemetry.histogram import record
from sealane.telemetry.types import (
    Arm,
    ErrorKind,
    HostWindow,
    Level,
    ModelWindow,
    Predictions,
    Timings,
    Window,
)
from sealane_manager.store.telemetry.ingest import LATE_S
from sealane_manager.store.telemetry.schema import (
    BLOCKS,
    DAY,
    HOUR,
    MINUTE,
    connect,
    transaction,
)

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

INPUTS: Final = ("brightness", "contrast", "sharpness")
_SHARES: Final = (1, 2, 4, 7, 9, 11, 12, 12, 11, 9, 7, 4, 2, 1)


class References:
    """What the bundle of vision/defect@2 says of its inputs; the other release has none."""

    def of(self, release: str) -> Mapping[str, Bins]:
        counts = tuple(100 * share for share in _SHARES)
        return dict.fromkeys(INPUTS, Bins(counts)) if release.endswith("@2") else {}

    def edges(self, release: str) -> Mapping[str, tuple[float, ...]]:
        edges = tuple(float(10 * edge) for edge in range(1, len(_SHARES)))
        return dict.fromkeys(INPUTS, edges) if release.endswith("@2") else {}


REFERENCES: Final = References()


@dataclass(frozen=True)
class Month:
    """Who reported until `now`.

    Attributes:
        releases: of each device.
        sites: of each device.
        windows_of: devices whose own windows are written; the others only count in the cohorts.
        in_blocks: whether housekeeping packed what has ended.
    """

    now: int
    releases: Mapping[str, str]
    sites: Mapping[str, str]
    windows_of: Sequence[str]
    in_blocks: bool = True

    @property
    def packed(self) -> Mapping[int, int]:
        """Until when the windows of a tier lie in blocks."""
        if not self.in_blocks:
            return {HOUR: 0, MINUTE: 0}
        return {
            HOUR: (self.now - 2 * DAY) // DAY * DAY,
            MINUTE: (self.now - LATE_S) // HOUR * HOUR,
        }

    @property
    def moments(self) -> Iterator[tuple[int, int, int]]:
        """Tier, start and length of every window."""
        end = self.now // HOUR * HOUR
        for start in range(end - 30 * DAY, end - 2 * DAY, HOUR):
            yield HOUR, start, HOUR
        for start in range(end - 2 * DAY, self.now - MINUTE, MINUTE):
            yield MINUTE, start, MINUTE


def model_window(release: str, start: int, seconds: int, devices: int = 1) -> ModelWindow:
    """What so many devices did with a release in that time."""
    day = 1 + 0.45 * math.sin(2 * math.pi * start / DAY)
    wobble = 1 + 0.1 * math.sin(start / 700) + 0.04 * math.sin(start / 97)
    requests = max(1, round(20 * seconds / 60 * day * wobble)) * devices
    slow = 0.8 if release.endswith("2") else 1.0
    times = [slow * wobble * (3000 + 40 * part + (part > 96) * 9000) for part in range(100)]
    errors = requests // (180 if release.endswith("2") else 400)
    return ModelWindow(
        SlotName("cam"),
        release,
        Arm.ACTIVE,
        requests=requests,
        errors={ErrorKind.FAILED: errors} if errors else {},
        timings=Timings(latency=record(times), queue=record(times[:20]), batch=record([1.0] * 20)),
        predictions=_predictions(requests),
        inputs={name: Bins(tuple(requests * part // 92 for part in _SHARES)) for name in INPUTS},
    )


def _predictions(requests: int) -> Predictions:
    classes = tuple(requests * part // 100 for part in (88, 7, 3, 2))
    confidence = [0] * CONFIDENCE_BINS
    confidence[-1], confidence[-2], confidence[-5] = (requests * part // 10 for part in (8, 1, 1))
    return Predictions(classes=classes, confidence=Bins(tuple(confidence)))


def fill_month(path: Path, month: Month) -> int:
    """Write everything; returns how many rows."""
    connection = connect(path)
    connection.execute("PRAGMA synchronous=OFF")
    try:
        with transaction(connection):
            rows = _device_windows(connection, month) + _cohorts(connection, month)
            _latest(connection, month)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
    return rows


def _device_windows(connection: sqlite3.Connection, month: Month) -> int:
    """What each device said; returns how many windows."""
    packed, count = month.packed, 0
    blocks: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for moment in month.moments:
        tier, start, _ = moment
        if start < packed[tier]:
            blocks.setdefault((tier, start // BLOCKS[tier] * BLOCKS[tier]), []).append(moment)
        else:
            rows = _rows((tier, start), [moment], month)
            connection.executemany(_ROW.format("device_window"), rows)
        count += len(month.windows_of)
    for place, moments in blocks.items():
        rows = _rows(place, moments, month)
        connection.executemany(_ROW.format("device_block"), rows)
    return count


def _rows(
    place: tuple[int, int], moments: Sequence[tuple[int, int, int]], month: Month
) -> Iterator[tuple[object, ...]]:
    """A row of each device: what it said of these moments."""
    said = {release: _said(release, moments) for release in set(month.releases.values())}
    return ((*place, name, *said[month.releases[name]]) for name in sorted(month.windows_of))


_ROW: Final = (
    "INSERT INTO {} (tier, start, device, requests, errors, body) VALUES (?, ?, ?, ?, ?, ?)"
)
_Said = tuple[int, int, bytes]
"""Requests, errors and body."""


def _said(release: str, moments: Sequence[tuple[int, int, int]]) -> _Said:
    """What a device with this release said of these moments, in one body."""
    models = [model_window(release, start, seconds) for _, start, seconds in moments]
    host = HostWindow(cpu=Level.of(310), memory=Level.of(420), disk=Level.of(550))
    body = join_windows(
        encode_windows([Window(start, seconds, (model,), host)])
        for model, (_, start, seconds) in zip(models, moments, strict=True)
    )
    return sum(model.requests for model in models), sum(model.failed for model in models), body


def _cohorts(connection: sqlite3.Connection, month: Month) -> int:
    members: dict[tuple[str, str], int] = {}
    for name, release in month.releases.items():
        for site in ("", month.sites[name]):
            members[site, release] = members.get((site, release), 0) + 1
    row_of = cache(_cohort_row)
    count = 0
    for number, ((site, release), devices) in enumerate(sorted(members.items()), 1):
        key = (number, site, release, "cam", str(Arm.ACTIVE))
        connection.execute("INSERT INTO cohort VALUES (?, ?, ?, ?, ?)", key)
        rows = [
            (row[0], number, *row[1:])
            for row in (row_of(at, release, devices) for at in month.moments)
        ]
        connection.executemany("INSERT INTO cohort_window VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        count += len(rows)
    return count


def _cohort_row(at: tuple[int, int, int], release: str, devices: int) -> tuple[object, ...]:
    tier, start, seconds = at
    model = model_window(release, start, seconds, devices)
    latency = encode_histogram(model.timings.latency)
    body = encode_windows([Window(start, seconds, (model,))])
    counts = (model.requests, model.failed, model.fallbacks, 0)
    return tier, start, *counts, latency, body


def _latest(connection: sqlite3.Connection, month: Month) -> None:
    start = month.now - MINUTE
    values = (start, MINUTE, month.now, 100, 0, 9000.0, 0.31, 0.42, 0.55, 48.0, 0.1, 0, 0)
    connection.executemany(
        "INSERT INTO device_latest VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        ((name, *values) for name in month.releases),
    )
