"""Decides what follows while a staged release gets copies of requests. Pure: no I/O, no clock.

Nobody has seen its answers: whatever it does, nothing that serves changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane.failure import Failure, FailureKind

from sealane_agent.slot.state import Enter, Mirror, Rest, State

if TYPE_CHECKING:
    from datetime import datetime

    from sealane.policy import Trial

    from sealane_agent.serving.messages import Shadowed, SlotStatus
    from sealane_agent.slot.state import Action, Attempt, Observed

EARLY_COPIES: Final = 100
"""Copies below which a share of failures says little."""

FAILED_COPIES: Final = 0.01
"""Share of copies of requests that a release may fail on."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a release ends here; `quarantine`: for good."""

    reason: str
    quarantine: bool


def wants_copies(attempt: Attempt, serving: SlotStatus | None) -> bool:
    """Whether it gets copies before it is activated: there are none where nothing answers."""
    answers = serving is not None and serving.active is not None
    return answers and attempt.policy.trial.shadow_seconds > 0


def while_copied(attempt: Attempt, worker: str, seen: Observed, now: datetime) -> Action | None:
    """The next action of a release that gets copies; None once it had enough of them."""
    shadow = seen.serving.shadow if seen.serving is not None else None
    trial, over = attempt.policy.trial, seen.in_state_s >= attempt.policy.trial.shadow_seconds
    if shadow is None or shadow.worker != worker:
        # An endpoint that knows of no copies must not stop a release.
        return None if over else Mirror(worker)
    fault = failed(shadow, over=over) or (otherwise(shadow, trial) if over else None)
    if fault is None:
        return None if over else Rest()
    failure = Failure(
        FailureKind.PERMANENT, attempt.state, "supervisor", str(attempt.release), fault.reason
    )
    ended = replace(attempt, state=State.FAILED, since=now, failure=failure)
    return Enter(ended, quarantine=fault.quarantine)


def failed(seen: Shadowed, *, over: bool) -> Fault | None:
    """A crash or a hang ends it at once, failures when they are too many to be chance."""
    if seen.lost:
        return Fault(
            f"its worker was lost {seen.lost} times over copies of requests", quarantine=True
        )
    asked = seen.answered + seen.failed
    if seen.failed <= FAILED_COPIES * (asked if over else max(asked, EARLY_COPIES)):
        return None
    return Fault(f"it failed on {seen.failed} of {asked} copies of requests", quarantine=True)


def otherwise(seen: Shadowed, trial: Trial) -> Fault | None:
    """What answers otherwise may have been meant to: it may be tried again by another rollout."""
    if seen.disagreed <= trial.disagreement * seen.compared:
        return None
    return Fault(
        f"it answers {seen.disagreed} of {seen.compared} copies of requests otherwise, more than"
        f" the allowed {trial.disagreement:.0%}",
        quarantine=False,
    )
