"""Decides what a rollout file does: start something, nothing, or take over from what runs. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sealane_manager.errors import NotKnown, Refused
from sealane_manager.rollout.terms import OnConflict
from sealane_manager.rollout_file.writing import differences, written_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane_manager.rollout.types import Rollout, RolloutSpec
    from sealane_manager.rollout_file.writing import Difference

MOST_NAMED: Final = 5
"""Differences that one sentence names."""

_ID: Final = re.compile(r"r-[0-9a-f]{8}")


class Outcome(StrEnum):
    """What applying a file did."""

    STARTED = "started"
    UNCHANGED = "unchanged"
    SUPERSEDED = "superseded"
    """Started, and ended the one of the same name that was not over."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a file asks for, under which name."""

    name: str
    spec: RolloutSpec


def id_of(wish: Wish, attempt: int) -> str:
    """The id of a new rollout: what is planned under it beforehand is what will run.

    `attempt` counts from 0 over the ids that are taken. The order of devices follows from the id,
    and is another one for another release.
    """
    asked = json.dumps([attempt, wish.name, *written_spec(wish.spec)], separators=(",", ":"))
    return f"r-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"


def outcome(wish: Wish, found: Rollout | None) -> Outcome:
    """What follows from a file when the last rollout of its name is `found`.

    Raises Refused when that one is not over and asks for something else, and NotKnown when the
    name is the id of no rollout.
    """
    if not found:
        if _ID.fullmatch(wish.name):
            raise NotKnown(
                f"there is no rollout {wish.name}", hint="give the file a name of its own"
            )
        return Outcome.STARTED
    differing = differences(found.request, wish.spec)
    if not differing:
        return Outcome.UNCHANGED
    if found.ended_at:
        return Outcome.STARTED
    if wish.spec.terms.on_conflict is OnConflict.SUPERSEDE:
        return Outcome.SUPERSEDED
    raise Refused(
        f"{wish.name} is {found.state} as {found.id}, and the file asks for something else:"
        f" {in_words(differing)}",
        hint=f"wait, `sealane rollout abort {found.id}`, or write on_conflict: supersede",
    )


def in_words(differing: Sequence[Difference]) -> str:
    """The differences as one line."""
    named = [
        f"{each.field} {each.before or 'unset'} → {each.after or 'unset'}"
        for each in differing[:MOST_NAMED]
    ]
    more = len(differing) - len(named)
    return "; ".join(named) + (f"; and {more} more" if more else "")
