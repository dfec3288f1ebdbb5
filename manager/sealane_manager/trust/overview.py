"""What `sealane trust show` tells: every role, who signs for it, and until when it is valid."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sealane.trust.director import DIRECTOR, X_DIRECTOR
from tuf.api.metadata import Delegations, Metadata, Root, Snapshot, Targets, Timestamp

from sealane_manager.errors import NotKnown
from sealane_manager.trust import submission
from sealane_manager.trust.describe import NEW_KEY_CHARS, key_name
from sealane_manager.trust.public_keys import holder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from tuf.api.metadata import Key, Role

    Current = Callable[[str], bytes]
    """The current metadata of a role; raises NotKnown."""


@dataclass(frozen=True, slots=True)
class RoleView:
    """One role.

    Attributes:
        version, expires: of its current metadata; None for the director, and for a family that
            has none yet.
        threshold: how many of its keys must sign.
        keys: their ids.
        holders: who holds each; empty where the key does not say.
        signs: what it is for.
    """

    role: str
    version: int | None
    expires: datetime | None
    threshold: int
    keys: tuple[str, ...]
    holders: tuple[str, ...]
    signs: str


def roles_of(current: Current) -> tuple[RoleView, ...]:
    """Every role of the trust root, and the director."""
    root = submission.parse(Root, current(Root.type)).signed
    targets = submission.parse(Targets, current(Targets.type)).signed
    top = (
        _view(current, (root.roles[name], root.keys), name, signs) for name, signs in _SIGNS.items()
    )
    delegations = targets.delegations or Delegations({}, {})
    families = (
        _view(current, (role, delegations.keys), name, f"releases {name}/*")
        for name, role in (delegations.roles or {}).items()
    )
    return (*top, _director(root), *families)


def soon_over(views: Sequence[RoleView], now: datetime) -> Iterator[str]:
    """What people must sign again before long, in sentences."""
    for view in views:
        if view.expires is None or view.role in _BY_ITSELF or view.expires - now > SOON:
            continue
        yield (
            f"{view.role} is valid until {view.expires:%Y-%m-%d} only: "
            f"propose another year with `sealane trust renew {view.role}`"
        )


def root_fingerprint(current: Current) -> str:
    """SHA-256 of the current root.json, as a join token carries it."""
    return hashlib.sha256(current(Root.type)).hexdigest()


def roots_keys(root: Root) -> tuple[str, ...]:
    """Who signs for each role of a root, and how many must, in sentences."""
    return tuple(
        f"{name}: {role.threshold} of "
        + ", ".join(_name(root.keys.get(keyid), keyid) for keyid in role.keyids)
        for name, role in root.roles.items()
    )


def _name(key: Key | None, keyid: str) -> str:
    return key_name(keyid, holder_of(key) if key else "", NEW_KEY_CHARS)


def _view(
    current: Current, held: tuple[Role, Mapping[str, Key]], name: str, signs: str
) -> RoleView:
    role, keys = held
    version, expires = None, None
    try:
        signed = Metadata.from_bytes(current(name)).signed
        version, expires = signed.version, signed.expires
    except NotKnown:
        pass
    holders = tuple(holder_of(keys[keyid]) if keyid in keys else "" for keyid in role.keyids)
    return RoleView(name, version, expires, role.threshold, tuple(role.keyids), holders, signs)


def _director(root: Root) -> RoleView:
    fields = root.unrecognized_fields[X_DIRECTOR]
    keys = tuple(fields["keyids"])
    holders = ("",) * len(keys)
    signs = "what a device shall run now"
    return RoleView(DIRECTOR, None, None, fields["threshold"], keys, holders, signs)


SOON = timedelta(days=60)
"""Time enough to bring several holders together."""

_BY_ITSELF = frozenset({Snapshot.type, Timestamp.type})
_SIGNS = {
    Root.type: "every role's keys",
    Targets.type: "families and their keys",
    Snapshot.type: "which metadata belongs together",
    Timestamp.type: "which snapshot is current",
}
