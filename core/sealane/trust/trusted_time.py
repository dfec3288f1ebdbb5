"""Which time a device believes.

Best is the time in a director document that carries the device's own nonce: the device needs no
clock for it, and counts on from there. Without one, the wall clock counts, but never below what
signed documents have proved to have passed. Half of what the device counted itself since then has
passed for certain too: whoever signs such documents can slow time down while it runs, not stop it,
and a manager whose clock ran ahead for a while is believed again when time has caught up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sealane.clock import Clock


SLOWEST: Final = 2
"""By this factor at most signed documents may slow time down against our own counting."""


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

    def passed(self, clock: Clock) -> int:
        """Seconds since 1970 that have passed for certain by now, whatever the wall clock says."""
        if self.attested is None:
            return self.floor
        return self.floor + int((clock.monotonic() - self.attested_at) / SLOWEST)

    def now(self, clock: Clock) -> datetime:
        """The best known time, aware, in UTC."""
        floor = datetime.fromtimestamp(self.floor, UTC)
        if self.attested is None:
            return max(clock.now(), floor)
        elapsed = timedelta(seconds=clock.monotonic() - self.attested_at)
        return max(datetime.fromtimestamp(self.attested, UTC) + elapsed, floor)
