"""What the rules of the table look at, and the moves that several of them make. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane.failure import Failure, FailureKind

from sealane_agent.layout import ACTIVE
from sealane_agent.slot.state import Attempt, Enter, SetPointer, State

if TYPE_CHECKING:
    from datetime import datetime

    from sealane_agent.slot.state import Action, Observed, SlotRecord, Wanted

MAX_RESTARTS: Final = 8
"""How often an attempt is begun anew after something died under it."""


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that a rule may look at."""

    wanted: Wanted | None
    record: SlotRecord
    seen: Observed
    now: datetime

    @property
    def attempt(self) -> Attempt:
        """What is under way."""
        assert self.record.attempt is not None  # noqa: S101 - rules run for attempts only
        return self.record.attempt


def put_back(case: Case) -> Action | None:
    """The active pointer goes back to the last known good; without one it stays as it is."""
    lkg = case.seen.lkg
    return SetPointer(ACTIVE, lkg) if lkg is not None and case.seen.active != lkg else None


def stage_anew(case: Case, *, counted: bool = True) -> Action:
    """Counted where it may be the release's fault, not where the machine was switched off."""
    again = replace(case.attempt, choice=None, restarts=case.attempt.restarts + counted)
    return Enter(moved(again, State.FETCHING, case.now))


def go_back(case: Case, kind: FailureKind, message: str) -> Action:
    """The active release fails, and the last known good one takes its place."""
    traffic = case.seen.serving.traffic if case.seen.serving else case.attempt.traffic
    failure = failure_of(case.attempt, kind, message)
    back = replace(case.attempt, traffic=traffic, failure=failure)
    return Enter(moved(back, State.ROLLING_BACK, case.now))


def enter(case: Case, state: State) -> Enter:
    """The attempt moves on as it is."""
    return Enter(moved(case.attempt, state, case.now))


def moved(attempt: Attempt, state: State, now: datetime) -> Attempt:
    """The attempt in another state, from now on."""
    return replace(attempt, state=state, since=now)


def worker_of(attempt: Attempt) -> str:
    """The worker that proved it; empty while none did."""
    return attempt.choice.proved.worker if attempt.choice else ""


def failure_of(attempt: Attempt, kind: FailureKind, message: str) -> Failure:
    """A failure that the supervisor itself saw, in the attempt's state."""
    return Failure(kind, str(attempt.state), "supervisor", str(attempt.release), message)
