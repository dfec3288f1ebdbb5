"""Builds what takes releases and changes of the trust root, in the manager and beside it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sealane.clock import SystemClock

from sealane_manager.blobs import BlobStore
from sealane_manager.publishing import Publishing
from sealane_manager.repository import Repository
from sealane_manager.store.records import DecisionRecord
from sealane_manager.trust.pending import Pending

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane.clock import Clock

    from sealane_manager.layout import StateFolder
    from sealane_manager.store import Store
    from sealane_manager.trust.changes import Change, Outcome, Wish


def open_publishing(
    state: StateFolder, repository: Repository, store: Store, clock: Clock
) -> Publishing:
    """The repository with its blobs and its pending changes, which writes the decision log."""

    def note(actor: str, action: str, detail: str) -> None:
        store.decisions.note(DecisionRecord(clock.now(), "", actor, action, detail))

    return Publishing(repository, BlobStore(state), Pending(repository, state, note, clock))


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

    def submit(self, wish: Wish) -> Outcome:
        """Propose, or bring signatures; raises Refused."""
        return self._publishing.submit(wish, self._actor)

    def withdraw(self, role: str) -> None:
        """Forget a waiting change; raises NotKnown."""
        self._publishing.withdraw(role, self._actor)


@contextmanager
def local_desk(state: StateFolder, actor: str) -> Iterator[LocalDesk]:
    """Open the desk of a state folder; raises SealaneError when there is no fleet in it."""
    from sealane_manager.store import (  # noqa: PLC0415 - no other command shall wait for it
        open_store,
    )

    clock = SystemClock()
    store = open_store(state.database)
    try:
        repository = Repository(state.tuf, state.keys, clock)
        yield LocalDesk(open_publishing(state, repository, store, clock), actor)
    finally:
        store.close()
