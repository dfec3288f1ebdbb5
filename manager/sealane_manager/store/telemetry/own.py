"""Reads what devices said, be it in rows of windows or in blocks, and which said something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane_manager.store.telemetry.schema import BLOCKS, TIERS

if TYPE_CHECKING:
    import sqlite3

    from sealane.names import DeviceId

    from sealane_manager.store.telemetry.records import Span

_ROWS: Final = (
    "WITH RECURSIVE at (start) AS (SELECT max(?1, (SELECT min(start) FROM device_window"
    " WHERE tier = ?3)) / ?3 * ?3 UNION ALL SELECT start + ?3 FROM at WHERE start + ?3 < ?2)"
    " SELECT w.body FROM at CROSS JOIN device_window AS w"
    " ON w.tier = ?3 AND w.start = at.start AND w.device = ?4"
)
_BLOCKS: Final = (
    "SELECT body FROM device_block WHERE device = ?4 AND tier = ?3 AND start >= ?1 AND start < ?2"
)

Body = tuple[int, bytes]
"""A tier, and windows of it."""


def device_bodies(connection: sqlite3.Connection, device: DeviceId, span: Span) -> list[Body]:
    """Everything that holds windows of the device in the span; of a block, others too.

    Rows are looked up one by one, by keys no older than the oldest row of their tier.
    """
    found: list[Body] = []
    connection.execute("BEGIN")
    try:
        for tier in TIERS:
            rows = connection.execute(_ROWS, (span.start, span.end, tier, device))
            found += [(tier, body) for (body,) in rows]
        for tier, length in BLOCKS.items():
            first = span.start // length * length
            rows = connection.execute(_BLOCKS, (first, span.end, tier, device))
            found += [(tier, body) for (body,) in rows]
    finally:
        connection.execute("COMMIT")
    return found


def devices_at(connection: sqlite3.Connection, tier: int, start: int, seconds: int) -> list[str]:
    """The devices that have rows of a tier in that time, or a block, by name."""
    where = "tier = ?1 AND start >= ?2 AND start < ?3"
    query = (
        f"SELECT device FROM device_window WHERE {where} UNION"
        f" SELECT device FROM device_block WHERE {where} ORDER BY device"
    )
    found = connection.execute(query, (tier, start, start + seconds))
    return [device for (device,) in found]
