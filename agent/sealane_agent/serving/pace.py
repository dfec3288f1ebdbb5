"""Decides how many requests a place takes at once: as many as it answers soon. Pure.

What a place takes in a second is seen from its own answers: while it has more than one request, the
time between two answers is what one costs, whatever its rows, its batches and the engine's threads.
A line that would be waited in for longer is not begun: a client hears at once that it shall come
back later, and once the crowd has gone the line is short.
"""

from __future__ import annotations

from typing import Final

SOON_S: Final = 0.5
"""Nobody stands in a line that takes longer than this, by what was seen last."""

ALWAYS: Final = 32
"""So many requests are taken however slow the model is: clients that wait for their answers."""

_MEMORY_S: Final = 1.0
"""Of time in which it was busy: what is older counts half, again and again."""

_PROVED: Final = 10
"""What a proof measured counts as so many answers."""


class Pace:
    """What one place takes for a request while it is busy; times in seconds.

    Answers come in bursts, several rows at once or when the loop comes to them: so time and answers
    are added up, and no single pause is believed.
    """

    __slots__ = ("_answered_s", "_answers", "_busy_s")

    def __init__(self, each_s: float) -> None:
        self._busy_s = each_s * _PROVED
        self._answers = float(_PROVED)
        self._answered_s: float | None = None

    def answered(self, now_s: float, left: int) -> None:
        """Hear of an answer; `left` requests are inside after it."""
        before, self._answered_s = self._answered_s, now_s if left else None
        if before is None:
            return
        self._busy_s += now_s - before
        self._answers += 1
        if self._busy_s > _MEMORY_S:
            self._busy_s /= 2
            self._answers /= 2

    def has_room(self, inside: int) -> bool:
        """Whether one more request would be answered soon."""
        return inside < ALWAYS or inside * self._busy_s < SOON_S * self._answers
