"""Reads telemetry: series, totals and bins, each as one statement over a set.

Rows hold their requests, errors and latency apart from the rest, so that a series of thousands of
rows is read without opening their bodies.
"""

from __future__ import annotations

import json
import queue
from contextlib import contextmanager
from functools import reduce
from typing import TYPE_CHECKING, Any

from sealane.names import DeviceId
from sealane.telemetry.bins import Bins
from sealane.telemetry.codec import decode_answers, decode_histogram, decode_windows
from sealane.telemetry.histogram import all_histograms
from sealane.telemetry.merging import merge_all

from sealane_manager.store.telemetry import bodies, own, pages
from sealane_manager.store.telemetry.ingest import ANSWERS
from sealane_manager.store.telemetry.records import (
    Bucket,
    Cohort,
    CohortFilter,
    InputCounts,
    Latest,
    Refusals,
    Span,
    Volume,
)
from sealane_manager.store.telemetry.schema import TIERS, connect

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sealane.telemetry.types import ModelWindow, Window

Part = tuple[str, str]
"""A release and an arm."""

_ANY = CohortFilter()
_COHORTS = (
    "SELECT id FROM cohort WHERE site IN (SELECT value FROM json_each(?1))"
    " AND (?2 = '' OR release = ?2) AND (?3 = '' OR release LIKE ?3 || '@%')"
    " AND (?4 = '' OR slot = ?4)"
    " AND arm IN (SELECT value FROM json_each(?5))"
)
_TIERS = "tier IN (SELECT value FROM json_each(?6))"
_LATEST = (
    "device, start, seconds, received, requests, errors, p99, cpu, memory, disk, temperature,"
    " clock_offset, throttled, restarts"
)


class Readings:
    """What telemetry says; every method blocks and may be called from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: queue.SimpleQueue[sqlite3.Connection] = queue.SimpleQueue()

    def cohorts(self, since: int, wanted: CohortFilter = _ANY) -> tuple[Cohort, ...]:
        """The cohorts of a site, or of all that is seen, that did anything since then."""
        query = (
            "SELECT DISTINCT release, slot, arm FROM cohort WHERE site IN (SELECT value FROM"
            " json_each(?)) AND EXISTS (SELECT 1 FROM cohort_window WHERE cohort = cohort.id"
            " AND tier IN (60, 3600, 86400) AND start >= ?)"
            " ORDER BY release, slot, arm"
        )
        with self._connection() as connection:
            rows = connection.execute(query, (json.dumps(wanted.named_sites), since))
            return tuple(Cohort(release, slot, arm, wanted.site) for release, slot, arm in rows)

    def series(self, wanted: CohortFilter, span: Span) -> tuple[Bucket, ...]:
        """What the cohorts did together, bucket by bucket; empty buckets are left out."""
        query = (
            "SELECT start / ?9 * ?9 AS at, sum(requests), sum(errors), sum(fallbacks), sum(late),"
            f" all_times(latency) FROM cohort_window WHERE cohort IN ({_COHORTS}) AND {_TIERS}"
            " AND start >= ?7 AND start < ?8 GROUP BY at ORDER BY at"
        )
        keys = (*_keys(wanted), span.start, span.end, span.bucket)
        with self._connection() as connection:
            return tuple(_bucket(row, span.bucket) for row in connection.execute(query, keys))

    def by_arm(self, wanted: CohortFilter, span: Span) -> Mapping[Part, tuple[Bucket, ...]]:
        """What each release answered in each arm, bucket by bucket; without empty buckets."""
        query = (
            "SELECT release, arm, start / ?9 * ?9 AS at, sum(requests), sum(errors),"
            " sum(fallbacks), sum(late), all_times(latency) FROM cohort JOIN cohort_window"
            f" ON cohort = id WHERE id IN ({_COHORTS}) AND {_TIERS} AND start >= ?7 AND start < ?8"
            " GROUP BY release, arm, at ORDER BY at"
        )
        keys = (*_keys(wanted), span.start, span.end, span.bucket)
        found: dict[Part, list[Bucket]] = {}
        with self._connection() as connection:
            for release, arm, *row in connection.execute(query, keys):
                found.setdefault((release, arm), []).append(_bucket(tuple(row), span.bucket))
        return {part: tuple(buckets) for part, buckets in found.items()}

    def totals(self, span: Span, wanted: CohortFilter = _ANY) -> Bucket:
        """All of the span in one bucket; of the whole fleet unless a filter says less."""
        whole = Span(span.start, span.end, max(1, span.end - span.start))
        return reduce(_both, self.series(wanted, whole), Bucket(span.start, whole.bucket))

    def cohort(self, wanted: CohortFilter, span: Span) -> ModelWindow | None:
        """Everything that the cohorts counted in the span, with inputs and predictions."""
        query = (
            f"SELECT body FROM cohort_window WHERE cohort IN ({_COHORTS}) AND {_TIERS}"
            " AND start >= ?7 AND start < ?8 ORDER BY start"
        )
        with self._connection() as connection:
            rows = connection.execute(query, (*_keys(wanted), span.start, span.end))
            return _together(model for (body,) in rows for model in bodies.read(body).models)

    def device_windows(self, device: DeviceId, span: Span) -> tuple[Window, ...]:
        """The windows of one device, oldest first."""
        found = self._of_device(device, span, decode_windows)
        return tuple(sorted(found, key=lambda window: window.start))

    def _of_device(
        self, device: DeviceId, span: Span, read: Callable[[bytes], Iterable[Window]]
    ) -> Iterator[Window]:
        """The windows of one device, in any order."""
        with self._connection() as connection:
            found = own.device_bodies(connection, device, span)
        for tier, body in found:
            first = span.start // tier * tier
            yield from (w for w in read(body) if first <= w.start // tier * tier < span.end)

    def device_series(
        self, device: DeviceId, span: Span, wanted: CohortFilter = _ANY
    ) -> tuple[Bucket, ...]:
        """What one device did, bucket by bucket; empty buckets are left out."""
        found: dict[int, Bucket] = {}
        for window in self.device_windows(device, span):
            start = window.start // span.bucket * span.bucket
            for model in filter(_chosen(wanted), window.models):
                known = found.get(start, Bucket(start, span.bucket))
                found[start] = _with(known, model)
        return tuple(found[start] for start in sorted(found))

    def device_by_arm(self, device: DeviceId, span: Span) -> Mapping[Part, tuple[Bucket, ...]]:
        """What each release answered in each arm on one device; without empty buckets."""
        found: dict[Part, dict[int, list[ModelWindow]]] = {}
        for window in self._of_device(device, span, decode_answers):
            start = window.start // span.bucket * span.bucket
            for model in window.models:
                if model.arm in ANSWERS:
                    part = found.setdefault((model.release, str(model.arm)), {})
                    part.setdefault(start, []).append(model)
        return {
            part: tuple(_answered(at, span.bucket, by[at]) for at in sorted(by))
            for part, by in found.items()
        }

    def latest(self, devices: Iterable[str] | None = None) -> Mapping[DeviceId, Latest]:
        """The newest window of these devices, or of all, in a few numbers."""
        query = f"SELECT {_LATEST} FROM device_latest"
        names: tuple[str, ...] = ()
        if devices is not None:
            query += " WHERE device IN (SELECT value FROM json_each(?))"
            names = (json.dumps(sorted(devices)),)
        with self._connection() as connection:
            rows = connection.execute(query, names)
            return {DeviceId(row[0]): Latest(DeviceId(row[0]), *row[1:]) for row in rows}

    def inputs(self, device: DeviceId, wanted: CohortFilter, span: Span) -> tuple[InputCounts, ...]:
        """The inputs of a model on one device, beside those of all other devices."""
        own = self.device_model(device, wanted, span)
        everyone = self.cohort(wanted, span)
        if own is None or everyone is None:
            return ()
        return tuple(
            InputCounts(name, bins, _less(everyone.inputs.get(name, Bins()), bins))
            for name, bins in own.inputs.items()
        )

    def device_model(
        self, device: DeviceId, wanted: CohortFilter, span: Span
    ) -> ModelWindow | None:
        """Everything that the models of one device counted in the span."""
        windows = self.device_windows(device, span)
        return _together(filter(_chosen(wanted), (m for w in windows for m in w.models)))

    def refusals(self, since: int) -> tuple[Refusals, ...]:
        """Devices whose telemetry could not be read since then, the latest first."""
        query = "SELECT device, count, reason, at FROM refusal WHERE at >= ? ORDER BY at DESC"
        with self._connection() as connection:
            rows = connection.execute(query, (since,))
            return tuple(Refusals(DeviceId(device), *rest) for device, *rest in rows)

    def losses(self, since: int) -> Mapping[DeviceId, int]:
        """Devices that could not keep windows since then, and how many they ever could not."""
        query = "SELECT device, count FROM loss WHERE at >= ?"
        with self._connection() as connection:
            rows = connection.execute(query, (since,))
            return {DeviceId(device): count for device, count in rows}

    def device_pages(
        self, span: Span, devices: Iterable[str] | None
    ) -> Iterator[Sequence[pages.Kept]]:
        """Stored windows of these devices, or of all, for an export."""
        with self._connection() as connection:
            yield from pages.device_pages(connection, span, devices)

    def cohort_pages(self, span: Span) -> Iterator[Sequence[pages.Kept]]:
        """Stored windows of every cohort, for an export."""
        with self._connection() as connection:
            yield from pages.cohort_pages(connection, span)

    def volume(self) -> Volume:
        """How much is stored."""
        with self._connection() as connection:
            (windows,) = connection.execute(
                "SELECT (SELECT count(*) FROM device_window) + (SELECT count(*) FROM device_block)"
            ).fetchone()
            (cohorts,) = connection.execute("SELECT count(*) FROM cohort").fetchone()
        return Volume(windows, cohorts, self._path.stat().st_size)

    def close(self) -> None:
        """Let the file go."""
        while not self._idle.empty():
            self._idle.get().close()

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = connect(self._path)
        try:
            yield connection
        finally:
            self._idle.put(connection)


def _keys(wanted: CohortFilter) -> tuple[str, ...]:
    arms = [wanted.arm] if wanted.arm else [str(arm) for arm in ANSWERS]
    sites = json.dumps(wanted.named_sites)
    names = (sites, wanted.release, wanted.model, wanted.slot)
    return (*names, json.dumps(arms), json.dumps(TIERS))


def _bucket(row: tuple[Any, ...], seconds: int) -> Bucket:
    start, requests, errors, fallbacks, late, latency = row
    return Bucket(start, seconds, requests, errors, fallbacks, late, decode_histogram(latency))


def _answered(start: int, seconds: int, models: Sequence[ModelWindow]) -> Bucket:
    """What these windows answered together."""
    return Bucket(
        start,
        seconds,
        sum(model.requests for model in models),
        sum(model.failed for model in models),
        sum(model.fallbacks for model in models),
        0,
        all_histograms([model.timings.latency for model in models]),
    )


def _both(first: Bucket, second: Bucket) -> Bucket:
    return Bucket(
        first.start,
        first.seconds,
        first.requests + second.requests,
        first.errors + second.errors,
        first.fallbacks + second.fallbacks,
        first.late + second.late,
        first.latency.merge(second.latency),
    )


def _with(known: Bucket, model: ModelWindow) -> Bucket:
    counts = (model.requests, model.failed, model.fallbacks)
    return _both(known, Bucket(known.start, known.seconds, *counts, 0, model.timings.latency))


def _chosen(wanted: CohortFilter) -> Callable[[ModelWindow], bool]:
    def chosen(model: ModelWindow) -> bool:
        return (
            (model.arm == wanted.arm if wanted.arm else model.arm in ANSWERS)
            and wanted.release in {"", model.release}
            and wanted.model in {"", model.release.partition("@")[0]}
            and wanted.slot in {"", model.slot}
        )

    return chosen


def _together(models: Iterable[ModelWindow]) -> ModelWindow | None:
    found = list(models)
    return merge_all(found) if found else None


def _less(whole: Bins, part: Bins) -> Bins:
    """The bins of all others; never below 0, because a device may say more than arrived."""
    counts = [max(0, count) for count in whole.counts]
    for index, count in enumerate(part.counts[: len(counts)]):
        counts[index] = max(0, counts[index] - count)
    return Bins(
        tuple(counts),
        max(0, whole.missing - part.missing),
        max(0, whole.non_finite - part.non_finite),
    )
