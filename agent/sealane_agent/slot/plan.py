"""THE table of the agent: what to do next in one slot. Pure: no I/O, no clock, no random.

  state         leaves it when                                            for
  ------------  --------------------------------------------------------  ----------------------
  idle, ended   the director wants a release that does not serve          accepted | quarantined
  accepted      nothing more can be checked before its blobs are here     fetching
  fetching      its window was open, every blob is here, a variant        staged
                proved itself
  staged        at once                                                   as waiting, or waiting
  waiting       no hold, its window is open, its trigger came, and the    shadow | activating
                lease is there
  shadow        it got copies of requests for as long as its policy says  activating
                and nothing is in the way
                it failed on them, or answered too much of it otherwise   failed
  activating    the pointer is flipped, and the endpoint serves it        probation
  probation     it kept its limits for long enough, or the manager        committed
                knows of it, or both: as its policy says
                it broke a limit, or the director takes it back           rolling_back
  rolling_back  pointer and endpoint are back at the last known good      rolled_back | safe_mode
  committed     (ended) the last known good pointer follows
                an operator at the device wants the release before        rolling_back

Releases that the manager put into quarantine come first: `slot/quarantine.py` says what follows.
Whatever happens before `activating` changes nothing that serves. A state that outlives its deadline
ends the attempt; an attempt that was begun anew too often ends too. Every action is idempotent and
is planned again from what is seen, so that a crash at any point only repeats it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealane.failure import FailureKind
from sealane.receipt import ROLLED_BACK

from sealane_agent.slot import activation, preparing
from sealane_agent.slot.between import RETRY_FAILED, ended
from sealane_agent.slot.case import MAX_RESTARTS, Case, failure_of, go_back, moved
from sealane_agent.slot.going_back import gone_back
from sealane_agent.slot.probation import outlived
from sealane_agent.slot.quarantine import obeyed
from sealane_agent.slot.state import ENDED, Attempt, Enter, Settle, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sealane_agent.slot.state import Action, Observed, SlotRecord, Wanted

__all__ = ["MAX_RESTARTS", "RETRY_FAILED", "plan", "resumed"]

RESTARTS_COUNT: Final = frozenset({State.FETCHING, State.SHADOW, State.ACTIVATING, State.PROBATION})
"""States in which a restart may be the release's fault."""

_RULES: Final[Mapping[State, Callable[[Case], Action]]] = {
    State.ACCEPTED: preparing.accepted,
    State.FETCHING: preparing.fetching,
    State.STAGED: preparing.staged,
    State.WAITING: preparing.staged,
    State.SHADOW: preparing.shadow,
    State.ACTIVATING: activation.activating,
    State.PROBATION: activation.probation,
    State.ROLLING_BACK: activation.rolling_back,
}


def plan(wanted: Wanted | None, record: SlotRecord, observed: Observed, now: datetime) -> Action:
    """The one next action of a slot."""
    case = Case(wanted, record, observed, now)
    if record.attempt is not None and (lost := _lost(case)) is not None:
        return lost
    if (order := obeyed(record, observed, now)) is not None:
        return order
    if (back := gone_back(record, observed, now)) is not None:
        return back
    if outlived(record, observed):
        return Settle()
    if record.attempt is None or record.attempt.state in ENDED:
        return ended(case)
    return _RULES[record.attempt.state](case)


def resumed(attempt: Attempt) -> Attempt:
    """The attempt after the supervisor's own restart: counted where it may be the cause."""
    fetching = attempt.state is State.FETCHING and not attempt.fetched
    if attempt.state not in RESTARTS_COUNT or fetching:
        return attempt
    return replace(attempt, restarts=attempt.restarts + 1)


def _lost(case: Case) -> Action | None:
    """What was taken out of service from outside goes back; its pointers did already."""
    serving, attempt = case.seen.serving, case.attempt
    given_up = serving.given_up if serving is not None else None
    if given_up is None or given_up.manifest != attempt.manifest:
        return None
    if attempt.state in (State.ACTIVATING, State.PROBATION):
        return go_back(case, FailureKind.PERMANENT, given_up.reason)
    if attempt.state is not State.COMMITTED:
        return None
    failure = failure_of(attempt, FailureKind.PERMANENT, given_up.reason)
    back = replace(moved(attempt, State.ROLLED_BACK, case.now), failure=failure)
    return Enter(back, receipt=ROLLED_BACK, quarantine=True)
