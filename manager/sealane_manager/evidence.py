"""Puts together what proves a rollout: proved entries under one checkpoint, and receipts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane.audit.checkpoint import parsed
from sealane.audit.position import Position

if TYPE_CHECKING:
    from sealane_manager.audit import AuditLog
    from sealane_manager.store.records import ReceiptProof
    from sealane_manager.store.store import Store


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the audit log, with the hashes that prove it to be in it."""

    index: int
    content: bytes
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class RolloutEvidence:
    """What proves a rollout.

    Attributes:
        note: the checkpoint of the log, signed by the director.
        judgements: what gates saw, as it was hashed.
    """

    rollout: str
    note: str
    entries: tuple[Entry, ...]
    judgements: tuple[bytes, ...]
    receipts: tuple[ReceiptProof, ...]


@dataclass(frozen=True, slots=True)
class EvidenceDesk:
    """Collects evidence; blocks on the store."""

    store: Store
    log: AuditLog

    def of(self, name: str) -> RolloutEvidence:
        """What proves a rollout; raises NotKnown."""
        rollout = self.store.rollouts.id_of(name)
        receipts = self.store.evidence.receipts(rollout)
        judgements = self.store.judgements.of(rollout)
        leaves = self.store.evidence.leaves(rollout, receipts)
        note = self.log.evidence(Position(0, 0)).note  # after the leaves: it covers them all
        size = parsed(note).position.size
        entries = tuple(
            Entry(leaf.index, leaf.content, self.store.history.inclusion(leaf.index, size))
            for leaf in leaves
        )
        inputs = tuple(each.inputs for each in judgements)
        return RolloutEvidence(rollout, note, entries, inputs, receipts)
