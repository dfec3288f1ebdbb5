"""A clock that tests move."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class MovableClock:
    """Begins at the real time and stands still until it is moved."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime.now(UTC)
        self._monotonic = 1000.0

    def now(self) -> datetime:
        """The wall clock, aware, in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since some fixed moment."""
        return self._monotonic

    def advance(self, by: timedelta) -> None:
        """Let both clocks go on."""
        self._now += by
        self._monotonic += by.total_seconds()
