"""Decides what a slot does about releases that the manager put into quarantine. Pure.

  in quarantine is                       what follows, one action at a time
  -------------------------------------  ---------------------------------------------------------
  an attempt that nothing serves yet     it ends: quarantined
  the one that is being tried            rolling_back
  the one that was kept                  it ends: quarantined; said first, then acted upon
  the last known good one                the one that was kept before it takes its place; without
                                         one nothing does, as soon as something allowed serves
  what serves                            the last known good one is restored
  the warm previous one                  its worker ends
  all that can serve here                it serves on, and the slot says so; by an order that says
                                         it stops, the slot is emptied, unless it is served by
                                         another one whose own order does not say so

A slot at rest afterwards neither serves anything in quarantine nor could fall back on it, but for
the last line. A version of the agent itself gives its place to the one that was good before, or to
the package's own; where there is neither, what runs is the director's to replace.

An order that is lifted leaves nothing behind: the attempt that it ended is forgotten, and with it
what the manager was told of it. What is wanted then is begun as if it had not been tried.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane.failure import Failure, FailureKind
from sealane.names import AGENT_SLOT

from sealane_agent.layout import ACTIVE, LKG
from sealane_agent.slot.state import DropWorkers, Enter, Restore, SetPointer, State

if TYPE_CHECKING:
    from datetime import datetime

    from sealane.trust.documents import Quarantined

    from sealane_agent.layout import Pointer
    from sealane_agent.slot.state import Action, Attempt, Observed, SlotRecord

_DIRECTOR: Final = "director"
"""Component of the failure of what an order has ended."""

_TRIED: Final = frozenset({State.ACTIVATING, State.PROBATION})
_ENDED: Final = frozenset({State.ROLLED_BACK, State.QUARANTINED})
"""How an attempt ends by an order; in safe mode something else is wrong, too."""

_OVER: Final = frozenset(
    {State.FAILED, State.ROLLING_BACK, State.ROLLED_BACK, State.QUARANTINED, State.SAFE_MODE}
)


@dataclass(frozen=True, slots=True)
class _Slot:
    record: SlotRecord
    seen: Observed
    now: datetime

    def bad(self, pointer: Pointer | None) -> Quarantined | None:
        """The order about what a pointer names."""
        return self.record.ordered.get(pointer.manifest) if pointer else None

    def stopped(self, pointer: Pointer | None) -> bool:
        """Whether an order says that what a pointer names stops, whatever else there is."""
        order = self.bad(pointer)
        return order is not None and order.stops

    @property
    def spare(self) -> Pointer | None:
        """What was kept before, if it is here and may serve."""
        spare, away = self.seen.spare, {**self.record.ordered, **self.record.quarantined}
        if self.record.slot == AGENT_SLOT:
            spare = self.seen.serving.previous if self.seen.serving is not None else None
        return spare if spare is not None and spare.manifest not in away else None

    @property
    def tried(self) -> bool:
        """Whether something is being tried that may still become the good one."""
        attempt = self.record.attempt
        return attempt is not None and attempt.state in _TRIED


def obeyed(record: SlotRecord, seen: Observed, now: datetime) -> Action | None:
    """The next action that an order of quarantine asks for; None when there is none."""
    if not record.ordered:
        return None
    slot = _Slot(record, seen, now)
    ended = _attempt_ended(slot)
    if ended is not None:
        return ended
    return _version(slot) if record.slot == AGENT_SLOT else _pointers(slot) or _workers(slot)


def said(attempt: Attempt, order: Quarantined) -> Failure:
    """Why an attempt ends by an order; the order may be lifted, so it is not for good."""
    return Failure(
        FailureKind.TRANSIENT,
        phase=str(attempt.state),
        component=_DIRECTOR,
        element=str(attempt.release),
        message=f"the manager put it into quarantine: {order.reason}",
    )


def lifted(record: SlotRecord) -> bool:
    """Whether the last attempt has ended by an order alone, and there is no such order any more."""
    attempt = record.attempt
    if attempt is None or attempt.state not in _ENDED or attempt.failure is None:
        return False
    return attempt.failure.component == _DIRECTOR and attempt.manifest not in record.ordered


def _attempt_ended(slot: _Slot) -> Action | None:
    attempt = slot.record.attempt
    order = slot.record.ordered.get(attempt.manifest) if attempt is not None else None
    if attempt is None or order is None or attempt.state in _OVER:
        return None
    after = State.ROLLING_BACK if attempt.state in _TRIED else State.QUARANTINED
    return Enter(replace(attempt, state=after, since=slot.now, failure=said(attempt, order)))


def _version(slot: _Slot) -> Action | None:
    """Of the agent itself: the last known good pointer first, so that no start tries it again."""
    lkg, serving = slot.seen.lkg, slot.seen.serving
    if lkg is None or serving is None or slot.tried:
        return None
    if slot.bad(lkg):
        return SetPointer(LKG, slot.spare) if slot.spare is not None else None
    if not slot.bad(serving.active):
        return None
    return Restore(lkg) if slot.seen.active == lkg else SetPointer(ACTIVE, lkg)


def _pointers(slot: _Slot) -> Action | None:
    lkg, active, serving = slot.seen.lkg, slot.seen.active, slot.seen.serving
    order = slot.bad(lkg) if lkg is not None else slot.bad(active)
    if order is None:
        return None
    if slot.spare is not None:
        return SetPointer(LKG, slot.spare)
    if active is not None and not slot.bad(active):
        # Until it runs, an endpoint that starts anew had better begin with what is known to run.
        runs = serving is not None and serving.active == active
        return SetPointer(LKG, None) if runs else None
    if not order.stops:
        return None
    if active is None or not slot.stopped(active):
        return SetPointer(LKG, None)
    serves = serving.active if serving is not None else None
    return SetPointer(ACTIVE, None if slot.stopped(serves) else serves)


def _workers(slot: _Slot) -> Action | None:
    seen, serving = slot.seen, slot.seen.serving
    if serving is None:
        return None
    if slot.bad(serving.previous) and serving.previous_worker:
        return DropWorkers((serving.previous_worker,))
    home = seen.lkg or seen.active
    if slot.tried or slot.bad(home):
        return None
    if slot.bad(serving.active):
        return Restore(home) if home else _emptied(slot)
    # An endpoint of an earlier version cannot end it alone: what serves takes its place.
    stays = slot.bad(serving.previous) and serving.active == home
    return Restore(home) if stays and home else None


def _emptied(slot: _Slot) -> Action | None:
    serving = slot.seen.serving
    droppable = serving is not None and serving.previous_worker is not None
    return DropWorkers((serving.active_worker,)) if serving and droppable else None
