"""The audit log as the manager shows it: its signed checkpoint, proofs, entries.

Every method blocks on the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.audit.checkpoint import Checkpoint
from sealane.audit.entry import encoded

from sealane_manager.errors import Refused
from sealane_manager.store.records import By, DecisionRecord

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane.audit.position import Position
    from sealane.clock import Clock

    from sealane_manager.director import Director
    from sealane_manager.store.decisions import Decisions
    from sealane_manager.store.history import Head
    from sealane_manager.store.store import Store
    from sealane_manager.store.summaries import AuditFilter, AuditLine
    from sealane_manager.trust.publication import Publication


ROOTS_KEPT: Final = 1000
"""Earlier roots in memory: most devices ask about the same few."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """A checkpoint, and that it continues what somebody has seen; empty where nothing can."""

    note: str
    proof: tuple[bytes, ...]


class AuditLog:
    """Shows one fleet's log; any number of threads may ask."""

    def __init__(self, fleet: str, store: Store, director: Director, clock: Clock) -> None:
        self._fleet, self._store, self._director = fleet, store, director
        self._clock = clock
        self._roots: dict[int, bytes] = {}
        self._signed: tuple[tuple[Head, str] | None, str] = _NOTHING
        self._proofs: tuple[Head | None, dict[int, tuple[bytes, ...]]] = None, {}

    def evidence(self, seen: Position) -> Evidence:
        """The newest checkpoint for somebody who has seen the log up to a position."""
        head = self._store.history.head()
        epoch, size = head.position.epoch, head.position.size
        continued = seen.epoch == epoch and 0 < seen.size < size
        proof = self._proof(seen.size, head) if continued else ()
        return Evidence(self._note(head), proof)

    def contradiction(self, seen: Position) -> str:
        """Why a device that has seen this refuses this log, or empty."""
        head = self._store.history.head()
        epoch, size = head.position.epoch, head.position.size
        if not seen.size or seen.epoch < epoch:
            return ""
        if seen.epoch > epoch or seen.size > size:
            return f"it has seen {seen.size} entries of the audit log, here are {size}"
        if seen.root and seen.root != self._root(seen.size, head):
            return f"it has seen another audit log of {seen.size} entries than the one here"
        return ""

    def _proof(self, old: int, head: Head) -> tuple[bytes, ...]:
        """Most devices have seen the same: what they need is kept while the log stays as it is."""
        known, proofs = self._proofs
        if known != head:
            proofs = {}
            self._proofs = head, proofs
        if old not in proofs:
            proofs[old] = self._store.history.consistency(old, head.position.size)
        return proofs[old]

    def _root(self, old: int, head: Head) -> bytes:
        """What the log was at a size that it has passed never changes."""
        if old == head.position.size:
            return head.root
        if old not in self._roots:
            if len(self._roots) > ROOTS_KEPT:
                self._roots = {}
            self._roots[old] = self._store.history.root_at(old)
        return self._roots[old]

    def lines(self, wanted: AuditFilter) -> tuple[AuditLine, ...]:
        """Entries that a filter picks, the newest first."""
        return self._store.audit.lines(wanted)

    def leaves(self, start: int, end: int) -> tuple[bytes, ...]:
        """Some entries from `start` on, before `end`, as they were hashed."""
        return tuple(encoded(entry) for entry in self._store.history.entries(start, end))

    def declare_loss(self, actor: str, reason: str) -> None:
        """Begin another epoch; raises Refused without a reason."""
        if not reason.strip():
            raise Refused("a loss needs a reason", hint="say what was lost, and why")
        self._store.decisions.declare_loss(By(actor, reason, self._clock.now()))

    def _note(self, head: Head) -> str:
        known, note = self._signed
        now = head, self._director.key  # another key may have become the director's
        if known != now:
            note = self._director.note(Checkpoint(self._fleet, head.position, head.root))
            self._signed = now, note
        return note


def told(decisions: Decisions, clock: Clock) -> Callable[[Publication], None]:
    """Writes what is published into the log."""

    def tell(each: Publication) -> None:
        decisions.write(
            DecisionRecord(clock.now(), "", each.signers, each.action, each.detail, each.evidence)
        )

    return tell


_NOTHING: Final = (None, "")
