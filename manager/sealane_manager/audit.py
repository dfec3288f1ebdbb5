"""The audit log as the manager shows it: its signed checkpoint, proofs, entries.

Every method blocks on the store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane.audit.checkpoint import Checkpoint

if TYPE_CHECKING:
    from sealane.audit.position import Position

    from sealane_manager.director import Director
    from sealane_manager.store import Store
    from sealane_manager.store.history import Head


@dataclass(frozen=True, slots=True)
class Evidence:
    """A checkpoint, and that it continues what somebody has seen; empty where nothing can."""

    note: str
    proof: tuple[bytes, ...]


class AuditLog:
    """Shows one fleet's log; any number of threads may ask."""

    def __init__(self, fleet: str, store: Store, director: Director) -> None:
        self._fleet, self._store, self._director = fleet, store, director
        self._signed: tuple[Head | None, str] = _NOTHING

    def evidence(self, seen: Position) -> Evidence:
        """The newest checkpoint for somebody who has seen the log up to a position."""
        head = self._store.history.head()
        epoch, size = head.position.epoch, head.position.size
        continued = seen.epoch == epoch and 0 < seen.size < size
        proof = self._store.history.consistency(seen.size, size) if continued else ()
        return Evidence(self._note(head), proof)

    def _note(self, head: Head) -> str:
        known, note = self._signed
        if known != head:
            note = self._director.note(Checkpoint(self._fleet, head.position, head.root))
            self._signed = head, note
        return note


_NOTHING: Final = (None, "")
