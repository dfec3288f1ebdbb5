"""The three baselines that values are compared with, and what it means when they disagree.

1. The producer's data, from the signed bundle.
2. The device's own past: the last seven days at the same hours, because light and work have a day.
3. Its peers: all other devices with the same model now.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from typing import TYPE_CHECKING, Final

from sealane.telemetry.bins import Bins

from sealane_manager.drift.distance import Difference, compare

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sealane.bundle.types import ReferenceBins

DAY_SECONDS: Final = 86_400

PAST_DAYS: Final = 7

HOURS_AROUND: Final = 2
"""The past of a moment is what was within as many hours of it, on each day."""


@dataclass(frozen=True, slots=True)
class Dated:
    """What was counted in a window that began then (seconds since 1970)."""

    start: int
    bins: Bins


class Cause(StrEnum):
    """What a difference points at."""

    NONE = "none"
    """No baseline differs enough to matter."""
    REFERENCE = "reference"
    """Only the producer's data differ: the model was trained on something else."""
    DEVICE = "device"
    """It left its own past and its peers: look at this camera or sensor."""
    WORLD = "world"
    """It left its own past, and its peers did so too: the world changed."""
    SITE = "site"
    """It always differed from its peers: other light, other goods, another mounting."""


@dataclass(frozen=True, slots=True)
class Differences:
    """One input of one device against its three baselines."""

    reference: Difference
    past: Difference
    peers: Difference


def reference_bins(reference: ReferenceBins) -> Bins:
    """The producer's data, as if a device had counted them."""
    return Bins(reference.counts)


def own_past(history: Iterable[Dated], now: int) -> Bins:
    """What a device counted in the days before at this time of day; today does not count."""
    return _together(dated.bins for dated in history if _is_past(dated.start, now))


def _is_past(start: int, now: int) -> bool:
    age = now - start
    around = HOURS_AROUND * 3600
    if not DAY_SECONDS - around <= age <= PAST_DAYS * DAY_SECONDS + around:
        return False
    from_same_time = (age + DAY_SECONDS // 2) % DAY_SECONDS - DAY_SECONDS // 2
    return abs(from_same_time) <= around


def peers(devices: Mapping[str, Bins]) -> dict[str, Bins]:
    """For each device what all others counted together."""
    everything = _together(devices.values())
    return {device: _without(everything, own) for device, own in devices.items()}


def _together(found: Iterable[Bins]) -> Bins:
    return reduce(Bins.merge, found, Bins())


def _without(everything: Bins, own: Bins) -> Bins:
    padded = own.merge(Bins((0,) * len(everything.counts)))
    return Bins(
        tuple(all_ - mine for all_, mine in zip(everything.counts, padded.counts, strict=True)),
        everything.missing - own.missing,
        everything.non_finite - own.non_finite,
    )


def differences(current: Bins, reference: Bins, past: Bins, others: Bins) -> Differences:
    """Current values against all three."""
    return Differences(
        compare(current, reference), compare(current, past), compare(current, others)
    )


def cause(found: Differences, floor: float) -> Cause:
    """What the differences point at; one counts when its distance reaches the floor."""
    left_past, left_peers = found.past.js >= floor, found.peers.js >= floor
    if left_past:
        return Cause.DEVICE if left_peers else Cause.WORLD
    if left_peers:
        return Cause.SITE
    return Cause.REFERENCE if found.reference.js >= floor else Cause.NONE
