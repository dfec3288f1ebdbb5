"""Decides which variants of a bundle a device can run, and which files they need. Pure.

Devices decide by it what they fetch; the manager foresees by it what they will decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealane.bundle.types import Deployment, Layer, Variant
    from sealane.fleet import DeviceFacts


def eligible(variants: Iterable[Variant], facts: DeviceFacts) -> tuple[Variant, ...]:
    """The variants whose runtime, accelerator and memory this device has."""
    return tuple(variant for variant in variants if not _obstacle(variant, facts))


def obstacles(variants: Iterable[Variant], facts: DeviceFacts) -> str:
    """What keeps each variant from running on this device, in one phrase."""
    return "; ".join(f"{item.name}: {_obstacle(item, facts)}" for item in variants)


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
