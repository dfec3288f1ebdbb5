"""Decides whether the log that the manager shows now continues the one that was seen before. Pure.

  the manager shows                         what was seen stays     the document
  ----------------------------------------  ----------------------  -------------------
  the first checkpoint of all               this one is seen now    goes on
  the same                                  as it was               goes on
  a longer log, with a proof                this one is seen now    goes on
  a longer log, carried by hand             as it was               goes on
  a longer log without proof, a shorter     as it was               refused: a fork
    one, another of the same size, or none
  a log whose loss was declared             this one is seen now    goes on, and it is told
  a log under new director keys             this one is seen now    goes on

A manager that was put back from a backup has lost its newest entries: to the fleet that is a cut.
Its operator declares the loss, which is an entry of its own, and every device tells it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane.audit.checkpoint import Checkpoint, parsed
from sealane.audit.merkle import continues
from sealane.audit.position import NOWHERE, Position
from sealane.errors import TrustError
from sealane.trust.steps import Step

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Seen:
    """The newest checkpoint that a device took.

    Attributes:
        keys: fingerprint of the director's keys that signed it.
        note: as it was signed, so that it can be shown to anybody; empty before the first.
    """

    keys: str = ""
    note: str = ""

    @property
    def position(self) -> Position:
        """Where the log was, and what was there."""
        if not self.note:
            return NOWHERE
        checkpoint = parsed(self.note)
        return replace(checkpoint.position, root=checkpoint.root)


NOTHING: Final = Seen()


@dataclass(frozen=True, slots=True)
class Shown:
    """What the manager shows; `proof` is that of RFC 6962 from what the device said it had seen."""

    note: str
    checkpoint: Checkpoint
    proof: Sequence[bytes]


def witnessed(seen: Seen, keys: str, shown: Shown | None, *, answered: bool) -> Seen:
    """What is seen after a document; raises TrustError when its log does not continue.

    `answered`: the document answers this device's question, so that a proof can be demanded.
    """
    if not seen.note or seen.keys != keys:
        return Seen(keys, shown.note) if shown else Seen(keys)
    before = parsed(seen.note)
    if shown is None:
        raise _fork("the manager shows no audit log any more")
    if shown.checkpoint.fleet != before.fleet:
        raise _fork(f"the manager shows the audit log of fleet {shown.checkpoint.fleet}")
    epoch, size = shown.checkpoint.position.epoch, shown.checkpoint.position.size
    if epoch > before.position.epoch:
        return Seen(keys, shown.note)
    if epoch < before.position.epoch or size < before.position.size:
        message = f"the audit log has {size} entries, this device has seen {before.position.size}"
        raise _fork(f"{message}: the newest were cut off")
    return _continued(Seen(keys, shown.note), seen, shown, answered=answered)


def declared_loss(before: Seen, after: Seen) -> str:
    """What to tell when a loss of entries was declared; empty when none was."""
    if not before.note or before.keys != after.keys:
        return ""
    if after.position.epoch == before.position.epoch:
        return ""
    size = before.position.size
    return f"the manager declared a part of its audit log lost; {size} entries were seen before"


def _continued(after: Seen, seen: Seen, shown: Shown, *, answered: bool) -> Seen:
    before = parsed(seen.note)
    old, new = (
        (before.position.size, before.root),
        (
            shown.checkpoint.position.size,
            shown.checkpoint.root,
        ),
    )
    if old == new:
        return seen
    if continues(old, new, shown.proof):
        return after
    if not answered and not shown.proof and new[0] > old[0]:
        return seen
    raise _fork(
        f"the audit log of {new[0]} entries does not continue the one of {old[0]} that was seen"
    )


def _fork(message: str) -> TrustError:
    return TrustError(
        Step.HISTORY,
        message,
        hint="history was rewritten, or the manager was put back from a backup: "
        "then declare the loss there with `sealane audit declare-loss`",
    )
