"""How a device behaves on its link: as fast as is useful, or as seldom as is enough. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

KIB: Final = 1024


@dataclass(frozen=True, slots=True)
class Profile:
    """What a link allows.

    Attributes:
        heartbeat_s: pause between two heartbeats that the device asks for; 0 leaves it to the
            manager. In three times that the manager knows that it is gone.
        refresh_s: a document is asked for at least so often.
        keepalive_ms: pause between two pings that find a link that was cut.
        telemetry_bytes_s: average of all batches of telemetry; older windows wait and are merged.
        certificate_s: how long the device wishes that its certificate lives; 0 leaves it to the
            manager.
    """

    heartbeat_s: float
    refresh_s: float
    keepalive_ms: int
    telemetry_bytes_s: float
    certificate_s: int = 0


DEFAULT: Final = Profile(
    heartbeat_s=0.0, refresh_s=900.0, keepalive_ms=10_000, telemetry_bytes_s=16.0 * KIB
)
"""Twelve days offline are sent within a minute; a cut is noticed in 15 s."""

METERED: Final = Profile(
    heartbeat_s=1800.0,
    refresh_s=86_400.0,
    keepalive_ms=3_600_000,
    telemetry_bytes_s=2.0 * KIB / 86_400,
    certificate_s=7 * 86_400,
)
"""What changes is still told at once. `scripts/bench_idle` measures what it costs a month."""
