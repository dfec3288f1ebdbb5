"""What a device holds of the trust repository, judged again without network or clock.

The metadata is verified from the bootstrap root on, as it was when it came, at the newest time that
the device knows to have passed. Python-tuf works on a copy, so that
nobody who uses the folder is disturbed.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from tuf.api.exceptions import DownloadError, RepositoryError

from sealane.clock import SystemClock
from sealane.errors import InvalidName
from sealane.trust import anchor, held, highwater
from sealane.trust.director import digest_of
from sealane.trust.repository import RepositoryView
from sealane.trust.source import BoundedFetcher, MetadataMissing
from sealane.trust.steps import Step, refusing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sealane.names import Digest, ReleaseName

_VERSIONED: Final = re.compile(r"[0-9]{1,12}\.(?P<role>[A-Za-z0-9_-]+\.json)")


class HeldMetadata:
    """A device's folder as a source of metadata; roles are there in one version each."""

    def __init__(self, folder: Path) -> None:
        self._cache = folder / held.CACHE

    def fetch(self, name: str, limit: int) -> Iterator[bytes]:
        """One file; raises MetadataMissing."""
        path = self._path(name)
        if path is None or not path.is_file():
            raise MetadataMissing(name)
        with path.open("rb") as opened:
            yield opened.read(limit + 1)

    def _path(self, name: str) -> Path | None:
        if name == "timestamp.json":
            return self._cache / name
        found = _VERSIONED.fullmatch(name)
        if found is None:
            return None
        if found["role"] == "root.json":
            return self._cache / held.ROOTS / name
        return self._cache / found["role"]


class Holdings:
    """The repository as this device knows it."""

    def __init__(self, view: RepositoryView) -> None:
        self._view = view

    @classmethod
    def of(cls, folder: Path, scratch: Path) -> Holdings:
        """Verify what lies in a device's trust folder, in an empty folder of its own.

        Raises TrustError when it is not what its keys signed, or nothing was ever accepted.
        """
        marks = highwater.load(folder / anchor.MARKS_FILE)
        fetcher = BoundedFetcher(HeldMetadata(folder), SystemClock())
        with refusing(Step.ROOT_CHAIN):
            view = RepositoryView(scratch, anchor.read_root(folder), fetcher)
            view.follow_roots()
        with refusing(Step.REFRESH):
            view.refresh(datetime.fromtimestamp(marks.time.version, UTC))
        return cls(view)

    def manifest(self, release: ReleaseName) -> Digest | None:
        """The manifest that is listed for a release; None when none is, as far as this is known."""
        try:
            target = self._view.listed(release.target_path)
            return digest_of(target) if target is not None else None
        except (RepositoryError, DownloadError, KeyError, InvalidName):
            return None
