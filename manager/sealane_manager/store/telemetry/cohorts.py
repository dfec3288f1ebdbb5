"""Adds what a group of batches counted to the rows of its cohorts: of each site, and of the fleet.

Each row that is there already is read once, merged once and written once in a transaction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from sealane.telemetry.codec import decode_histogram, encode_histogram, encode_windows
from sealane.telemetry.decoding import LARGEST_COUNT
from sealane.telemetry.rows import all_rows, model_of
from sealane.telemetry.types import Window

from sealane_manager.store.telemetry import bodies
from sealane_manager.store.telemetry.records import Cohort

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from sealane.telemetry.histogram import Histogram
    from sealane.telemetry.rows import ModelRow
    from sealane.telemetry.types import ModelWindow


class Key(NamedTuple):
    """Which row of which cohort."""

    tier: int
    start: int
    release: str
    slot: str
    arm: str
    site: str

    @property
    def cohort(self) -> Cohort:
        """Whose row it is."""
        return Cohort(self.release, self.slot, self.arm, self.site)


class Counted(NamedTuple):
    """What one device's model counted in one window."""

    start: int
    seconds: int
    row: ModelRow
    late: bool


@dataclass(slots=True)
class _Part:
    """What a group adds to a row: as devices sent it, and what was added up already."""

    counted: list[Counted] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)
    late: int = 0

    def whole(self) -> Window:
        """One window of all; without those whose addition could not be kept."""
        return bodies.together([*self._added_up(), *self.windows])

    def _added_up(self) -> list[Window]:
        if not self.counted:
            return []
        start = min([each.start for each in self.counted])
        end = max([each.start + each.seconds for each in self.counted])
        whole = Window(start, end - start, (all_rows([each.row for each in self.counted]),))
        if len(self.counted) == 1 or bodies.fits(whole):
            return [whole]
        return [Window(each.start, each.seconds, (model_of(each.row),)) for each in self.counted]


@dataclass(frozen=True, slots=True)
class _Sum:
    """What a group adds to a row, in one window of one model."""

    window: Window
    late: int

    @property
    def model(self) -> ModelWindow:
        """All that was counted."""
        return self.window.models[0]


class Cohorts:
    """What one group adds to the rows of cohorts."""

    def __init__(self) -> None:
        self._parts: dict[Key, _Part] = {}
        self._sums: dict[Key, _Sum] = {}

    def add(self, key: Key, counted: Counted) -> None:
        """What a model did on a device, for its cohort."""
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = _Part()
        part.counted.append(counted)
        if counted.late:
            part.late += counted.row.requests

    def combine(self) -> None:
        """Add up each cohort, and those of all sites for the fleet."""
        for key, part in list(self._parts.items()):
            if key.site:
                window = part.whole()
                self._sums[key] = _Sum(window, part.late)
                fleet = self._parts.setdefault(key._replace(site=""), _Part())
                fleet.windows.append(window)
                fleet.late += part.late
        for key, part in self._parts.items():
            if not key.site:
                self._sums[key] = _Sum(part.whole(), part.late)

    def of_fleet(self) -> Iterable[tuple[Cohort, ModelWindow]]:
        """What was counted in the whole fleet, row by row."""
        return [(key.cohort, found.model) for key, found in self._sums.items() if not key.site]

    def write(self, connection: sqlite3.Connection) -> None:
        """Write every row: new, or merged with what is there."""
        numbers = {cohort: _number(connection, cohort) for cohort in {k.cohort for k in self._sums}}
        places = {(key.tier, numbers[key.cohort], key.start): key for key in self._sums}
        known = _known(connection, places)
        connection.executemany(
            "INSERT INTO cohort_window (tier, cohort, start, requests, errors, fallbacks, late,"
            " latency, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (tier, cohort, start) DO UPDATE SET"
            " requests = requests + excluded.requests, errors = errors + excluded.errors,"
            " fallbacks = fallbacks + excluded.fallbacks, late = late + excluded.late,"
            " latency = excluded.latency, body = excluded.body",
            [_row(place, self._sums[places[place]], known.get(place)) for place in sorted(places)],
        )


_Place = tuple[int, int, int]
_Known = tuple[bytes, bytes]
"""The latency and the body of a row that is there."""


def _known(connection: sqlite3.Connection, places: Iterable[_Place]) -> Mapping[_Place, _Known]:
    found = connection.execute(
        "SELECT w.tier, w.cohort, w.start, w.latency, w.body FROM json_each(?) AS p"
        " CROSS JOIN cohort_window AS w ON w.tier = json_extract(p.value, '$[0]')"
        " AND w.cohort = json_extract(p.value, '$[1]') AND w.start = json_extract(p.value, '$[2]')",
        (json.dumps(list(places)),),
    )
    return {(tier, cohort, start): (times, body) for tier, cohort, start, times, body in found}


def _row(place: _Place, more: _Sum, known: _Known | None) -> tuple[int | bytes, ...]:
    model, window, times = more.model, more.window, more.model.timings.latency
    if known:
        times = _times(decode_histogram(known[0]), times)
        window = bodies.together([bodies.read(known[1]), window])
    counts = (model.requests, model.failed, model.fallbacks, more.late)
    return (*place, *counts, encode_histogram(times), encode_windows([window]))


def _times(known: Histogram, more: Histogram) -> Histogram:
    """Both together; the first alone when that would be too many."""
    both = known.merge(more)
    return both if both.count <= LARGEST_COUNT else known


def _number(connection: sqlite3.Connection, cohort: Cohort) -> int:
    key = (cohort.site, cohort.release, cohort.slot, cohort.arm)
    where = "site = ? AND release = ? AND slot = ? AND arm = ?"
    found = connection.execute(f"SELECT id FROM cohort WHERE {where}", key).fetchone()
    if found:
        return int(found[0])
    made = connection.execute(
        "INSERT INTO cohort (site, release, slot, arm) VALUES (?, ?, ?, ?)", key
    )
    return int(made.lastrowid or 0)
