"""Decides whether a deployment fits its manifest: everything that it names exists."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Final

from sealane.bundle.manifest import layer_at
from sealane.bundle.types import ITEM_BYTES, DataType
from sealane.errors import BundleError
from sealane.limits import MIB
from sealane.telemetry.names import tensor_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealane.bundle.types import Deployment, Manifest, TensorSpec, Variant

GOLDEN_BYTES: Final = 256 * MIB
"""One golden file: it is read into memory."""

LEAST_TEXT_BYTES: Final = 4
"""Of an empty text: its length."""


def check_references(manifest: Manifest, deployment: Deployment) -> None:
    """Raise BundleError unless every file, tensor and size that the deployment names is there."""
    for variant in deployment.variants:
        _check_variant(manifest, deployment, variant)
    _check_golden(manifest, deployment)
    _check_reference(deployment)


def _check_variant(manifest: Manifest, deployment: Deployment, variant: Variant) -> None:
    where = f"variant {variant.name}"
    for path in variant.files:
        layer_at(manifest, path)
    if variant.model not in variant.files:
        raise BundleError(f"{where} does not list its model {variant.model[:80]!r} in its files")
    outputs = (spec.name for spec in deployment.outputs)
    _check_same_names(variant.tolerance, outputs, f"{where}: the tolerances")


def _check_golden(manifest: Manifest, deployment: Deployment) -> None:
    golden = deployment.golden
    for specs, files, what in (
        (deployment.inputs, golden.inputs, "the golden inputs"),
        (deployment.outputs, golden.outputs, "the golden outputs"),
    ):
        _check_same_names(files, (spec.name for spec in specs), what)
        for spec in specs:
            size = layer_at(manifest, files[spec.name]).size
            _check_golden_size(spec, golden.rows, size)


def _check_golden_size(spec: TensorSpec, rows: int, size: int) -> None:
    batch, *shape = spec.shape
    if batch not in (-1, rows):
        raise BundleError(f"{spec.name} takes {batch} rows at a time, but {rows} are golden")
    if size > GOLDEN_BYTES:
        raise BundleError(
            f"the golden file of {spec.name} is {size} bytes, more than {GOLDEN_BYTES}",
            hint="pack with fewer rows of data",
        )
    free = shape.count(-1)
    if free > 1:
        raise BundleError(f"{spec.name} has more than one free dimension beside the batch")
    fixed = prod(length for length in shape if length != -1) * rows
    if spec.datatype is DataType.BYTES:
        if free or size < fixed * LEAST_TEXT_BYTES:
            raise BundleError(f"the golden texts of {spec.name} are not {fixed}, as its shape says")
        return
    fixed *= ITEM_BYTES[spec.datatype]
    if size % fixed if free else size != fixed:
        raise BundleError(f"the golden file of {spec.name} is {size} bytes, not {fixed}")


def _check_reference(deployment: Deployment) -> None:
    inputs = {spec.name for spec in deployment.inputs}
    named = [bins.input for bins in deployment.reference]
    if not all(tensor_of(name, inputs) for name in named) or len(set(named)) != len(named):
        raise BundleError("the reference bins name an input twice, or one that does not exist")


def _check_same_names(got: Iterable[str], want: Iterable[str], what: str) -> None:
    if set(got) != set(want):
        raise BundleError(f"{what} are not exactly those of the model's tensors")
