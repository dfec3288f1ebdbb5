"""Decides what keeps a release from being fetched or activated now. Pure: no I/O, no clock.

In the order in which they are named to people: a hold, a window, the trigger, the gate's verdict on
copies alone, the lease.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from sealane.policy import Commit, Trigger, waits_until

from sealane_agent.slot.state import State

if TYPE_CHECKING:
    from datetime import datetime

    from sealane.policy import Policy
    from sealane.windows import Window

    from sealane_agent.slot.state import Attempt, Observed, Wanted

IDLE_S: Final = 60.0
"""Without a request for so long a slot is idle."""

LEASE: Final = "lease"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What is in the way.

    Attributes:
        kind: `hold`, `window`, `trigger`, `verdict` or `lease`.
        reason: one phrase, for people.
    """

    kind: str
    reason: str


def granted(attempt: Attempt, wanted: Wanted | None, seen: Observed) -> tuple[Attempt, bool]:
    """The attempt with what the director allows now, and whether that is news.

    Before anything was heard, what was remembered holds.
    """
    asked = wanted.assignment if wanted else None
    if not seen.heard or asked is None:
        return attempt, False
    until = asked.lease.expires if asked.lease else None
    news = (asked.policy, until) != (attempt.policy, attempt.lease_until)
    return _with(attempt, asked.policy, until), news


def awaits(attempt: Attempt, wanted: Wanted | None, seen: Observed) -> bool:
    """Whether the manager's gate has yet to say that the release may stay."""
    known, _ = granted(attempt, wanted, seen)
    return known.policy.trial.awaits


def undecided(attempt: Attempt, wanted: Wanted | None, seen: Observed) -> str:
    """Why nobody could say in time whether a release on probation stays."""
    if awaits(attempt, wanted, seen):
        return "the manager's gate gave no verdict in time"
    if attempt.policy.commit is not Commit.LOCAL_HEALTH and not seen.told:
        return "the manager, whose acknowledgement its policy demands, did not answer in time"
    return "nobody could watch its probation"


def before_fetching(attempt: Attempt, seen: Observed, now: datetime) -> Obstacle | None:
    """What keeps the device from downloading; None when nothing does."""
    return _closed(attempt.policy.download, seen, now, "download")


def before_activation(attempt: Attempt, seen: Observed, now: datetime) -> Obstacle | None:
    """What keeps the device from activating what it has staged; None when nothing does."""
    return (
        _held(seen, now)
        or _window(attempt, seen, now)
        or _trigger(attempt, seen)
        or _unjudged(attempt)
        or _unleased(attempt, now)
    )


def interruptible(attempt: Attempt) -> bool:
    """Whether its slot may serve nobody while it is loaded, once it could be activated.

    Not where it is tried beside the release before, which takes both; nor at a machine's next
    start, before which it must have been proved.
    """
    policy = attempt.policy
    beside = policy.trial.share < 1 or policy.trial.shadow_seconds > 0
    return policy.interrupts and policy.trigger is not Trigger.RESTART and not beside


def fetched_in_windows(attempt: Attempt) -> bool:
    """Whether it may have to wait for a window before it is staged."""
    return bool(attempt.policy.download) or interruptible(attempt)


def interrupts(attempt: Attempt, seen: Observed, now: datetime) -> bool:
    """Whether its slot may serve nobody from now on, until it is loaded."""
    return interruptible(attempt) and before_activation(attempt, seen, now) is None


def _held(seen: Observed, now: datetime) -> Obstacle | None:
    open_holds = [hold for hold in seen.holds if now < hold.until]
    if not open_holds:
        return None
    last = max(open_holds, key=lambda hold: (hold.until, hold.id))
    until = last.until.astimezone(seen.zone)
    reason = f"{last.owner} holds it until {until:%Y-%m-%d %H:%M}: {last.reason}"
    return Obstacle("hold", reason)


def _window(attempt: Attempt, seen: Observed, now: datetime) -> Obstacle | None:
    if attempt.policy.trigger is Trigger.NOW:
        return None
    return _closed(attempt.policy.activation, seen, now, "activation")


def _trigger(attempt: Attempt, seen: Observed) -> Obstacle | None:
    trigger = attempt.policy.trigger
    if trigger is Trigger.RESTART and seen.boot in ("", attempt.boot):
        return Obstacle("trigger", "it waits for the machine's next start")
    if trigger is Trigger.IDLE and seen.quiet_s < IDLE_S:
        return Obstacle("trigger", f"it waits for {IDLE_S:.0f} s without a request")
    return None


def _unjudged(attempt: Attempt) -> Obstacle | None:
    """A challenger that is only compared stays so until the manager's gate has passed."""
    trial = attempt.policy.trial
    if attempt.state is not State.SHADOW or not trial.awaits or trial.share < 1:
        return None
    return Obstacle("verdict", "it is compared until the gate has passed")


def _unleased(attempt: Attempt, now: datetime) -> Obstacle | None:
    until = attempt.lease_until
    if until is not None and now < until:
        return None
    return Obstacle(LEASE, "it waits for a lease from the manager")


def _closed(
    timetables: tuple[tuple[Window, ...], ...], seen: Observed, now: datetime, what: str
) -> Obstacle | None:
    opens = waits_until(timetables, now, seen.zone)
    if opens is None:
        return None
    local = opens.astimezone(seen.zone)
    return Obstacle("window", f"its {what} window opens at {local:%Y-%m-%d %H:%M}")


def _with(attempt: Attempt, policy: Policy, until: datetime | None) -> Attempt:
    return replace(attempt, policy=policy, lease_until=until)
