"""Decides what an operator's "go back" does in a slot, at the device itself. Pure.

  the slot                      goes back to
  ----------------------------  --------------------------------------------------------------
  has not activated its attempt what serves goes on; the attempt ends
  activates, or is on probation its last known good release, at once
  has kept its release          the release before, as long as this device still has it

It ends the assignment on this device: the same release in the same rollout is not tried again here,
whatever the manager repeats. Another release, or another rollout, is another assignment.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealane.failure import Failure, FailureKind

from sealane_agent.slot.state import ENDED, Enter, State

if TYPE_CHECKING:
    from datetime import datetime

    from sealane_agent.layout import Pointer
    from sealane_agent.slot.state import Attempt, Observed, RollBack, SlotRecord, Wanted

OPERATOR: Final = "operator"
"""Component of the failure of what an operator has ended."""

_TRIED: Final = frozenset({State.ACTIVATING, State.PROBATION})


def obstacle(record: SlotRecord, seen: Observed) -> str:
    """Why the slot cannot go back; empty when it can."""
    attempt = record.attempt
    if attempt is None:
        return "nothing was ever tried in it"
    if attempt.state is State.ROLLING_BACK:
        return "it is rolling back already"
    if attempt.state in _TRIED:
        return "" if seen.lkg is not None else "it has no last known good release yet"
    if attempt.state not in ENDED:
        return ""
    if attempt.state is not State.COMMITTED:
        return (
            f"{attempt.release} is {attempt.state} already: the manager alone can go further back"
        )
    return _no_way_back(record)


def _no_way_back(record: SlotRecord) -> str:
    before = record.before
    if before is None:
        return "it had no release before this one"
    order = record.ordered.get(before.manifest)
    reason = order.reason if order else record.quarantined.get(before.manifest)
    if reason is not None:
        return f"{before.release}, the release before, is in quarantine: {reason}"
    return ""


def leads_to(record: SlotRecord, seen: Observed) -> Pointer | None:
    """What serves afterwards, where the slot can go back."""
    attempt = record.attempt
    kept = attempt is not None and attempt.state is State.COMMITTED
    if kept and record.before is not None:
        return record.before.pointer
    return seen.lkg


def gone_back(record: SlotRecord, seen: Observed, now: datetime) -> Enter | None:
    """What the order does now; None when there is none, or none that can be carried out."""
    attempt, order = record.attempt, seen.go_back
    if order is None or attempt is None or obstacle(record, seen):
        return None
    kept = attempt.state is State.COMMITTED
    back = kept or attempt.state in _TRIED
    ended = replace(
        attempt,
        state=State.ROLLING_BACK if back else State.FAILED,
        since=now,
        failure=_said(attempt, order),
        traffic=seen.serving.traffic if seen.serving else attempt.traffic,
    )
    return Enter(ended, to_before=kept)


def by_operator(attempt: Attempt) -> bool:
    """Whether an operator has ended it."""
    return attempt.failure is not None and attempt.failure.component == OPERATOR


def is_of(wanted: Wanted, last: Attempt) -> bool:
    """Whether it is the attempt that is wanted; what an operator has ended, whatever its number."""
    return last.key == wanted.key or (by_operator(last) and last.key[:-1] == wanted.key[:-1])


def _said(attempt: Attempt, order: RollBack) -> Failure:
    return Failure(
        FailureKind.ENVIRONMENTAL,
        phase=attempt.state,
        component=OPERATOR,
        element=str(attempt.release),
        message=f"{order.owner} rolled it back at the device: {order.reason}",
        hint="start another rollout when the device may try again",
    )
