"""Which time a device believes.

Best is the time in a director document that carries the device's own nonce: the device needs no
clock for it, and counts on from there. Without one, the wall clock counts, but never below what
signed documents have proved to have passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sealane.clock import Clock


@dataclass(frozen=True, slots=True)
class TrustedTime:
    """What is known about the time.

    Attributes:
        floor: seconds since 1970 that have passed for certain.
        attested: seconds since 1970 that the director answered to our nonce, if it did.
        attested_at: the monotonic clock at that moment.
    """

    floor: int = 0
    attested: int | None = None
    attested_at: float = 0.0

    def offset(self, clock: Clock) -> timedelta | None:
        """How far the wall clock is ahead; None while nobody attested the time. To a second."""
        return None if self.attested is None else clock.now() - self.now(clock)

    def now(self, clock: Clock) -> datetime:
        """The best known time, aware, in UTC."""
        floor = datetime.fromtimestamp(self.floor, UTC)
        if self.attested is None:
            return max(clock.now(), floor)
        elapsed = timedelta(seconds=clock.monotonic() - self.attested_at)
        return max(datetime.fromtimestamp(self.attested, UTC) + elapsed, floor)
