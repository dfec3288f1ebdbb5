"""Proves at pack time what a device will prove again: each variant gives the golden outputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from sealane.bundle.elements import comparable
from sealane.bundle.golden import largest_deviation
from sealane.bundle.types import DataType
from sealane.errors import BundleError

from sealane_manager.bundle.engines import is_installed, run

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    from sealane.bundle.types import Variant

    from sealane_manager.bundle.variants import VariantSource

    Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of one variant.

    Attributes:
        deviation: largest |got - golden| over all outputs; None when it could not be run here.
        reason: why it could not be run; empty when it was.
    """

    variant: str
    deviation: float | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class GoldenTensors:
    """Golden inputs and outputs as arrays; of outputs the datatypes, where numpy has none."""

    inputs: Tensors
    outputs: Tensors
    datatypes: Mapping[str, DataType] = field(default_factory=dict)


def prove(variant: Variant, source: VariantSource, golden: GoldenTensors) -> Proof:
    """Run the variant where this machine can, or raise BundleError when it answers otherwise."""
    if variant.accelerator != "cpu":
        return Proof(variant.name, None, f"packing runs no {variant.accelerator}")
    if not is_installed(variant.runtime):
        return Proof(variant.name, None, f"{variant.runtime} is not installed here")
    got = run(variant.runtime, source.path.resolve(), golden.inputs, variant.precision)
    deviations = [
        _deviation(variant, name, (_values(golden, name, got), _values(golden, name, {name: want})))
        for name, want in golden.outputs.items()
    ]
    return Proof(variant.name, max(deviations))


def _values(golden: GoldenTensors, name: str, answer: Tensors) -> npt.NDArray[Any] | None:
    if name not in answer:
        return None
    return comparable(np.asarray(answer[name]), golden.datatypes.get(name, DataType.FP32))


def _deviation(
    variant: Variant, name: str, answers: tuple[npt.NDArray[Any] | None, npt.NDArray[Any] | None]
) -> float:
    got, want = answers
    if got is None or want is None:
        raise BundleError(f"variant {variant.name} has no output {name}")
    tolerance = variant.tolerance[name]
    passed, deviation = largest_deviation(got, want, tolerance)
    if not passed:
        raise BundleError(
            f"variant {variant.name} does not give the golden {name}: "
            f"it is off by {deviation:g}, allowed are {tolerance.atol:g} + {tolerance.rtol:g}·|x|",
            hint=f"correct the variant, or allow it: --tolerance {variant.name}=ATOL:RTOL",
        )
    return deviation
