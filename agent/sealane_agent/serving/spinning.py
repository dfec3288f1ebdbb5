"""Decides for how long a side of the ring looks again before it sleeps until its bell rings.

On an idle machine it takes tens of microseconds to be woken, on a busy one the scheduler does it in
a few, and who looks again then only takes the processor from those who have work. So a side
measures what being woken costs it, and looks on only while even the cheapest time of late cost much
and what it waits for has lately come sooner; never for longer than `MOST_S`, and never where there
is one processor. Each `REMEASURE` waits it sleeps once, to learn whether the machine has become
busy.
"""

from __future__ import annotations

from typing import Final

MOST_S: Final = 100e-6
"""Longest look."""

WORTH_S: Final = 20e-6
"""Cheapest wake-up that looking is worth."""

CROWDED_S: Final = 120e-6
"""A wake-up that took longer waited for a processor: looking would have made that worse."""

LATELY: Final = 8
"""Waits that an average is mostly made of."""

LONG_S: Final = 10 * MOST_S
"""A longer wait says no more than this one does."""

JUMP_S: Final = 300e-6
"""Between two looks: somebody else had the processor."""

REMEASURE: Final = 64
"""Waits after which one is slept through."""


class Spin:
    """What one side has learned of its waits; all times in seconds.

    Attributes:
        jump_s: between two looks: then somebody else had the processor.
    """

    jump_s = JUMP_S
    __slots__ = ("_came", "_left", "_most", "_woken")

    def __init__(self, processors: int, most_s: float = MOST_S) -> None:
        self._most = most_s if processors > 1 else 0.0
        self._came = LONG_S
        self._woken = 0.0
        self._left = REMEASURE

    @property
    def limit_s(self) -> float:
        """How long to look now; 0: not at all."""
        if self._came >= self._most or self._woken < WORTH_S or not self._left:
            return 0.0
        return self._most

    def looked(self, wait_s: float) -> None:
        """It came while this side looked."""
        self._left -= 1
        self._came += (wait_s - self._came) / LATELY

    def slept(self, wait_s: float, woken_s: float) -> None:
        """It came while this side slept; `woken_s` of the wait was spent in being woken."""
        self._left = REMEASURE
        came_s = min(max(0.0, wait_s - woken_s), LONG_S)
        self._came += (came_s - self._came) / LATELY
        cost_s = woken_s if 0 <= woken_s < CROWDED_S else 0.0
        self._woken = min(cost_s, self._woken + WORTH_S / LATELY)

    def put_aside(self) -> None:
        """Somebody else wants this processor: sleep until being woken is seen to cost much."""
        self._woken = 0.0
