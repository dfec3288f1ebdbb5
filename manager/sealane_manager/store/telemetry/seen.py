"""Remembers which batches are stored: one query before a group, two statements after it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from sealane_manager.store.telemetry.records import Arrived

BOOTS_KEPT: Final = 32
"""Boots of one device whose batches are remembered."""


@dataclass(slots=True)
class Seen:
    """What is stored of the boots that a group's batches are of."""

    stored: dict[tuple[str, str], int]
    known: frozenset[tuple[str, str]]
    """Boots that were heard before."""
    new: dict[tuple[str, str], int] = field(default_factory=dict)
    """By boot of which something new came: when it did, in seconds since 1970."""

    @classmethod
    def read(cls, connection: sqlite3.Connection, batches: Sequence[Arrived]) -> Seen:
        """What was stored of the batches' boots before."""
        found = connection.execute(
            "SELECT s.device, s.boot, s.sequence FROM json_each(?) AS n CROSS JOIN batch_seen AS s"
            " ON s.device = json_extract(n.value, '$[0]')"
            " AND s.boot = json_extract(n.value, '$[1]')",
            (json.dumps(sorted({(batch.device, batch.boot) for batch in batches})),),
        )
        stored = {(device, boot): sequence for device, boot, sequence in found}
        return cls(stored, frozenset(stored))

    def take(self, batch: Arrived) -> bool:
        """Whether the batch is the next of its boot; then it counts as stored."""
        key = (batch.device, batch.boot)
        before = self.stored.get(key, 0)
        if batch.first:
            before = max(before, batch.sequence - 1)
        if batch.sequence != before + 1:
            return False
        self.stored[key] = batch.sequence
        self.new[key] = batch.received
        return True

    def answer(self, batch: Arrived) -> int:
        """What is stored of the batch's boot now."""
        before = self.stored.get((batch.device, batch.boot), 0)
        return max(before, batch.sequence - 1) if batch.first else before

    def write(self, connection: sqlite3.Connection) -> None:
        """Remember it; of each device the boots that were heard last, those of now above all."""
        connection.executemany(
            "INSERT INTO batch_seen (device, boot, sequence, received) VALUES (?, ?, ?, ?)"
            " ON CONFLICT (device, boot) DO UPDATE SET"
            " sequence = excluded.sequence, received = excluded.received",
            [(*key, self.stored[key], received) for key, received in self.new.items()],
        )
        self._forget_boots(connection)

    def _forget_boots(self, connection: sqlite3.Connection) -> None:
        begun = sorted({device for device, _ in self.new.keys() - self.known})
        crowded = connection.execute(
            "SELECT device FROM batch_seen WHERE device IN (SELECT value FROM json_each(?))"
            " GROUP BY device HAVING count(*) > ?",
            (json.dumps(begun), BOOTS_KEPT),
        )
        for (device,) in crowded.fetchall():
            mine = json.dumps([boot for name, boot in self.new if name == device])
            connection.execute(
                "DELETE FROM batch_seen WHERE device = ?1 AND boot NOT IN (SELECT boot FROM"
                " batch_seen WHERE device = ?1 ORDER BY boot IN (SELECT value FROM json_each(?2))"
                " DESC, received DESC LIMIT ?3)",
                (device, mine, BOOTS_KEPT),
            )
