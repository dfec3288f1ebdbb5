"""Decides the next metadata of roles when keys come and go. Pure.

Each edit takes the documents as they are, proposals included, and returns the ones that must
change: metadata whose keys were replaced is signed anew by the new ones, with nothing else changed.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sealane.trust.director import DIRECTOR, X_DIRECTOR
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Root,
    Targets,
)

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.trust.changes import agreed
from sealane_manager.trust.endings import delegated
from sealane_manager.trust.keys import ONLINE
from sealane_manager.trust.public_keys import holder_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from tuf.api.metadata import Key, TargetFile

    from sealane_manager.trust.changes import Documents

LIFETIME: Final = timedelta(days=365)
"""How long metadata that people sign stays valid."""

IN_ROOT: Final = (Root.type, Targets.type, *ONLINE)
"""Roles whose keys the root lists; those of families stand in the targets."""


@dataclass(frozen=True, slots=True)
class KeyEdit:
    """What happens to the keys of one role.

    Attributes:
        lost: ids, beginnings of ids (at least 8 digits) or holders of the keys that it loses.
        threshold: how many must sign afterwards; None leaves it.
    """

    role: str
    gained: tuple[Key, ...] = ()
    lost: tuple[str, ...] = ()
    threshold: int | None = None


@dataclass(frozen=True, slots=True)
class Ground:
    """What an edit starts from: the documents now, proposals among them, and the time."""

    base: Documents
    current: Documents
    now: datetime


def edited(ground: Ground, edits: Sequence[KeyEdit]) -> dict[str, Metadata[Any]]:
    """The documents that must change, without signatures; raises NotKnown and Refused."""
    after = dict(ground.base)
    for edit in edits:
        document = Root.type if edit.role in IN_ROOT else Targets.type
        after[document] = _next(document, after[document], ground)
        _apply(after[document].signed, edit)
    _sign_again(after, ground)
    return {role: new for role, new in after.items() if new is not ground.base.get(role)}


def renewed(ground: Ground, role: str) -> dict[str, Metadata[Any]]:
    """The role's metadata with nothing changed but its age; raises NotKnown."""
    if role not in ground.base:
        raise NotKnown(f"{role} has no metadata that could be renewed")
    return {role: _next(role, ground.base[role], ground)}


def with_target(ground: Ground, target: TargetFile) -> dict[str, Metadata[Any]]:
    """Targets that list a file themselves: the fleet's authorities."""
    targets = _next(Targets.type, ground.base[Targets.type], ground)
    targets.signed.targets[target.path] = target
    return {Targets.type: targets}


def with_family(ground: Ground, edit: KeyEdit) -> dict[str, Metadata[Any]]:
    """Targets that delegate to a new family, and metadata of its own that approves nothing.

    A family of that name that has ended goes on counting its versions: the ground must know it.
    """
    targets = _next(Targets.type, ground.base[Targets.type], ground)
    documents = {Targets.type: targets}
    apply_first(documents, edit, ground.now)
    documents[edit.role].signed.version = _following(edit.role, ground)
    return documents


def without_family(ground: Ground, family: str) -> dict[str, Metadata[Any]]:
    """Targets that no longer delegate to a family; raises NotKnown.

    Nothing has to be signed by the family's own keys: they may be what is lost.
    """
    targets = _next(Targets.type, ground.base[Targets.type], ground)
    if family not in delegated(targets.signed):
        raise NotKnown(f"there is no family {family!r}", hint="`sealane trust show` lists them")
    del targets.signed.delegations.roles[family]
    _forget_unused(targets.signed)
    return {Targets.type: targets}


def apply_first(documents: dict[str, Metadata[Any]], edit: KeyEdit, now: datetime) -> None:
    """Give a role of these documents its first keys; a family begins with metadata of its own."""
    if edit.role in IN_ROOT:
        root = documents[Root.type].signed
        _apply(root, edit)
        return
    targets = documents[Targets.type].signed
    held = targets.delegations or Delegations({}, {})
    if edit.role in (held.roles or {}):
        raise Refused(f"the family {edit.role} exists already")
    role = DelegatedRole(edit.role, [], 1, terminating=True, paths=[f"{edit.role}/*"])
    targets.delegations = Delegations(held.keys, (held.roles or {}) | {edit.role: role})
    _apply(targets, edit)
    documents[edit.role] = Metadata(Targets(version=1, expires=now + LIFETIME))


def all_keys(base: Documents, role: str) -> tuple[str, ...]:
    """Ids of every key that a role has."""
    document = Root.type if role in IN_ROOT else Targets.type
    return tuple(_role(base[document].signed, role)[0])


def keys_in(root: Root, role: str) -> tuple[str, ...]:
    """Ids of the keys that a root gives to a role of its own."""
    return tuple(_role(root, role)[0])


def _next(role: str, document: Metadata[Any], ground: Ground) -> Metadata[Any]:
    """A copy to change: the version after the current one, a new life, no signatures."""
    following = deepcopy(document)
    following.signatures.clear()
    following.signed.version = _following(role, ground)
    following.signed.expires = ground.now + LIFETIME
    return following


def _following(role: str, ground: Ground) -> int:
    """The version after the current one."""
    return ground.current[role].signed.version + 1 if role in ground.current else 1


def _sign_again(after: dict[str, Metadata[Any]], ground: Ground) -> None:
    """Add what the new keys of a role must sign, although nothing in it changes.

    What is proposed already is left alone: the new keys sign that.
    """
    root, targets = after[Root.type], after[Targets.type]
    if _orphaned(root.signed, Targets.type, targets, ground):
        targets = after[Targets.type] = _next(Targets.type, targets, ground)
    for family in delegated(targets.signed):
        if family in after and _orphaned(targets.signed, family, after[family], ground):
            after[family] = _next(family, after[family], ground)


def _orphaned(
    authority: Root | Targets, role: str, document: Metadata[Any], ground: Ground
) -> bool:
    return document is ground.current.get(role) and not agreed(authority, role, document)


def _apply(signed: Root | Targets, edit: KeyEdit) -> None:
    keyids, threshold = _role(signed, edit.role)
    lost = {_find(signed, keyids, word, edit.role) for word in edit.lost}
    kept = [keyid for keyid in keyids if keyid not in lost]
    for key in edit.gained:
        if key.keyid in kept:
            raise Refused(f"{edit.role} has the key {key.keyid[:12]} already")
        kept.append(key.keyid)
    wanted = threshold if edit.threshold is None else edit.threshold
    _sensible(edit.role, kept, wanted)
    _keys(signed).update({key.keyid: key for key in edit.gained})
    _write(signed, edit.role, kept, wanted)
    _forget_unused(signed)


def _sensible(role: str, keyids: Sequence[str], threshold: int) -> None:
    if not 1 <= threshold <= len(keyids):
        raise Refused(
            f"{role} would have {len(keyids)} keys, of which {threshold} must sign",
            hint="give it more keys, or say with --threshold how many must sign",
        )
    if len(set(keyids)) != len(keyids):
        raise Refused(f"{role} would have the same key twice")


def _find(signed: Root | Targets, keyids: Sequence[str], word: str, role: str) -> str:
    keys = _keys(signed)
    found = [
        keyid
        for keyid in keyids
        if keyid in keys and (holder_of(keys[keyid]) == word or _abbreviates(word, keyid))
    ]
    if len(found) != 1:
        many = f"{len(found)} keys" if found else "no key"
        message = f"{word[:80]!r} means {many} of {role}"
        raise NotKnown(message, hint="`sealane trust show` lists them")
    return found[0]


def _abbreviates(word: str, keyid: str) -> bool:
    return len(word) >= _ABBREVIATION and keyid.startswith(word)


def _role(signed: Root | Targets, name: str) -> tuple[list[str], int]:
    if isinstance(signed, Root):
        if name == DIRECTOR:
            fields = signed.unrecognized_fields[X_DIRECTOR]
            return list(fields["keyids"]), fields["threshold"]
        return list(signed.roles[name].keyids), signed.roles[name].threshold
    roles = (signed.delegations.roles if signed.delegations else None) or {}
    if name not in roles:
        raise NotKnown(f"there is no role {name!r}", hint="`sealane trust show` lists them")
    return list(roles[name].keyids), roles[name].threshold


def _write(signed: Root | Targets, name: str, keyids: list[str], threshold: int) -> None:
    if isinstance(signed, Root) and name == DIRECTOR:
        signed.unrecognized_fields[X_DIRECTOR] = {"keyids": keyids, "threshold": threshold}
        return
    role = signed.get_delegated_role(name)
    role.keyids, role.threshold = keyids, threshold


def _keys(signed: Root | Targets) -> dict[str, Key]:
    if isinstance(signed, Root):
        return signed.keys
    return signed.delegations.keys if signed.delegations else {}


def _forget_unused(signed: Root | Targets) -> None:
    """Drop keys that no role lists any more."""
    used = {keyid for name in _roles(signed) for keyid in _role(signed, name)[0]}
    keys = _keys(signed)
    for keyid in keys.keys() - used:
        del keys[keyid]


def _roles(signed: Root | Targets) -> Mapping[str, Any] | tuple[str, ...]:
    if isinstance(signed, Root):
        return IN_ROOT
    return (signed.delegations.roles if signed.delegations else None) or {}


_ABBREVIATION: Final = 8
