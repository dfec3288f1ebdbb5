"""Decides what an attempt is after one of its long actions came to something. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from sealane.failure import FailureKind

from sealane_agent.serving.messages import MEMORY
from sealane_agent.slot.permission import interruptible
from sealane_agent.slot.state import Enter, State

if TYPE_CHECKING:
    from datetime import datetime

    from sealane.bundle.types import ProbationLimits
    from sealane.failure import Failure

    from sealane_agent.slot.state import Attempt, Choice

PAUSE_FIRST_S: Final = 1.0
PAUSE_MAX_S: Final = 300.0
"""Pauses between tries of something transient: doubled each time, full jitter."""

UNTRUSTED: Final = frozenset({"fetch"})
"""Components whose permanent failures are the transport's, not the release's: the digest stays."""


def fetched(attempt: Attempt, limits: ProbationLimits) -> Enter:
    """Every blob is in the store."""
    return Enter(replace(_unburdened(attempt), fetched=True, limits=limits))


def staged(attempt: Attempt, choice: Choice, now: datetime) -> Enter:
    """A variant has proved itself."""
    clean = _unburdened(attempt)
    return Enter(replace(clean, state=State.STAGED, since=now, choice=choice))


def changed_on_disk(attempt: Attempt) -> Enter:
    """A blob is no longer what it was: it is fetched again, and the restart is counted."""
    return Enter(replace(attempt, fetched=False, restarts=attempt.restarts + 1))


def interrupted(attempt: Attempt) -> Enter:
    """The endpoint went away while it was loading."""
    return Enter(replace(attempt, restarts=attempt.restarts + 1))


def failed(attempt: Attempt, failure: Failure, now: datetime, chance: float) -> Enter:
    """A step failed; `chance` is a random number below 1, for the jitter.

    What there is no memory for is tried again where its slot may be interrupted, until it may.
    """
    awaits_room = failure.component == MEMORY and interruptible(attempt)
    if failure.kind is FailureKind.TRANSIENT or awaits_room:
        longest = min(PAUSE_FIRST_S * 2**attempt.retries, PAUSE_MAX_S)
        retry_at = now + timedelta(seconds=longest * chance)
        retries = min(attempt.retries + 1, 16)
        return Enter(replace(attempt, failure=failure, retries=retries, retry_at=retry_at))
    guilty = failure.kind is FailureKind.PERMANENT and failure.component not in UNTRUSTED
    ended = replace(attempt, state=State.FAILED, since=now, failure=failure)
    return Enter(ended, quarantine=guilty)


def _unburdened(attempt: Attempt) -> Attempt:
    return replace(attempt, failure=None, retries=0, retry_at=None)
