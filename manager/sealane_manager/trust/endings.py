"""Decides what it takes that a family ends, and begins again under the same name. Pure.

A family ends when the targets no longer delegate to it. Its last metadata stays in the snapshot:
devices refuse a snapshot that forgets a file, and a family that begins again goes on counting from
there, so that nothing which it approved before can come back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tuf.api.metadata import Targets

from sealane_manager.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from tuf.api.metadata import Metadata

_NAMED: Final = 5
"""Rollouts that a refusal names; the rest is counted."""


@dataclass(frozen=True, slots=True)
class FamilyUse:
    """What a family is needed for now.

    Attributes:
        devices: how many are assigned a release of it.
        rollouts: ids of its rollouts that have not ended.
    """

    devices: int = 0
    rollouts: tuple[str, ...] = ()


def delegated(targets: Targets) -> Collection[str]:
    """Every family that these targets know."""
    return (targets.delegations.roles if targets.delegations else None) or ()


def ended(before: Targets, after: Targets) -> tuple[str, ...]:
    """The families that are gone."""
    left = set(delegated(after))
    return tuple(family for family in delegated(before) if family not in left)


def standing(role: str, current: Mapping[str, Metadata[Any]]) -> Metadata[Any] | None:
    """The current metadata of a role; None where it has none, and of a family that has ended."""
    if role in current and has_ended(role, current):
        return None
    return current.get(role)


def has_ended(role: str, current: Mapping[str, Metadata[Any]]) -> bool:
    """Whether this is a family that the current targets do not know."""
    targets = current.get(Targets.type)
    return role not in _TOP and targets is not None and role not in delegated(targets.signed)


def revived(targets: Targets, new: Collection[str], current: Mapping[str, Metadata[Any]]) -> str:
    """A family that these targets would bring back with what it said before; empty: none.

    `new`: the roles that get new metadata together with them.
    """
    for family in delegated(targets):
        if family in current and family not in new and has_ended(family, current):
            return family
    return ""


def judge_unused(family: str, use: FamilyUse) -> None:
    """Raise Refused while devices shall serve a family, or a rollout of it goes on."""
    found = []
    if use.devices:
        found.append(f"{use.devices} {_plural('device', use.devices)} shall serve releases of it")
    if use.rollouts:
        rest = len(use.rollouts) - _NAMED
        more = f" and {rest} more" if rest > 0 else ""
        named = ", ".join(use.rollouts[:_NAMED])
        found.append(f"{_plural('rollout', len(use.rollouts))} {named}{more} not ended")
    if found:
        raise Refused(
            f"the family {family} is in use: {'; '.join(found)}",
            hint="roll other releases out and end its rollouts, or say --in-use: what serves goes"
            " on, and nothing of it begins any more",
        )


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"


_TOP: Final = frozenset({"root", Targets.type, "snapshot", "timestamp"})
