"""What `sealane trust show` tells: every role, who signs for it, and until when it is valid."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane.trust.director import DIRECTOR, X_DIRECTOR
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from sealane_manager.trust import submission

if TYPE_CHECKING:
    from datetime import datetime

    from tuf.api.metadata import Role

    from sealane_manager.repository import Repository


@dataclass(frozen=True, slots=True)
class RoleView:
    """One role.

    Attributes:
        version, expires: of its current metadata; None for the director, and for a family that
            has none yet.
        threshold: how many of its keys must sign.
        keys: their ids.
        signs: what it is for.
    """

    role: str
    version: int | None
    expires: datetime | None
    threshold: int
    keys: tuple[str, ...]
    signs: str


def roles_of(repository: Repository) -> tuple[RoleView, ...]:
    """Every role of the repository, and the director."""
    root = submission.parse(Root, repository.current(Root.type)).signed
    targets = submission.parse(Targets, repository.current(Targets.type)).signed
    top = (_view(repository, root.roles[name], name, signs) for name, signs in _SIGNS.items())
    delegated = (targets.delegations.roles if targets.delegations else None) or {}
    families = (
        _view(repository, role, name, f"releases {name}/*") for name, role in delegated.items()
    )
    return (*top, _director(root), *families)


def root_fingerprint(repository: Repository) -> str:
    """SHA-256 of the current root.json, as a join token carries it."""
    return hashlib.sha256(repository.current(Root.type)).hexdigest()


def _view(repository: Repository, role: Role, name: str, signs: str) -> RoleView:
    version, expires = None, None
    if name in _SIGNS or name in repository.published_families():
        signed = Metadata.from_bytes(repository.current(name)).signed
        version, expires = signed.version, signed.expires
    return RoleView(name, version, expires, role.threshold, tuple(role.keyids), signs)


def _director(root: Root) -> RoleView:
    fields = root.unrecognized_fields[X_DIRECTOR]
    keys = tuple(fields["keyids"])
    return RoleView(DIRECTOR, None, None, fields["threshold"], keys, "what a device shall run now")


_SIGNS = {
    Root.type: "every role's keys",
    Targets.type: "families and their keys",
    Snapshot.type: "which metadata belongs together",
    Timestamp.type: "which snapshot is current",
}
