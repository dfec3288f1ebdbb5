"""Decides which variants of a bundle a device may try, and which one wins. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane.failure import Failure, FailureKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sealane.bundle.types import Deployment, Layer, Variant
    from sealane.fleet import DeviceFacts

    from sealane_agent.slot.state import Choice


def eligible(variants: Iterable[Variant], facts: DeviceFacts) -> tuple[Variant, ...]:
    """The variants whose runtime, accelerator and memory this device has."""
    return tuple(variant for variant in variants if not _obstacle(variant, facts))


def why_none(variants: Sequence[Variant], facts: DeviceFacts, element: str) -> Failure:
    """The failure when no variant is eligible, with each one's obstacle."""
    obstacles = "; ".join(f"{item.name}: {_obstacle(item, facts)}" for item in variants)
    return Failure(
        FailureKind.ENVIRONMENTAL,
        phase="fetching",
        component="variants",
        element=element,
        message=f"no variant fits this device ({obstacles})",
        hint="install a runtime that the bundle has a variant for, or add a variant to the bundle",
    )


def _obstacle(variant: Variant, facts: DeviceFacts) -> str:
    runtime = next((item for item in facts.runtimes if item.name == variant.runtime), None)
    if runtime is None:
        return f"runtime {variant.runtime} is not installed"
    if variant.accelerator not in runtime.accelerators:
        return f"runtime {variant.runtime} finds no {variant.accelerator} here"
    if variant.memory_bytes > facts.memory_bytes:
        return f"needs {variant.memory_bytes} bytes of memory of {facts.memory_bytes}"
    return ""


def needed(
    layers: Iterable[Layer], deployment: Deployment, chosen: Iterable[Variant]
) -> tuple[Layer, ...]:
    """The layers that these variants need: their files and what proves them.

    A file that no variant names (a card, a licence) is small and comes along.
    """
    mine = {path for variant in chosen for path in variant.files}
    theirs = {path for variant in deployment.variants for path in variant.files} - mine
    return tuple(layer for layer in layers if layer.path not in theirs)


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
