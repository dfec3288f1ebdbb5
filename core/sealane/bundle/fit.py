"""Decides which variants of a bundle a device can run, and which files they need. Pure.

Devices decide by it what they fetch; the manager foresees by it what they will decide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sealane.bundle.types import Deployment, Layer, Variant
    from sealane.fleet import DeviceFacts, RuntimeFact


INSTRUCTIONS: Final[Mapping[str, frozenset[str]]] = {
    "avx2": frozenset({"avx2"}),
    "avx512": frozenset({"avx512f"}),
    "vnni": frozenset({"avx512_vnni", "avx_vnni"}),
    "amx": frozenset({"amx_tile"}),
    "neon": frozenset({"asimd", "neon"}),
    "dotprod": frozenset({"asimddp"}),
    "i8mm": frozenset({"i8mm"}),
}
"""Instruction sets by our names, and what Linux calls them; one of these is enough."""


def eligible(variants: Iterable[Variant], facts: DeviceFacts) -> tuple[Variant, ...]:
    """The variants whose runtime, accelerator, memory and instructions this device has."""
    return tuple(variant for variant in variants if not _obstacle(variant, facts))


def obstacles(variants: Iterable[Variant], facts: DeviceFacts) -> str:
    """What keeps each variant from running on this device, in one phrase."""
    return "; ".join(f"{item.name}: {_obstacle(item, facts)}" for item in variants)


def _obstacle(variant: Variant, facts: DeviceFacts) -> str:
    runtime = next((item for item in facts.runtimes if item.name == variant.runtime), None)
    if runtime is None:
        return f"runtime {variant.runtime} is not installed"
    if variant.accelerator not in runtime.accelerators:
        why = dict(runtime.lost).get(variant.accelerator)
        more = f" any more: {why}" if why else ""
        return f"runtime {variant.runtime} finds no {variant.accelerator} here{more}"
    if variant.memory_bytes > facts.memory_bytes:
        return f"needs {variant.memory_bytes} bytes of memory of {facts.memory_bytes}"
    return _too_new(variant, runtime) or _missing_instructions(variant, facts)


def _too_new(variant: Variant, runtime: RuntimeFact) -> str:
    """What an engine does not know it judges here, not by a load that fails; 0: nobody knows."""
    engine = f"{runtime.name} {runtime.version}"
    needs = variant.needs
    if runtime.opset and needs.opset > runtime.opset:
        return f"needs opset {needs.opset}, {engine} knows up to {runtime.opset}"
    if runtime.ir_version and needs.ir_version > runtime.ir_version:
        return f"needs IR version {needs.ir_version}, {engine} knows up to {runtime.ir_version}"
    return ""


def _missing_instructions(variant: Variant, facts: DeviceFacts) -> str:
    missing = [each for each in variant.needs.instructions if each not in facts.instructions]
    if not facts.instructions or not missing:
        return ""
    return f"needs {', '.join(missing)}, the processor has {', '.join(facts.instructions)}"


def needed(
    layers: Iterable[Layer], deployment: Deployment, chosen: Iterable[Variant]
) -> tuple[Layer, ...]:
    """The layers that these variants need: their files and what proves them.

    A file that no variant names (a card, a licence) is small and comes along.
    """
    mine = {path for variant in chosen for path in variant.files}
    theirs = {path for variant in deployment.variants for path in variant.files} - mine
    return tuple(layer for layer in layers if layer.path not in theirs)
