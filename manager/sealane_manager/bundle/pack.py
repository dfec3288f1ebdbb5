"""Makes a bundle from model files and data. The same input gives the same digest."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from sealane.bundle.deployment import (
    check_model_name,
    encode_deployment,
    parse_deployment,
    read_agreement,
)
from sealane.bundle.elements import NUMPY_TYPES, bytes_of
from sealane.bundle.jsonform import load
from sealane.bundle.types import Deployment, Golden, Objective, ProbationLimits
from sealane.errors import BundleError
from sealane.limits import DEPLOYMENT_BYTES
from sealane.sampling.terms import read_terms

from sealane_manager.appearing import check_folder
from sealane_manager.bundle.assemble import assemble
from sealane_manager.bundle.golden import choose_rows, golden_outputs, read_data
from sealane_manager.bundle.prove import GoldenTensors, Proof, prove
from sealane_manager.bundle.read_model import read_model
from sealane_manager.bundle.reference import reference_bins
from sealane_manager.bundle.variants import (
    Tolerances,
    VariantSource,
    check_source,
    contract,
    variant_files,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy.typing as npt
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from sealane.bundle.types import Agreement, Manifest, TensorSpec, Tolerance
    from sealane.sampling.types import SamplingTerms

    from sealane_manager.bundle.read_model import OnnxModel

    Tensors = Mapping[str, npt.NDArray[Any]]

_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_]+")


@dataclass(frozen=True, slots=True)
class PackOrder:
    """What shall become a bundle.

    Attributes:
        model: `family/model`.
        onnx: the file whose answers are the golden ones; becomes the variant `onnx-<precision>`.
        data: typical inputs by name; None is refused.
        out: folder of the layout; must not exist.
        variants: further variants.
        tolerance: by variant; goes before the default of its precision.
        instructions: by variant: sets without which a device shall not take it.
        labels: names of the classes, in the order of the model's answer.
        sampling: JSON file that says what of inputs may be kept; None: nothing.
        key: its producer's, who signs all files; None: nobody signs them.
        agreement: JSON file of rules by output; None: those of their kinds.
        objective: by which devices choose among the variants.
    """

    model: str
    onnx: Path
    data: Path | None
    out: Path
    variants: tuple[VariantSource, ...] = ()
    tolerance: Mapping[str, Tolerance] = field(default_factory=dict)
    instructions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    probation: ProbationLimits = field(default_factory=ProbationLimits)
    batch_rows: int = 0
    labels: tuple[str, ...] = ()
    sampling: Path | None = None
    agreement: Path | None = None
    key: EllipticCurvePrivateKey | None = None
    objective: Objective = field(default_factory=Objective)


@dataclass(frozen=True, slots=True)
class Packed:
    """The bundle that was written, and what was proven of its variants."""

    manifest: Manifest
    deployment: Deployment
    proofs: tuple[Proof, ...]


@dataclass(frozen=True, slots=True)
class _Material:
    """What the order's files turned out to be; `files` by variant, each under its bundle path."""

    model: OnnxModel
    sources: tuple[VariantSource, ...]
    files: Mapping[str, Mapping[str, Path]]
    data: Tensors
    golden: GoldenTensors


def pack(order: PackOrder) -> Packed:
    """Make the bundle, or raise SealaneError or OSError; then nothing is left behind."""
    check_model_name(order.model)
    if order.out.exists():
        raise BundleError(f"{order.out} exists already", hint="choose another --out or remove it")
    check_folder(next(each for each in order.out.absolute().parents if each.exists()))
    material = _gather(order)
    deployment = parse_deployment(encode_deployment(_deployment(order, material)))
    pairs = zip(deployment.variants, material.sources, strict=True)
    proofs = tuple(prove(variant, source, material.golden) for variant, source in pairs)
    files: dict[str, Path | bytes] = {}
    for brought in material.files.values():
        files |= brought
    files |= _golden_files(deployment.golden, material.golden)
    manifest = assemble(order.out, deployment, files, order.key)
    return Packed(manifest, deployment, proofs)


def _gather(order: PackOrder) -> _Material:
    model = read_model(order.onnx)
    sources = _sources(order, model)
    data = read_data(order.data, model.inputs)
    chosen = choose_rows(data, model.inputs)
    datatypes = {spec.name: spec.datatype for spec in model.outputs}
    golden = GoldenTensors(chosen, golden_outputs(model, chosen), datatypes)
    files = {source.name: variant_files(source, model) for source in sources}
    return _Material(model, sources, files, data, golden)


def _sources(order: PackOrder, model: OnnxModel) -> tuple[VariantSource, ...]:
    first = VariantSource(f"onnx-{model.precision}", order.onnx, "onnxruntime", model.precision)
    sources = (first, *order.variants)
    for source in sources:
        check_source(source)
    names = [source.name for source in sources]
    if len(set(names)) != len(names):
        raise BundleError(
            f"two variants have one name: {', '.join(names)}", hint="give each its own"
        )
    if unknown := {*order.tolerance, *order.instructions}.difference(names):
        raise BundleError(
            f"no variant is called {', '.join(sorted(unknown))}", hint=f"use {', '.join(names)}"
        )
    return sources


def _deployment(order: PackOrder, material: _Material) -> Deployment:
    model = material.model
    tolerances = Tolerances(model.outputs, order.tolerance)
    return Deployment(
        model=order.model,
        inputs=model.inputs,
        outputs=model.outputs,
        variants=tuple(
            contract(source, material.files[source.name], tolerances, order.instructions)
            for source in material.sources
        ),
        golden=Golden(
            rows=len(next(iter(material.golden.inputs.values()))),
            inputs=_golden_paths("input", model.inputs),
            outputs=_golden_paths("output", model.outputs),
        ),
        reference=reference_bins(_numbers(material.data, model.inputs)),
        probation=order.probation,
        batch_rows=order.batch_rows,
        labels=_labels(order.labels, model.outputs),
        sampling=_sampling(order.sampling, model.inputs),
        agreement=_agreement(order.agreement),
        objective=order.objective,
    )


def _labels(names: tuple[str, ...], outputs: Sequence[TensorSpec]) -> tuple[str, ...]:
    """The names of the classes; raises BundleError when no output has so many."""
    classes = {spec.shape[-1] for spec in outputs if len(spec.shape) > 1 and spec.shape[-1] > 1}
    if names and classes and len(names) not in classes:
        many = " or ".join(map(str, sorted(classes)))
        raise BundleError(
            f"the answer has {many} classes, and --label names {len(names)}",
            hint="name each class once, in the order of the model's answer",
        )
    return names


def _numbers(data: Tensors, inputs: Sequence[TensorSpec]) -> Tensors:
    """The inputs whose distribution devices can watch."""
    return {spec.name: data[spec.name] for spec in inputs if spec.datatype in NUMPY_TYPES}


def _agreement(path: Path | None) -> dict[str, Agreement]:
    """When an output says the same as another release's, in the form that deployment.json has."""
    if path is None:
        return {}
    found = load(path.read_bytes(), DEPLOYMENT_BYTES, path.name)
    return {name: read_agreement(found.fields(name)) for name in found.raw}


def _sampling(path: Path | None, inputs: Sequence[TensorSpec]) -> SamplingTerms | None:
    """What may be kept of inputs, by a file in the form that deployment.json has."""
    if path is None:
        return None
    return read_terms(load(path.read_bytes(), DEPLOYMENT_BYTES, path.name), inputs)


def _golden_paths(kind: str, specs: Sequence[TensorSpec]) -> dict[str, str]:
    """Paths by tensor name; a name that is no path, or too much like another, gets its number."""
    paths: dict[str, str] = {}
    taken: set[str] = set()
    for number, spec in enumerate(specs):
        stem = _UNSAFE.sub("_", spec.name)[:60]
        if stem != spec.name or stem.lower() in taken:
            stem = f"{stem}-{number}"
        taken.add(stem.lower())
        paths[spec.name] = f"golden/{kind}/{stem}.bin"
    return paths


def _golden_files(paths: Golden, golden: GoldenTensors) -> dict[str, bytes]:
    inputs = {paths.inputs[name]: bytes_of(array) for name, array in golden.inputs.items()}
    outputs = {paths.outputs[name]: bytes_of(array) for name, array in golden.outputs.items()}
    return {path: bytes(content) for path, content in (inputs | outputs).items()}


def probation_limits(seconds: float | None, requests: int | None) -> ProbationLimits:
    """The default limits with these two replaced; the deadline never comes before the end."""
    limits = ProbationLimits()
    seconds = limits.seconds if seconds is None else seconds
    return replace(
        limits,
        seconds=seconds,
        min_requests=limits.min_requests if requests is None else requests,
        deadline_seconds=max(limits.deadline_seconds, 2 * seconds),
    )
