"""Decides which of the variants that were tried wins, and what stands for all that failed. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sealane.bundle.fit import obstacles
from sealane.failure import Failure, FailureKind

from sealane_agent.ranking import rank
from sealane_agent.serving.messages import MEMORY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sealane.bundle.types import Objective, Variant
    from sealane.fleet import DeviceFacts

    from sealane_agent.slot.state import Choice


def better(objective: Objective, one: Choice, other: Choice) -> tuple[Choice, Choice]:
    """The winner and the loser; the first one where nothing tells them apart."""
    ordered = sorted((one, other), key=lambda each: rank(objective, each.proved))
    return ordered[0], ordered[1]


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


def too_large(chosen: Iterable[Variant], failures: Iterable[Failure]) -> Variant | None:
    """The first of those that were tried for which there was no memory; None when there was."""
    names = {item.element for item in failures if item.component == MEMORY}
    return next((variant for variant in chosen if variant.name in names), None)


def even_alone(failure: Failure) -> Failure:
    """What a load failed for that might interrupt its slot: no window brings more memory."""
    if failure.component != MEMORY:
        return failure
    message = f"not even without what serves in its slot: {failure.message}"
    return replace(failure, component="device", message=message)


def worst(failures: Sequence[Failure]) -> Failure:
    """The failure that stands for all variants: permanent only when every one is."""
    weaker = [item for item in failures if item.kind is not FailureKind.PERMANENT]
    return weaker[0] if weaker else failures[0]
