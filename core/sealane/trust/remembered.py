"""The repository as this device has seen it: steps 1 and 12 of the verifier.

What was seen is kept in marks of our own, so that neither a power cut nor whoever is in between
brings the device back to an older repository.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tuf.api.metadata import Snapshot, Timestamp

from sealane.errors import TrustError
from sealane.trust import anchor, director, held, highwater
from sealane.trust.repository import RepositoryView
from sealane.trust.source import BoundedFetcher
from sealane.trust.steps import Step, refusing

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from tuf.api.metadata import Root

    from sealane.clock import Clock
    from sealane.trust.highwater import Mark
    from sealane.trust.source import MetadataSource


class RememberedRepository:
    """One device's memory of one repository; both steps raise TrustError when they refuse."""

    def __init__(self, folder: Path, source: MetadataSource, clock: Clock) -> None:
        self._folder = folder
        self._marks = folder / anchor.MARKS_FILE
        self._source = source
        self._clock = clock

    def follow_roots(self) -> tuple[RepositoryView, Root]:
        """Step 1: a look at the repository, and its newest root."""
        marks = highwater.load(self._marks)
        fetcher = BoundedFetcher(self._source, self._clock)
        with refusing(Step.ROOT_CHAIN):
            bootstrap = anchor.read_root(self._folder)
            view = RepositoryView(self._folder / held.CACHE, bootstrap, fetcher)
            root = view.follow_roots()
        if root.version < marks.root:
            raise TrustError(
                Step.ROOT_CHAIN,
                f"the repository shows root {root.version}, this device has seen {marks.root}",
                hint="something between the manager and this device hides newer roots",
            )
        return view, root

    def refresh(self, view: RepositoryView, root: Root, trusted_now: datetime) -> None:
        """Step 12."""
        with refusing(Step.REFRESH):
            timestamp, snapshot = view.refresh(trusted_now)
        marks = highwater.load(self._marks)
        seen = replace(
            marks,
            timestamp=_not_rolled_back(marks.timestamp, root, Timestamp.type, timestamp),
            snapshot=_not_rolled_back(marks.snapshot, root, Snapshot.type, snapshot),
        )
        if seen != marks:
            highwater.save(self._marks, seen)


def _not_rolled_back(mark: Mark, root: Root, role: str, version: int) -> Mark:
    """Our own memory of the online roles."""
    keys = director.role_fingerprint(root, role)
    if version < mark.floor(keys):
        message = f"the repository shows {role} {version}, this device has seen {mark.version}"
        raise TrustError(Step.REFRESH, message, hint="somebody serves an old repository")
    return mark.raised(keys, version)
