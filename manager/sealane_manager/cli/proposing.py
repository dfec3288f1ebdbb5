"""Proposes a change and tells what came of it: how every command ends that edits the trust root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from sealane.clock import SystemClock

from sealane_manager.cli import changes as words
from sealane_manager.trust.edits import Ground
from sealane_manager.trust.proposals import Proposal, look, propose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tuf.api.metadata import Metadata

    from sealane_manager.cli.desk import Room

    Edit = Callable[[Ground], Mapping[str, Metadata[Any]]]


@dataclass(frozen=True, slots=True)
class Wish:
    """Why a change is proposed, and what it needs beside.

    Attributes:
        begins: the family that it lets begin.
        in_use: it may end a family that is in use.
    """

    reason: str
    begins: str = ""
    in_use: bool = False


def proposed(place: Room, edit: Edit, wish: Wish) -> None:
    """Propose what an edit makes of what is current and proposed; the keys that lie here sign."""
    found = look(place.desk, family=wish.begins)
    documents = edit(Ground(found.base, found.current, SystemClock().now()))
    for role in documents:
        if role in found.pending and found.pending[role].signatures:
            count = len(found.pending[role].signatures)
            typer.echo(f"the waiting change of {role} is changed: its {count} signatures are void")
    proposal = Proposal(documents, wish.reason, place.signers, wish.in_use)
    outcomes = propose(place.desk, found, proposal)
    after = look(place.desk)
    for role in documents:
        if role in after.pending:
            words.tell(after, after.waiting[role])
    words.tell_outcomes(outcomes)
