"""Decides whether a worker is stuck, and which requests have waited too long for it.

A worker is judged by the request that it works on, over the time since it took it: a request that
waits behind a slow one says nothing about the worker. A worker that works on nothing although it
was given something is judged by the oldest request inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Progress:
    """Which slot the worker works on, and since when it does that or nothing (monotonic clock)."""

    current: int | None
    since_s: float


class Timed(Protocol):
    """A request: since when it waits or is inside, and how long it may take."""

    since_s: float
    timeout_s: float


Request = TypeVar("Request", bound=Timed)


def worked_on(inside: Mapping[int, Request], progress: Progress) -> Request | None:
    """The request that the worker works on, by its own word."""
    return None if progress.current is None else inside.get(progress.current)


def is_stuck(inside: Mapping[int, Timed], progress: Progress, now_s: float) -> bool:
    """Whether the worker made no progress on a request for that request's time."""
    judged = worked_on(inside, progress) or next(iter(inside.values()), None)
    if judged is None:
        return False
    return now_s - max(judged.since_s, progress.since_s) >= judged.timeout_s


def out_of_time(
    requests: Iterable[Request], current: Request | None, now_s: float
) -> tuple[Request, ...]:
    """The requests that waited for all of their time; the one that is worked on keeps waiting."""
    return tuple(
        request
        for request in requests
        if request is not current and now_s - request.since_s >= request.timeout_s
    )
