"""Judges what a holder is asked to sign, on the holder's own machine. Pure.

The manager makes the same judgements, but whoever signs need not believe it: what passes here says
nothing that is not shown in words, and stands under keys that approved what is called current.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuf.api.metadata import Root, Targets

from sealane_manager.errors import Refused
from sealane_manager.trust import submission
from sealane_manager.trust.changes import agreed, fingerprint_of
from sealane_manager.trust.endings import has_ended

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tuf.api.metadata import Metadata

    from sealane_manager.trust.changes import Documents

    Roots = Mapping[int, Metadata[Root]]


def judge_current(current: Documents) -> None:
    """Raise Refused unless everything that is called current is signed as its authority asks."""
    if not current:
        return
    if Root.type not in current or Targets.type not in current:
        raise _doubtful("root and targets are not both there")
    root, targets = current[Root.type].signed, current[Targets.type].signed
    if not agreed(root, Root.type, current[Root.type]):
        raise _doubtful("its root is not signed by enough of its keys")
    if not agreed(root, Targets.type, current[Targets.type]):
        raise _doubtful("its targets are not signed by enough of their keys")
    for family in current.keys() - {Root.type, Targets.type}:
        if not has_ended(family, current) and not agreed(targets, family, current[family]):
            raise _doubtful(f"its releases of {family} are not signed by enough of their keys")


def judge_root(known: Metadata[Root], root: Metadata[Root], between: Roots) -> None:
    """Raise Refused unless a root is the known one, or follows from it.

    `between`: earlier roots by version.
    """
    version = known.signed.version
    if root.signed.version < version:
        raise _doubtful(f"this key has seen root {version} already, here is {root.signed.version}")
    if root.signed.version == version and fingerprint_of(root) != fingerprint_of(known):
        raise _doubtful(f"it is another root {version} than the one that this key has seen")
    for number in range(version + 1, root.signed.version + 1):
        new = root if number == root.signed.version else between.get(number)
        if new is None or new.signed.version != number:
            raise _doubtful(f"root {number}, which comes after the one that was seen, is not there")
        if not all(agreed(each.signed, Root.type, new) for each in (known, new)):
            raise _doubtful(f"root {number} is not signed by enough keys of the one before")
        known = new


def judge_change(role: str, document: Metadata[Any], current: Documents, now: datetime) -> None:
    """Raise Refused when a change says what this version cannot show, or may not be said."""
    version = current[role].signed.version if role in current else 0
    if role == Root.type:
        submission.judge_root_form(version, document.signed, now)
    elif role == Targets.type:
        submission.judge_targets_form(version, document.signed, now)
    else:
        submission.judge_family_form((role, version), document.signed, now)


def _doubtful(why: str) -> Refused:
    return Refused(
        f"what is called current is not: {why}",
        hint="do not sign, and tell the other holders: the manager or the file says what is false",
    )
