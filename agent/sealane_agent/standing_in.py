"""Decides what stands in on the CPU where an accelerator does not serve, and what is told. Pure.

A device whose accelerator is lost goes on with another variant of the same bundle, and says so:
whoever reads of it must not take it for one that works as it should.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealane.bundle.types import Deployment, Variant
    from sealane.fleet import DeviceFacts

    Passed = tuple[Variant, str]
    """A variant that was not chosen although the device has, or had, what it needs; and why."""

CPU: Final = "cpu"

SENTENCE_CHARS: Final = 300
"""Of what is told: an engine's words may be long."""


def stand_ins(deployment: Deployment, wanted: str) -> tuple[Variant, ...]:
    """Variants for the CPU that may serve in place of the one that is named, if it is not such."""
    chosen = [each for each in deployment.variants if each.name == wanted]
    if not chosen or chosen[0].accelerator == CPU:
        return ()
    return tuple(each for each in deployment.variants if each.accelerator == CPU)


def lost_here(variants: Iterable[Variant], facts: DeviceFacts) -> tuple[Passed, ...]:
    """Variants whose accelerator this device had and lost."""
    lost = {fact.name: dict(fact.lost) for fact in facts.runtimes}
    found = ((each, lost.get(each.runtime, {}).get(each.accelerator, "")) for each in variants)
    return tuple((variant, why) for variant, why in found if why)


def degraded(chosen: str, passed: Iterable[Passed]) -> str:
    """Why it is only on the CPU that a device serves; empty where that is as it should be.

    `chosen`: the accelerator of the variant that serves.
    """
    if chosen != CPU:
        return ""
    told = (in_place_of(variant, why) for variant, why in passed if variant.accelerator != CPU)
    return next(told, "")


def in_place_of(variant: Variant, why: str) -> str:
    """One sentence: what does not serve, and why."""
    says = f"it serves on the CPU, not by {variant.name} on the {variant.accelerator}: {why}"
    return says[:SENTENCE_CHARS]
