"""Reads what one device said, in one view: rows of windows, and blocks of many."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane_manager.store.telemetry.schema import BLOCKS, TIERS

if TYPE_CHECKING:
    import sqlite3

    from sealane.names import DeviceId

    from sealane_manager.store.telemetry.records import Span

Body = tuple[int, bytes]
"""A tier, and windows of it."""


def device_bodies(connection: sqlite3.Connection, device: DeviceId, span: Span) -> list[Body]:
    """Everything that holds windows of the device in the span; of a block, others too.

    Look-ups by key, one a row and one a block; nothing is asked that is older than all there is.
    """
    places = [("device_window", tier, tier) for tier in TIERS]
    places += [("device_block", tier, length) for tier, length in BLOCKS.items()]
    found: list[Body] = []
    connection.execute("BEGIN")
    try:
        for table, tier, length in places:
            keys = (span.start, span.end, tier, device, length)
            found += [(tier, body) for (body,) in connection.execute(_at(table), keys)]
    finally:
        connection.execute("COMMIT")
    return found


def _at(table: str) -> str:
    return (
        f"WITH RECURSIVE at (start) AS (SELECT max(?1, (SELECT min(start) FROM {table}"
        " WHERE tier = ?3)) / ?5 * ?5 UNION ALL SELECT start + ?5 FROM at WHERE start + ?5 < ?2)"
        f" SELECT w.body FROM at CROSS JOIN {table} AS w"
        " ON w.tier = ?3 AND w.start = at.start AND w.device = ?4"
    )
