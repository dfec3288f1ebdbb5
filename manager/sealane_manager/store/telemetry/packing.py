"""Makes one row of what a device said in an hour: of its minutes; and of a day: of its hours.

Windows arrive in the order of time, so those of one device lie far apart on the disk: a month of
it would be read from thousands of places. A block holds them one after the other, unmerged, once
its time has ended. What comes later is merged into it in the next round; what does not fit into
one body stays in rows of its own until it is rolled up.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sealane.errors import TelemetryError
from sealane.telemetry.codec import decode_windows, encode_windows, join_windows

from sealane_manager.store.telemetry import bodies
from sealane_manager.store.telemetry.ingest import LATE_S
from sealane_manager.store.telemetry.schema import BLOCKS, DAY, HOUR, MINUTE, transaction

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from sealane.telemetry.types import Window


class _Row(NamedTuple):
    """A row of windows, or a block that is there."""

    start: int
    device: str
    requests: int
    errors: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """An hour whose minutes, or a day whose hours, are packed."""

    tier: int
    start: int

    @property
    def starts(self) -> str:
        """Where its rows may start, as JSON."""
        return json.dumps(list(range(self.start, self.start + BLOCKS[self.tier], self.tier)))


def ended(connection: sqlite3.Connection, minutes_s: int, now: int) -> tuple[Ended, ...]:
    """What is due, oldest first; `minutes_s`: how long minutes stay, after which hours come.

    One look-up an hour or day: in a file from before there were blocks, all rows are due.
    """
    until = {MINUTE: (now - LATE_S) // HOUR * HOUR, HOUR: (now - minutes_s) // DAY * DAY}
    query = (
        "WITH RECURSIVE at (start) AS (SELECT min(start) FROM device_window WHERE tier = ?1"
        " UNION ALL SELECT (SELECT min(start) FROM device_window"
        " WHERE tier = ?1 AND start >= at.start / ?2 * ?2 + ?2) FROM at WHERE at.start < ?3)"
        " SELECT start / ?2 * ?2 FROM at WHERE start < ?3"
    )
    return tuple(
        Ended(tier, start)
        for tier, length in BLOCKS.items()
        for (start,) in connection.execute(query, (tier, length, until[tier]))
    )


def pack(connection: sqlite3.Connection, what: Ended, devices: Sequence[str]) -> None:
    """Move the windows of these devices into their blocks."""
    with transaction(connection):
        rows, blocks = _rows(connection, what, devices), _blocks(connection, what, devices)
        packed: list[_Row] = []
        for device, own in rows.items():
            block = _joined(what, own, blocks.get(device))
            if block is not None:
                blocks[device] = block
                packed += own
        connection.executemany(
            "DELETE FROM device_window WHERE tier = ? AND start = ? AND device = ?",
            [(what.tier, row.start, row.device) for row in packed],
        )
        connection.executemany(
            "INSERT OR REPLACE INTO device_block (tier, start, device, requests, errors, body)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            [(what.tier, *blocks[device]) for device in sorted({row.device for row in packed})],
        )


def _rows(
    connection: sqlite3.Connection, what: Ended, devices: Sequence[str]
) -> dict[str, list[_Row]]:
    found: dict[str, list[_Row]] = {}
    query = (
        "SELECT w.start, w.device, w.requests, w.errors, w.body FROM json_each(?2) AS s"
        " CROSS JOIN json_each(?3) AS d CROSS JOIN device_window AS w"
        " ON w.tier = ?1 AND w.start = s.value AND w.device = d.value"
    )
    for row in connection.execute(query, (what.tier, what.starts, json.dumps(devices))):
        found.setdefault(row[1], []).append(_Row(*row))
    return found


def _blocks(connection: sqlite3.Connection, what: Ended, devices: Sequence[str]) -> dict[str, _Row]:
    query = (
        "SELECT b.start, b.device, b.requests, b.errors, b.body FROM json_each(?3) AS d"
        " CROSS JOIN device_block AS b ON b.tier = ?1 AND b.start = ?2 AND b.device = d.value"
    )
    keys = (what.tier, what.start, json.dumps(devices))
    return {row[1]: _Row(*row) for row in connection.execute(query, keys)}


def _joined(what: Ended, rows: Sequence[_Row], known: _Row | None) -> _Row | None:
    """One block of all; None when they do not fit into one."""
    every = [known, *rows] if known else rows
    found = (row.body for row in every)
    try:
        body = join_windows(_merged(what.tier, found) if known else found)
    except TelemetryError:
        return None
    requests, errors = sum(row.requests for row in every), sum(row.errors for row in every)
    return _Row(what.start, rows[0].device, requests, errors, body)


def _merged(tier: int, found: Iterable[bytes]) -> Iterator[bytes]:
    """The same windows, those of one place of the tier merged into one."""
    places: dict[int, list[Window]] = {}
    for body in found:
        for window in decode_windows(body):
            places.setdefault(window.start // tier, []).append(window)
    for place in sorted(places):
        yield encode_windows([bodies.together(places[place])])
