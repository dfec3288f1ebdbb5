"""Decides whether a worker is stuck, and which requests have waited too long for it.

Each hand of a worker is judged by the request that it works on, over the time since it took it: a
request that waits behind a slow one says nothing about the worker. A worker with a hand that works
on nothing, although it was given something that no hand took, is judged by the oldest such request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


PAUSE_S: Final = 0.25
"""A look that comes so late says that this process stood still, and the workers may have, too."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Which slot a hand works on, and since when it does that or nothing (monotonic clock)."""

    current: int | None
    since_s: float


class Timed(Protocol):
    """A request: since when it waits or is inside, and how long it may take."""

    since_s: float
    timeout_s: float


Request = TypeVar("Request", bound=Timed)


def worked_on(
    inside: Mapping[int, Request], hands: Iterable[Progress]
) -> tuple[tuple[Request, Progress], ...]:
    """The requests that the worker works on, each with its hand's progress, by its own word."""
    named = ((hand.current, hand) for hand in hands if hand.current is not None)
    return tuple((inside[slot], hand) for slot, hand in named if slot in inside)


def is_stuck(inside: Mapping[int, Timed], hands: tuple[Progress, ...], now_s: float) -> bool:
    """Whether the worker made no progress on a request for that request's time."""
    working = worked_on(inside, hands)
    judged = [(request, hand.since_s) for request, hand in working]
    if len(working) < len(hands):
        taken = {id(request) for request, _ in working}
        left = next((request for request in inside.values() if id(request) not in taken), None)
        if left is not None:
            judged.append((left, max(hand.since_s for hand in hands)))
    return any(
        now_s - max(request.since_s, since_s) >= request.timeout_s for request, since_s in judged
    )


def stood_still(due_s: float, now_s: float) -> bool:
    """Whether nobody may be judged by the time that passed: a container or machine was paused."""
    return now_s - due_s >= PAUSE_S


def out_of_time(
    requests: Iterable[Request], current: Iterable[Request], now_s: float
) -> tuple[Request, ...]:
    """The requests that waited for all of their time; those that are worked on keep waiting."""
    kept = set(map(id, current))
    return tuple(
        request
        for request in requests
        if id(request) not in kept and now_s - request.since_s >= request.timeout_s
    )
