"""What proves a rollout: its lines of the audit log, its receipts, and the lines about keys."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from sealane.audit.entry import encoded
from sqlmodel import col, select

from sealane_manager.store import history, rows
from sealane_manager.store.records import Leaf, ReceiptProof
from sealane_manager.store.tables.decisions import DecisionRow
from sealane_manager.store.tables.devices import ReceiptRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlmodel import Session

    from sealane_manager.store.database import Database

_CHUNK: Final = 500


class EvidenceRows:
    """Reads what proves a rollout."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def receipts(self, rollout: str) -> tuple[ReceiptProof, ...]:
        """Every receipt that counts for a rollout, oldest first."""
        query = (
            select(ReceiptRow)
            .where(ReceiptRow.rollout == rollout)
            .order_by(col(ReceiptRow.received_at), ReceiptRow.device, col(ReceiptRow.sequence))
        )
        with self._database.read() as session:
            return tuple(
                ReceiptProof(row.device, row.sequence, row.payload, row.signature, row.public_key)
                for row in session.exec(query)
            )

    def leaves(self, rollout: str, receipts: Iterable[ReceiptProof]) -> tuple[Leaf, ...]:
        """The lines about a rollout, and those by which its receipts' keys became the devices'."""
        named = sorted({_line_of(each) for each in receipts if each.public_key})
        about = select(DecisionRow).where(DecisionRow.rollout == rollout)
        with self._database.read() as session:
            found = [*session.exec(about), *_about_keys(session, named)]
        leaves = {row.leaf: row for row in found}
        return tuple(
            Leaf(index, encoded(history.entry_of(rows.decision(leaves[index]))))
            for index in sorted(leaves)
        )


def _about_keys(session: Session, named: Sequence[str]) -> Iterable[DecisionRow]:
    for start in range(0, len(named), _CHUNK):
        chunk = named[start : start + _CHUNK]
        exact = col(DecisionRow.detail).in_(chunk)
        query = select(DecisionRow).where(
            DecisionRow.rollout == "",
            col(DecisionRow.action).in_(("enrol", "apply", "renew")),
            exact,
        )
        yield from session.exec(query)


def _line_of(each: ReceiptProof) -> str:
    return f"device {each.device}, key {hashlib.sha256(each.public_key).hexdigest()}"
