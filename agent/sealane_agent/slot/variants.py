"""Decides which of the variants that were tried wins, and what stands for all that failed. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane.bundle.fit import obstacles
from sealane.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane.bundle.types import Variant
    from sealane.fleet import DeviceFacts

    from sealane_agent.slot.state import Choice


def why_none(variants: Sequence[Variant], facts: DeviceFacts, element: str) -> Failure:
    """The failure when no variant is eligible, with each one's obstacle."""
    return Failure(
        FailureKind.ENVIRONMENTAL,
        phase="fetching",
        component="variants",
        element=element,
        message=f"no variant fits this device ({obstacles(variants, facts)})",
        hint="install a runtime that the bundle has a variant for, or add a variant to the bundle",
    )


def faster(one: Choice, other: Choice) -> tuple[Choice, Choice]:
    """The winner and the loser: lower measured latency, then less memory, then the first."""
    ordered = sorted(
        (one, other), key=lambda item: (item.proved.latency_us, item.proved.memory_bytes)
    )
    return ordered[0], ordered[1]


def worst(failures: Sequence[Failure]) -> Failure:
    """The failure that stands for all variants: permanent only when every one is."""
    weaker = [item for item in failures if item.kind is not FailureKind.PERMANENT]
    return weaker[0] if weaker else failures[0]
