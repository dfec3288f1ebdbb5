"""Reads stored windows page by page, in the order of their keys, for exports."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.telemetry.codec import decode_apart

from sealane_manager.store.telemetry import own
from sealane_manager.store.telemetry.schema import BLOCKS, TIERS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from sealane_manager.store.telemetry.records import Span

PAGE: Final = 500
"""Rows that are read at once: another reader or the writer comes in between."""

DEVICES_PAGE: Final = 8
"""Devices whose rows of one hour or day are read at once."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored row: of a device, or of a cohort of a site (empty: of the fleet)."""

    device: str
    site: str
    late: int
    body: bytes


def device_pages(
    connection: sqlite3.Connection, span: Span, devices: Iterable[str] | None
) -> Iterator[Sequence[Kept]]:
    """The windows of these devices, or of all, that begin in the span.

    What is packed meanwhile comes once: rows and blocks of a device's hour are read together.
    """
    wanted = None if devices is None else frozenset(devices)
    for tier in TIERS:
        length = BLOCKS.get(tier, tier)
        for start in _places(connection, tier, length, span):
            found = own.devices_at(connection, tier, start, length)
            names = [name for name in found if wanted is None or name in wanted]
            for at in range(0, len(names), DEVICES_PAGE):
                part = names[at : at + DEVICES_PAGE]
                yield list(_kept(connection, (tier, start), part, span))


def _places(connection: sqlite3.Connection, tier: int, length: int, span: Span) -> Sequence[int]:
    """The hours, or days, in which there is anything."""
    query = " UNION ".join(
        f"SELECT DISTINCT start / ?2 * ?2 FROM {table}"
        " WHERE tier = ?1 AND start >= ?3 / ?2 * ?2 AND start < ?4"
        for table in ("device_window", "device_block")
    )
    found = connection.execute(query, (tier, length, span.start, span.end))
    return sorted(start for (start,) in found)


def _kept(
    connection: sqlite3.Connection, place: tuple[int, int], names: Sequence[str], span: Span
) -> Iterator[Kept]:
    """What these devices said there, in the span: one statement, so one view."""
    tier, start = place
    starts = range(start, start + BLOCKS.get(tier, tier), tier)
    query = (
        "SELECT w.device, w.body FROM json_each(?2) AS s CROSS JOIN json_each(?3) AS d"
        " CROSS JOIN device_window AS w"
        " ON w.tier = ?1 AND w.start = s.value AND w.device = d.value"
        " UNION ALL SELECT b.device, b.body FROM json_each(?3) AS d CROSS JOIN device_block AS b"
        " ON b.tier = ?1 AND b.start = ?4 AND b.device = d.value"
    )
    keys = (tier, json.dumps(list(starts)), json.dumps(names), start)
    for device, content in connection.execute(query, keys).fetchall():
        for window, body in decode_apart(content):
            if span.start <= window.start // tier * tier < span.end:
                yield Kept(device, "", 0, body)


def cohort_pages(connection: sqlite3.Connection, span: Span) -> Iterator[Sequence[Kept]]:
    """The windows of every cohort that begin in the span."""
    query = (
        "SELECT w.cohort, w.start, c.site, w.late, w.body FROM cohort_window AS w"
        " JOIN cohort AS c ON c.id = w.cohort WHERE w.tier = ?1 AND w.start >= ?2 AND w.start < ?3"
        " AND (w.cohort, w.start) > (?4, ?5) ORDER BY w.cohort, w.start LIMIT ?6"
    )
    for tier in TIERS:
        at: tuple[int, int] = (-1, 0)
        keys = (tier, span.start, span.end)
        while rows := connection.execute(query, (*keys, *at, PAGE)).fetchall():
            yield [Kept("", site, late, body) for _, _, site, late, body in rows]
            at = rows[-1][:2]
