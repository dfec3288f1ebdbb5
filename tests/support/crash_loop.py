"""An event loop in which no time passes: whoever waits is answered at once, by a clock of its own.

What belongs in a thread runs in the loop, so that the order of a run's operations never changes.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.trust import ManualClock


class _Skipping(selectors.SelectSelector):
    """Lets the clock jump to the moment that the loop waits for, or just behind it.

    The clock counts whole microseconds: rounded down, it would never reach the moment.
    """

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everybody waits for somebody else"
        if timeout > 0:
            self._clock.advance(timedelta(microseconds=math.ceil(timeout * 1e6)))
        return []


class SteadyLoop(asyncio.SelectorEventLoop):
    """See the module."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(_Skipping(clock))
        self._own_clock = clock

    def time(self) -> float:
        return self._own_clock.ticks

    def run_in_executor(
        self, _executor: object, work: Callable[..., Any], *arguments: object
    ) -> asyncio.Future[Any]:
        answer = self.create_future()
        self.call_soon(_work, answer, work, arguments)
        return answer


def _work(answer: asyncio.Future[Any], work: Callable[..., Any], arguments: Any) -> None:
    if answer.cancelled():
        return
    try:
        answer.set_result(work(*arguments))
    except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the answer
        answer.set_exception(error)
