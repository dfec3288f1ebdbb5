"""Decides what each variant brings into a bundle: its files, its contract, its tolerances."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sealane.bundle.deployment import ACCELERATORS
from sealane.bundle.fit import INSTRUCTIONS
from sealane.bundle.types import DataType, Needs, Tolerance, Variant
from sealane.errors import BundleError

from sealane_manager.bundle.read_model import read_model

if TYPE_CHECKING:
    from sealane.bundle.types import TensorSpec

    from sealane_manager.bundle.read_model import OnnxModel

DEFAULT_TOLERANCE: Final[Mapping[str, Tolerance]] = {
    "fp64": Tolerance(1e-4, 1e-4),
    "fp32": Tolerance(1e-4, 1e-4),
    "fp16": Tolerance(1e-2, 1e-2),
    "bf16": Tolerance(3e-2, 3e-2),
    "int8": Tolerance(5e-2, 5e-2),
}
"""Against the unoptimised fp32 model; whole numbers and flags must always be equal."""

Instructions = Mapping[str, tuple[str, ...]]
"""Sets of instructions, by variant."""

RUNTIMES: Final = ("onnxruntime", "openvino")

_FLOATS: Final = frozenset({DataType.FP16, DataType.BF16, DataType.FP32, DataType.FP64})
_GRAMMAR: Final = "write NAME=PATH:RUNTIME:PRECISION, e.g. ov-fp32=model.xml:openvino:fp32"


@dataclass(frozen=True, slots=True)
class VariantSource:
    """A variant as the producer names it: files on disk and what shall run them."""

    name: str
    path: Path
    runtime: str
    precision: str
    accelerator: str = "cpu"

    @classmethod
    def parse(cls, text: str) -> VariantSource:
        """Read `NAME=PATH:RUNTIME:PRECISION[:ACCELERATOR]`, or raise BundleError."""
        name, _, rest = text.partition("=")
        accelerator = "cpu"
        if rest.rpartition(":")[2] in ACCELERATORS:
            rest, _, accelerator = rest.rpartition(":")
        path, *words = rest.rsplit(":", 2)
        if not (name and path and len(words) == 2):  # noqa: PLR2004 - runtime and precision
            raise BundleError(f"{text!r} is not a variant", hint=_GRAMMAR)
        return cls(name, Path(path), words[0], words[1], accelerator)


def check_source(source: VariantSource) -> None:
    """Raise BundleError for a runtime or precision that no device could be told about."""
    for word, allowed in ((source.runtime, RUNTIMES), (source.precision, DEFAULT_TOLERANCE)):
        if word not in allowed:
            raise BundleError(
                f"variant {source.name}: {word!r} is unknown", hint=f"use {', '.join(allowed)}"
            )


def variant_files(source: VariantSource, model: OnnxModel) -> dict[str, Path]:
    """Every file of a variant under its path in the bundle, the model first.

    Raises BundleError when one is missing, or when the variant takes other tensors than the model.
    """
    if source.path.suffix == ".xml":
        return _openvino_files(source)
    read = model if source.path == model.path else read_model(source.path)
    if (read.inputs, read.outputs) != (model.inputs, model.outputs):
        raise BundleError(
            f"variant {source.name} does not take and give the same tensors as the model",
            hint="keep names, shapes and datatypes of inputs and outputs, e.g. keep_io_types",
        )
    file = source.path.resolve()
    beside = {f"{source.name}/{name}": file.parent / name for name in read.external}
    return {f"{source.name}/model.onnx": file, **beside}


def _openvino_files(source: VariantSource) -> dict[str, Path]:
    weights = source.path.with_suffix(".bin")
    for path in (source.path, weights):
        if not path.is_file():
            raise BundleError(f"{path} is not a file", hint="an OpenVINO IR is a .xml and a .bin")
    with source.path.open("rb") as file:
        if b"<net" not in file.read(4096):
            raise BundleError(f"{source.path} is not an OpenVINO IR")
    if source.runtime != "openvino":
        raise BundleError(f"variant {source.name}: an OpenVINO IR runs on openvino only")
    model = f"{source.name}/model"
    return {f"{model}.xml": source.path.resolve(), f"{model}.bin": weights.resolve()}


def contract(
    source: VariantSource, files: Mapping[str, Path], tolerance: Tolerances, given: Instructions
) -> Variant:
    """The variant as deployment.json has it; the first of the files is the model."""
    names = tuple(files)
    return Variant(
        name=source.name,
        runtime=source.runtime,
        accelerator=source.accelerator,
        precision=source.precision,
        model=names[0],
        files=names,
        tolerance=tolerance.of(source),
        needs=_needs(source, given.get(source.name, ())),
    )


def _needs(source: VariantSource, instructions: tuple[str, ...]) -> Needs:
    if source.path.suffix == ".xml":
        return Needs(instructions=instructions)
    model = read_model(source.path)
    return Needs(model.opset, model.ir_version, instructions)


def parse_instructions(text: str) -> tuple[str, tuple[str, ...]]:
    """Read `VARIANT=avx512,vnni`, or raise BundleError."""
    name, _, listed = text.partition("=")
    found = tuple(listed.split(","))
    if not name or not listed or not {*found} <= INSTRUCTIONS.keys():
        known = ", ".join(INSTRUCTIONS)
        raise BundleError(
            f"{text!r} names no sets of instructions", hint=f"write VARIANT=SET,SET of {known}"
        )
    return name, found


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Tolerances for the outputs of one model.

    Attributes:
        outputs: the model's outputs.
        given: by variant; these go before the defaults of the precision.
    """

    outputs: tuple[TensorSpec, ...]
    given: Mapping[str, Tolerance]

    def of(self, source: VariantSource) -> dict[str, Tolerance]:
        """One tolerance per output."""
        close = self.given.get(source.name, DEFAULT_TOLERANCE[source.precision])
        exact = Tolerance(0.0, 0.0)
        return {spec.name: close if spec.datatype in _FLOATS else exact for spec in self.outputs}


def parse_tolerance(text: str) -> tuple[str, Tolerance]:
    """Read `VARIANT=ATOL:RTOL`, or raise BundleError."""
    name, _, numbers = text.partition("=")
    atol, _, rtol = numbers.partition(":")
    try:
        return name, Tolerance(float(atol), float(rtol))
    except ValueError as error:
        raise BundleError(
            f"{text!r} is not a tolerance", hint="write VARIANT=ATOL:RTOL, e.g. fp16=0.01:0.01"
        ) from error
