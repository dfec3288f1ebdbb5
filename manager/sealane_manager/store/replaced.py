"""What a release replaced where it is assigned: what devices go back to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane.names import ReleaseName
from sqlalchemy import select as core_select
from sqlmodel import select

from sealane_manager.store import rows
from sealane_manager.store.records import ReleaseSource
from sealane_manager.store.tables.base import metadata
from sealane_manager.store.tables.rollouts import QuarantineRow

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sqlalchemy import Row
    from sqlmodel import Session

_MEMBERS = metadata.tables["rollout_device"]
_ROLLOUTS = metadata.tables["rollout"]


def replaced(
    session: Session, manifest: str, device: str = ""
) -> Mapping[tuple[str, str], ReleaseSource]:
    """What served before a release, by device and slot; the latest rollout says it last.

    Of all devices, or of one. Nothing that is in quarantine.
    """
    bad = set(session.exec(select(QuarantineRow.manifest)).all())
    query = (
        core_select(_MEMBERS, _ROLLOUTS.c.slot)
        .join(_ROLLOUTS, _ROLLOUTS.c.id == _MEMBERS.c.rollout)
        .where(_ROLLOUTS.c.manifest == manifest)
        .order_by(_ROLLOUTS.c.created_at)
    )
    if device:
        query = query.where(_MEMBERS.c.device == device)
    found: dict[tuple[str, str], ReleaseSource] = {}
    for row in session.connection().execute(query):
        previous = was(row)
        if previous and previous.manifest not in bad | {manifest}:
            found[row.device, row.slot] = previous
    return found


def was(row: Row[Any]) -> ReleaseSource | None:
    """What a device had before a rollout; None when nothing was assigned."""
    if not (row.previous and row.previous_manifest):
        return None
    manifest = rows.digest(row.previous_manifest)
    return ReleaseSource(ReleaseName.parse(row.previous), manifest, row.previous_length or 0)
