"""The release authority's TUF repository as a device sees it: python-tuf at a time we trust.

The only file that reaches behind python-tuf's public face, in two places: the root chain must be
known before the time is, and metadata is judged at the trusted time instead of the wall clock.
The attack tests hold both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuf.api.exceptions import DownloadError, RepositoryError
from tuf.ngclient import Updater, UpdaterConfig

from sealane import fileio, limits
from sealane.errors import TrustError
from sealane.trust import authorities
from sealane.trust.source import BASE_URL

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from tuf.api.metadata import Root, TargetFile

    from sealane.trust.source import BoundedFetcher

_CONFIG = UpdaterConfig(
    max_root_rotations=limits.ROOT_ROTATIONS,
    root_max_length=limits.ROOT_BYTES,
    timestamp_max_length=limits.TIMESTAMP_BYTES,
    snapshot_max_length=limits.SNAPSHOT_BYTES,
    targets_max_length=limits.TARGETS_BYTES,
    app_user_agent="sealane",
)


class RepositoryView:
    """One look at the repository; a new one for every verification.

    Every method raises tuf's RepositoryError or DownloadError when it refuses, and lets the
    source's own exceptions through.
    """

    def __init__(self, cache: Path, bootstrap: bytes, fetcher: BoundedFetcher) -> None:
        fileio.make_folder(cache)
        self._fetcher = fetcher
        self._updater = Updater(
            str(cache), BASE_URL, fetcher=fetcher, config=_CONFIG, bootstrap=bootstrap
        )

    def follow_roots(self) -> Root:
        """The newest root that the bootstrap root's chain reaches, expired or not."""
        trusted = self._updater._trusted_set  # noqa: SLF001 - no public way to ask for the root
        version = 0
        while trusted.root.version > version:  # python-tuf follows ROOT_ROTATIONS at a time
            version = trusted.root.version
            self._updater._load_root()  # noqa: SLF001 - no public way to stop before the rest
        return trusted.root

    def refresh(self, trusted_now: datetime) -> tuple[int, int]:
        """Follow timestamp, snapshot and targets, and judge every expiry at that time.

        Returns the versions of timestamp and snapshot.
        """
        trusted = self._updater._trusted_set  # noqa: SLF001 - python-tuf has no hook for the time
        trusted.reference_time = trusted_now
        self._updater.refresh()
        return trusted.timestamp.version, trusted.snapshot.version

    def versions(self) -> tuple[int, int]:
        """Versions of the root and the snapshot, after a refresh."""
        trusted = self._updater._trusted_set  # noqa: SLF001 - no public way to ask for versions
        return trusted.root.version, trusted.snapshot.version

    def listed(self, path: str) -> TargetFile | None:
        """What the release authority lists under a target path now; None when it does not."""
        return self._updater.get_targetinfo(path)

    def authorities(self, known: bytes) -> bytes:
        """The listed authorities, PEM, or what was known when none are, or they cannot be had.

        Nothing that serves or is installed depends on them, so trouble refuses no document.
        """
        try:
            target = self.listed(authorities.PATH)
            if target is None or target.length > authorities.BYTES or _is(target, known):
                return known
            content = self.fetch(target)
            authorities.parse_authorities(content)
        except (RepositoryError, DownloadError, TrustError):
            return known
        return content

    def fetch(self, target: TargetFile) -> bytes:
        """A target's bytes, of the length and hash that are listed."""
        digest = target.hashes.get("sha256")
        if digest is None:
            raise RepositoryError(f"{target.path} is listed without a SHA-256")
        folder, slash, name = target.path.rpartition("/")
        path = f"targets/{folder}{slash}{digest}.{name}"
        content = self._fetcher.download_bytes(f"{BASE_URL}{path}", target.length)
        target.verify_length_and_hashes(content)
        return content


def _is(target: TargetFile, content: bytes) -> bool:
    try:
        target.verify_length_and_hashes(content)
    except RepositoryError:
        return False
    return True
