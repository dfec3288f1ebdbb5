"""Builds what takes releases and changes of the trust root, in the manager and beside it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane.clock import SystemClock

from sealane_manager.audit import told
from sealane_manager.blobs import BlobStore
from sealane_manager.intake import Intake
from sealane_manager.publishing import Publishing
from sealane_manager.repository import Repository
from sealane_manager.store.records import DecisionRecord
from sealane_manager.trust.pending import Books, Pending
from sealane_manager.trust.settings import FleetSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane.clock import Clock

    from sealane_manager.layout import StateFolder
    from sealane_manager.store.store import Store
    from sealane_manager.trust.changes import Change, Offer, Outcome


@dataclass(frozen=True, slots=True)
class Premises:
    """Where a manager works, and who must have signed what comes in.

    Attributes:
        producers: folder with their public keys; None: nobody must.
    """

    state: StateFolder
    producers: Path | None = None


def open_publishing(
    premises: Premises, repository: Repository, store: Store, clock: Clock
) -> Publishing:
    """The repository with its blobs and its pending changes, which writes the decision log."""
    state, blobs = premises.state, BlobStore(premises.state)

    def note(actor: str, action: str, detail: str) -> None:
        store.decisions.write(DecisionRecord(clock.now(), "", actor, action, detail))

    pending = Pending(repository, state, Books(note, store.usage.of_family), clock)
    intake = Intake(premises.producers, blobs, store.decisions.write, clock)
    return Publishing(repository, blobs, pending, intake)


class LocalDesk:
    """The desk of a manager's own state folder, whether the manager runs or not."""

    def __init__(self, publishing: Publishing, actor: str) -> None:
        self._publishing, self._actor = publishing, actor

    def get_metadata(self, role: str) -> bytes:
        """The current metadata of a role; raises NotKnown."""
        return self._publishing.current(role)

    def changes(self) -> tuple[Change, ...]:
        """Every change that waits for signatures."""
        return self._publishing.changes()

    def submit(self, offer: Offer) -> Outcome:
        """Propose, or bring signatures; raises Refused."""
        return self._publishing.submit(offer, self._actor)

    def withdraw(self, role: str) -> None:
        """Forget a waiting change; raises NotKnown."""
        self._publishing.withdraw(role, self._actor)


@contextmanager
def local_publishing(premises: Premises) -> Iterator[tuple[Publishing, Repository]]:
    """The publishing of a state folder, whether the manager runs or not, and its repository.

    Raises SealaneError when there is no fleet in it.
    """
    from sealane_manager.store.store import (  # noqa: PLC0415 - no other command shall wait for it
        open_store,
    )

    state = premises.state
    FleetSettings.load(state.settings)
    clock = SystemClock()
    store = open_store(state.database)
    try:
        repository = Repository(state.tuf, state.keys, clock, told(store.decisions, clock))
        yield open_publishing(premises, repository, store, clock), repository
    finally:
        store.close()
