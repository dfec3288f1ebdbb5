"""Reads stored windows page by page, in the order of their keys, for exports."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane_manager.store.telemetry.schema import TIERS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from sealane_manager.store.telemetry.records import Span

PAGE: Final = 500
"""Rows that are read at once: another reader or the writer comes in between."""


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
    """The windows of these devices, or of all, that begin in the span."""
    names = None if devices is None else json.dumps(sorted(devices))
    query = (
        "SELECT start, device, body FROM device_window WHERE tier = ?1 AND start < ?2"
        " AND (start, device) > (?3, ?4)"
        " AND (?5 IS NULL OR device IN (SELECT value FROM json_each(?5)))"
        " ORDER BY start, device LIMIT ?6"
    )
    for tier in TIERS:
        at: tuple[int, str] = (span.start - 1, "\U0010ffff")
        while rows := connection.execute(query, (tier, span.end, *at, names, PAGE)).fetchall():
            yield [Kept(device, "", 0, body) for _, device, body in rows]
            at = rows[-1][:2]


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
