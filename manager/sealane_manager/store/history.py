"""The Merkle tree over the decision log: grown in the transaction of each line, read for proofs.

Complete subtrees never change, so they are only ever added; what they do not cover yet is folded
from the peaks, which the head keeps. One row holds the head: whoever writes it writes alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.audit import merkle
from sealane.audit.entry import Entry, encoded
from sealane.audit.merkle import Node, Span
from sealane.audit.position import Position
from sqlalchemy import and_, insert, or_, select, update
from sqlmodel import col

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.store.tables.decisions import AuditHeadRow, AuditNodeRow, DecisionRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlmodel import Session

    from sealane_manager.store.database import Database
    from sealane_manager.store.records import DecisionRecord

HASH_BYTES: Final = 32
PAGE: Final = 1000
"""Entries in one answer."""


@dataclass(frozen=True, slots=True)
class Head:
    """The log at one moment."""

    position: Position
    root: bytes


class History:
    """Reads the tree; every method blocks on the database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def head(self) -> Head:
        """The whole log now."""
        with self._database.read() as session:
            epoch, size, summits = _head(session)
        return Head(Position(epoch, size), merkle.fold(summits))

    def consistency(self, old: int, size: int) -> tuple[bytes, ...]:
        """Proof that the log of `size` entries continues the one of `old`."""
        return self._hashes(merkle.consistency(old, size))

    def inclusion(self, index: int, size: int) -> tuple[bytes, ...]:
        """Proof that an entry is in the log of `size` entries; raises NotKnown."""
        if not 0 <= index < size <= self.head().position.size:
            raise NotKnown(f"the audit log has no entry {index} among its first {size}")
        return self._hashes(merkle.inclusion(index, size))

    def root_at(self, size: int) -> bytes:
        """The root of the tree when it had so many entries, at most as many as now."""
        return self._hashes((Span(0, size),))[0] if size else merkle.EMPTY

    def entries(self, start: int, end: int) -> tuple[Entry, ...]:
        """Entries from `start` up to, not including, `end`; at most PAGE."""
        query = (
            select(DecisionRow)
            .where(col(DecisionRow.leaf) >= start, col(DecisionRow.leaf) < end)
            .order_by(col(DecisionRow.leaf))
            .limit(PAGE)
        )
        with self._database.read() as session:
            return tuple(_entry(row) for row in session.execute(query).scalars())

    def _hashes(self, spans: Sequence[Span]) -> tuple[bytes, ...]:
        wanted = {node for span in spans for node in merkle.peaks(span)}
        if not wanted:
            return ()
        places = [
            and_(col(AuditNodeRow.level) == node.level, col(AuditNodeRow.position) == node.index)
            for node in wanted
        ]
        query = select(AuditNodeRow).where(or_(*places))
        with self._database.read() as session:
            found = session.execute(query).scalars()
            known = {Node(row.level, row.position): row.hash for row in found}
        if len(known) < len(wanted):
            raise Refused("the audit log's tree is damaged", hint="put back a backup of control.db")
        return tuple(merkle.hashed(span, known) for span in spans)


def append(session: Session, entries: Sequence[Entry]) -> int:
    """Grow the tree; returns the number of the first new leaf."""
    _, size, summits = _head(session, to_write=True)
    leaves = [merkle.leaf_hash(encoded(entry)) for entry in entries]
    gained, now = merkle.grown(size, summits, leaves)
    connection = session.connection()
    connection.execute(
        insert(AuditNodeRow),
        [
            {"level": node.level, "position": node.index, "hash": value}
            for node, value in gained.items()
        ],
    )
    connection.execute(update(AuditHeadRow).values(size=size + len(leaves), peaks=b"".join(now)))
    return size


def next_epoch(session: Session, now: datetime) -> None:
    """The newest entries were lost: whoever has seen them is told so.

    Never below the unix time, so that two losses after one backup are two epochs.
    """
    epoch, _, _ = _head(session, to_write=True)
    begun = max(epoch + 1, int(now.timestamp()))
    session.connection().execute(update(AuditHeadRow).values(epoch=begun))


def _head(session: Session, *, to_write: bool = False) -> tuple[int, int, tuple[bytes, ...]]:
    query = select(AuditHeadRow)
    found = session.execute(query.with_for_update() if to_write else query).scalar_one()
    summits = found.peaks
    cuts: Iterable[int] = range(0, len(summits), HASH_BYTES)
    return found.epoch, found.size, tuple(summits[cut : cut + HASH_BYTES] for cut in cuts)


def entry_of(line: DecisionRecord) -> Entry:
    """A line of the decision log as the tree has it."""
    return Entry(line.at, line.actor, line.action, line.rollout, line.detail, line.evidence)


def _entry(row: DecisionRow) -> Entry:
    return Entry(row.at, row.actor, row.action, row.rollout, row.detail, row.evidence)
