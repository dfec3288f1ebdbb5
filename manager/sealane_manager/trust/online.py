"""Decides the next snapshot and timestamp, and when they are due. Pure.

These two roles are signed by the manager itself. They say which metadata belongs together and that
it is recent; they can approve nothing. Their versions are never below the unix time, so that a
manager that was put back from an old backup is ahead of everything that devices have seen.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tuf.api.metadata import MetaFile, Snapshot, Timestamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

SNAPSHOT_LIFETIME: Final = timedelta(days=30)
TIMESTAMP_LIFETIME: Final = timedelta(days=7)


def next_snapshot(
    last: Snapshot | None, changed: Mapping[str, tuple[int, bytes]], now: datetime
) -> Snapshot:
    """The snapshot after some roles got a new version: role to version and bytes."""
    meta = dict(last.meta) if last else {}
    meta |= {f"{role}.json": meta_file(version, data) for role, (version, data) in changed.items()}
    version = _next_version(last, now)
    return Snapshot(version=version, expires=now + SNAPSHOT_LIFETIME, meta=meta)


def next_timestamp(last: Timestamp | None, snapshot: MetaFile, now: datetime) -> Timestamp:
    """The timestamp that names a snapshot."""
    version = _next_version(last, now)
    return Timestamp(version=version, expires=now + TIMESTAMP_LIFETIME, snapshot_meta=snapshot)


def _next_version(last: Snapshot | Timestamp | None, now: datetime) -> int:
    return max(last.version + 1 if last else 1, int(now.timestamp()))


def meta_file(version: int, content: bytes) -> MetaFile:
    """How a snapshot or a timestamp names a file."""
    digest = hashlib.sha256(content).hexdigest()
    return MetaFile(version, len(content), {"sha256": digest})


def due(metadata: Snapshot | Timestamp, now: datetime) -> bool:
    """Whether half of its life has passed."""
    lifetime = SNAPSHOT_LIFETIME if isinstance(metadata, Snapshot) else TIMESTAMP_LIFETIME
    return metadata.expires - now < lifetime / 2
