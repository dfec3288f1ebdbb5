"""Reads stored windows page by page, in the order of their keys, for exports."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.telemetry.codec import decode_apart

from sealane_manager.store.telemetry.schema import BLOCKS, TIERS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from sealane_manager.store.telemetry.records import Span

PAGE: Final = 500
"""Rows that are read at once: another reader or the writer comes in between."""

BLOCKS_PAGE: Final = 2
"""Blocks that are read at once."""


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

    What is packed or rolled up meanwhile is read from where it went, so it may come twice.
    """
    names = None if devices is None else json.dumps(sorted(devices))
    for tier in TIERS:
        wanted = _Wanted("device_window", tier, span.start, span.end, PAGE)
        for rows in _pages(connection, wanted, names):
            yield [Kept(device, "", 0, body) for device, body in rows]
        if tier in BLOCKS:
            first = span.start // BLOCKS[tier] * BLOCKS[tier]
            wanted = _Wanted("device_block", tier, first, span.end, BLOCKS_PAGE)
            for rows in _pages(connection, wanted, names):
                yield list(_within(rows, tier, span))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which rows of which table, and how many at once."""

    table: str
    tier: int
    start: int
    end: int
    page: int


def _pages(
    connection: sqlite3.Connection, wanted: _Wanted, names: str | None
) -> Iterator[list[tuple[str, bytes]]]:
    query = (
        f"SELECT start, device, body FROM {wanted.table} WHERE tier = ?1 AND start < ?2"
        " AND (start, device) > (?3, ?4)"
        " AND (?5 IS NULL OR device IN (SELECT value FROM json_each(?5)))"
        " ORDER BY start, device LIMIT ?6"
    )
    at: tuple[int, str] = (wanted.start - 1, "\U0010ffff")
    keys = (wanted.tier, wanted.end)
    while rows := connection.execute(query, (*keys, *at, names, wanted.page)).fetchall():
        yield [row[1:] for row in rows]
        at = rows[-1][:2]


def _within(rows: Sequence[tuple[str, bytes]], tier: int, span: Span) -> Iterator[Kept]:
    """The windows of blocks that begin in the span, each in bytes of its own."""
    for device, block in rows:
        for window, body in decode_apart(block):
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
