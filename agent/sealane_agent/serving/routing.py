"""Decides which worker answers a request, and what happens next after it failed there.

Pure: a `Situation` in, a `Choice` out. The rules:

1. A request that names a version is answered by that version or not at all.
2. Otherwise the active place answers; while it is down, the warm previous one does. In a split
   chance turns some requests to the previous place first; while that is down, the active one does.
3. A request on which the active place fails while it is in probation goes on to the previous one.
4. A request whose worker died or hung is tried once more, elsewhere when possible: inference has no
   side effects. The second time it is given up, so that a poisonous input cannot walk around.
5. Nobody up, but somebody coming: the request waits.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final

MAX_LOST: Final = 2
"""Workers that one request may lose before it is given up."""

HANG_MIN_S: Final = 5.0
"""No worker is called hung before this: a loaded machine may pause a process for seconds."""

HANG_MAX_S: Final = 60.0
"""No worker is waited for longer than this."""

HANG_FACTOR: Final = 200
"""A request may take this many times what its rows took when the worker was proved."""


class Health(Enum):
    """How a place stands."""

    UP = auto()
    COMING = auto()
    """A worker is being started."""
    DOWN = auto()
    """The last start failed; it is tried again later."""


class Result(Enum):
    """How an attempt ended that brought no answer."""

    REFUSED = auto()
    """The request does not fit the model's contract."""
    FAILED = auto()
    """The engine raised an error on it."""
    OVERLOADED = auto()
    EXPIRED = auto()
    """The request's own deadline passed."""
    DIED = auto()
    HUNG = auto()

    @property
    def lost(self) -> bool:
        """Whether the worker went with it."""
        return self in {Result.DIED, Result.HUNG}


class Choice(Enum):
    """What to do with a request now."""

    ACTIVE = auto()
    PREVIOUS = auto()
    WAIT = auto()
    """Until a place changes, and not for ever."""
    UNKNOWN = auto()
    """The slot has no such version."""
    NOT_READY = auto()
    GIVE_UP = auto()
    """The last attempt's error goes to the client."""


@dataclass(frozen=True, slots=True)
class Standing:
    """One place of a slot as it stands now."""

    name: str
    version: int
    health: Health


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try that brought no answer; `forgiven` when it was made on a place in probation."""

    place: str
    result: Result
    forgiven: bool


@dataclass(frozen=True, slots=True)
class Situation:
    """All that the choice depends on.

    `turned`: chance sent the request to the previous place first.
    """

    active: Standing | None
    previous: Standing | None
    wanted: int | None = None
    attempts: tuple[Attempt, ...] = ()
    turned: bool = False


@dataclass(frozen=True, slots=True)
class Tally:
    """What one finished request says about the active release."""

    request: bool = False
    error: bool = False
    fallback: bool = False


def choose(situation: Situation) -> Choice:
    """Who answers, or what else to do."""
    if situation.active is None:
        return Choice.NOT_READY
    eligible = _eligible(situation)
    if not eligible:
        return Choice.UNKNOWN
    attempts = situation.attempts
    if _is_final(attempts):
        return Choice.GIVE_UP
    blamed = {attempt.place for attempt in attempts if not attempt.result.lost}
    return _among([seat for seat in eligible if seat[1].name not in blamed], attempts)


def _eligible(situation: Situation) -> list[tuple[Choice, Standing]]:
    seats = [(Choice.ACTIVE, situation.active), (Choice.PREVIOUS, situation.previous)]
    if situation.turned:
        seats.reverse()
    return [
        (choice, standing)
        for choice, standing in seats
        if standing is not None and situation.wanted in {None, standing.version}
    ]


def _is_final(attempts: tuple[Attempt, ...]) -> bool:
    lost = sum(attempt.result.lost for attempt in attempts)
    return lost >= MAX_LOST or any(not (a.result.lost or a.forgiven) for a in attempts)


def _among(seats: list[tuple[Choice, Standing]], attempts: tuple[Attempt, ...]) -> Choice:
    tried = {attempt.place for attempt in attempts}
    up = [seat for seat in seats if seat[1].health is Health.UP]
    if up:
        return min(up, key=lambda seat: seat[1].name in tried)[0]
    if any(standing.health is Health.COMING for _, standing in seats):
        return Choice.WAIT
    return Choice.GIVE_UP if attempts else Choice.NOT_READY


def tally(active: str, attempts: tuple[Attempt, ...], answered: str | None) -> Tally:
    """What a finished request says about the place that was active when it came.

    `answered` is the place that answered, None when nobody did. An input that every place refuses,
    or fails on, says nothing about the release, and a deadline that its client chose says nothing:
    else a client could bring a good one down.
    """
    own = [attempt for attempt in attempts if attempt.place == active]
    if answered == active:
        return Tally(request=True, error=any(attempt.result.lost for attempt in own))
    if answered is not None:
        return Tally(request=True, error=True, fallback=True)
    if own and _blames_input(own[0], attempts):
        return Tally()
    return Tally(request=True, error=True)


def _blames_input(own: Attempt, attempts: tuple[Attempt, ...]) -> bool:
    if own.result in {Result.REFUSED, Result.EXPIRED}:
        return True
    failed = {attempt.place for attempt in attempts if attempt.result is Result.FAILED}
    return len(failed) > 1


@lru_cache(maxsize=256)
def hang_after_s(latency_us: int, rows: int) -> float:
    """After how long a worker without an answer counts as hung, from its proved latency a row."""
    expected = latency_us / 1e6 * max(1, rows) * HANG_FACTOR
    return min(HANG_MAX_S, max(HANG_MIN_S, expected))
