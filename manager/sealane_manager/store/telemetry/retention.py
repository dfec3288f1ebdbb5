"""Moves rows from minutes to hours to days, and forgets what is older than that.

A row is moved: what the larger tier gains, the smaller one loses in the same transaction, so that
every request stays counted once, whenever the manager stops. A move is a few statements over the
rows of one hour or one day, in slices, so that batches wait only a moment.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane_manager.store.telemetry import own
from sealane_manager.store.telemetry.ingest import KEPT_S
from sealane_manager.store.telemetry.schema import DAY, HOUR, MINUTE, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

SLICE: Final = 50
"""Devices whose rows of one hour or day are packed or moved in one transaction."""

_OF_DEVICES: Final = ("device_window", "device_block")

PAGES_GIVEN_BACK: Final = 2000
"""Free pages that go back to the disk after each round."""


@dataclass(frozen=True, slots=True)
class Keeping:
    """How long rows stay in a tier, in seconds; the last tier's are forgotten then."""

    minutes: int = 2 * DAY
    hours: int = 30 * DAY
    days: int = KEPT_S


@dataclass(frozen=True, slots=True)
class Move:
    """The rows and the block of one tier that lie in one bucket of the next."""

    source: int
    target: int
    start: int

    @property
    def starts(self) -> str:
        """The starts of those rows, as JSON."""
        return json.dumps(list(range(self.start, self.start + self.target, self.source)))


def moves(connection: sqlite3.Connection, keeping: Keeping, now: int) -> tuple[Move, ...]:
    """What is due, oldest first."""
    return (
        *_due(connection, MINUTE, HOUR, now - keeping.minutes),
        *_due(connection, HOUR, DAY, now - keeping.hours),
    )


def _due(connection: sqlite3.Connection, source: int, target: int, before: int) -> list[Move]:
    found: set[int] = set()
    for table in ("device_window", "device_block", "cohort_window"):
        oldest = _starts(connection, table, source, before // target * target)
        found.update(start // target * target for start in oldest)
    return [Move(source, target, start) for start in sorted(found)]


def _starts(connection: sqlite3.Connection, table: str, tier: int, before: int) -> list[int]:
    query = f"SELECT DISTINCT start FROM {table} WHERE tier = ? AND start < ?"
    return [start for (start,) in connection.execute(query, (tier, before))]


def slices_at(
    connection: sqlite3.Connection, tier: int, start: int, seconds: int
) -> tuple[tuple[str, ...], ...]:
    """The devices that have rows of a tier in that time, or a block, in slices."""
    found = own.devices_at(connection, tier, start, seconds)
    return tuple(tuple(found[at : at + SLICE]) for at in range(0, len(found), SLICE))


def move_devices(connection: sqlite3.Connection, move: Move, devices: Sequence[str]) -> None:
    """Move the rows of these devices; by keys, because both tables are ordered by time."""
    keys = (move.source, move.starts, json.dumps(devices))
    rows = (
        "json_each(?3) AS d CROSS JOIN json_each(?2) AS s CROSS JOIN {} AS w"
        " ON w.tier = ?1 AND w.start = s.value AND w.device = d.value"
    )
    both = " UNION ALL ".join(
        f"SELECT w.device, w.requests, w.errors, w.body FROM {rows.format(table)}"
        for table in _OF_DEVICES
    )
    with transaction(connection):
        connection.execute(
            "INSERT INTO device_window (tier, start, device, requests, errors, body)"
            " SELECT ?4, ?5, device, sum(requests), sum(errors), all_windows(body)"
            f" FROM ({both}) WHERE true GROUP BY device"
            " ON CONFLICT (tier, start, device) DO UPDATE SET"
            " requests = requests + excluded.requests, errors = errors + excluded.errors,"
            " body = merged_windows(body, excluded.body)",
            (*keys, move.target, move.start),
        )
        for table in _OF_DEVICES:
            connection.execute(
                f"DELETE FROM {table} WHERE (tier, start, device) IN"
                f" (SELECT w.tier, w.start, w.device FROM {rows.format(table)})",
                keys,
            )


def move_cohorts(connection: sqlite3.Connection, move: Move) -> None:
    """Move the rows of every cohort."""
    span = (move.source, move.start, move.start + move.target)
    rows = "cohort IN (SELECT id FROM cohort) AND tier = ?1 AND start >= ?2 AND start < ?3"
    with transaction(connection):
        connection.execute(
            "INSERT INTO cohort_window (tier, cohort, start, requests, errors, fallbacks, late,"
            " latency, body) SELECT ?4, cohort, ?2, sum(requests), sum(errors), sum(fallbacks),"
            f" sum(late), all_times(latency), all_windows(body) FROM cohort_window WHERE {rows}"
            " GROUP BY cohort ON CONFLICT (tier, cohort, start) DO UPDATE SET"
            " requests = requests + excluded.requests, errors = errors + excluded.errors,"
            " fallbacks = fallbacks + excluded.fallbacks, late = late + excluded.late,"
            " latency = merged_times(latency, excluded.latency),"
            " body = merged_windows(body, excluded.body)",
            (*span, move.target),
        )
        connection.execute(f"DELETE FROM cohort_window WHERE {rows}", span)


def forget(connection: sqlite3.Connection, keeping: Keeping, now: int) -> int:
    """Delete what nobody keeps any more; returns how many rows of devices."""
    before = now - keeping.days
    with transaction(connection):
        gone = connection.execute(
            "DELETE FROM device_window WHERE tier = ? AND start < ?", (DAY, before)
        )
        connection.execute(
            "DELETE FROM cohort_window WHERE tier = ? AND start < ?"
            " AND cohort IN (SELECT id FROM cohort)",
            (DAY, before),
        )
        connection.execute(
            "DELETE FROM cohort WHERE NOT EXISTS"
            " (SELECT 1 FROM cohort_window WHERE cohort = cohort.id AND tier IN (60, 3600, 86400))"
        )
        connection.execute("DELETE FROM batch_seen WHERE received < ?", (before,))
        connection.execute("DELETE FROM device_latest WHERE received < ?", (before,))
        connection.execute("DELETE FROM refusal WHERE at < ?", (before,))
        connection.execute("DELETE FROM loss WHERE at < ?", (before,))
    connection.execute(f"PRAGMA incremental_vacuum({PAGES_GIVEN_BACK})")
    return gone.rowcount
