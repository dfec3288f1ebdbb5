"""Checks a request against a deployment's contract: names, datatypes, shapes and byte lengths.

Pure. Everything here raises InvalidInference with one sentence for the client.
"""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING, Final

from sealane.bundle.types import ITEM_BYTES, DataType

from sealane_agent.serving.types import InvalidInference

if TYPE_CHECKING:
    from sealane.bundle.types import Deployment, TensorSpec

    from sealane_agent.serving.types import Inference, Tensor

TENSOR_DIMENSIONS: Final = 16
"""Dimensions of one tensor: engines stop at 8 or 16."""

BYTES_ELEMENTS: Final = 1_000_000
"""Elements of one BYTES tensor: each is walked on the loop that serves everybody."""

_LENGTH: Final = struct.Struct("<I")


def check_inference(deployment: Deployment, inference: Inference) -> None:
    """Every input once and as the contract says, every named output known."""
    specs = {spec.name: spec for spec in deployment.inputs}
    seen: set[str] = set()
    for tensor in inference.inputs:
        if tensor.name in seen:
            raise InvalidInference(f"input {tensor.name!r} is given twice")
        seen.add(tensor.name)
        check_tensor(_spec(specs, tensor.name), tensor)
    missing = [name for name in specs if name not in seen]
    if missing:
        raise InvalidInference(f"input {missing[0]!r} is missing", hint=_known(specs))
    _check_outputs(deployment, inference.outputs)


def _spec(specs: dict[str, TensorSpec], name: str) -> TensorSpec:
    if name not in specs:
        raise InvalidInference(f"the model has no input {name[:80]!r}", hint=_known(specs))
    return specs[name]


def _known(specs: dict[str, TensorSpec]) -> str:
    return "its inputs are " + ", ".join(sorted(specs))


def _check_outputs(deployment: Deployment, outputs: tuple[str, ...]) -> None:
    known = {spec.name for spec in deployment.outputs}
    for name in outputs:
        if name not in known:
            raise InvalidInference(
                f"the model has no output {name[:80]!r}",
                hint="its outputs are " + ", ".join(sorted(known)),
            )
    if len(set(outputs)) != len(outputs):
        raise InvalidInference("an output is asked for twice")


def check_tensor(spec: TensorSpec, tensor: Tensor) -> None:
    """One tensor against its specification."""
    if tensor.datatype is not spec.datatype:
        raise InvalidInference(
            f"input {tensor.name!r} has datatype {tensor.datatype}, the model takes {spec.datatype}"
        )
    if not _shape_fits(spec.shape, tensor.shape):
        raise InvalidInference(
            f"input {tensor.name!r} has shape {list(tensor.shape)[:TENSOR_DIMENSIONS]}, "
            f"the model takes {list(spec.shape)}",
            hint="-1 stands for any size",
        )
    check_length(tensor)


def _shape_fits(wanted: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(wanted) == len(shape) and all(
        size >= 1 and want in (-1, size) for want, size in zip(wanted, shape, strict=True)
    )


def check_length(tensor: Tensor) -> None:
    """The bytes of a tensor are as many as its shape and datatype say."""
    elements = prod(tensor.shape)
    if tensor.datatype is DataType.BYTES:
        check_bytes_elements(tensor, elements)
        return
    expected = elements * ITEM_BYTES[tensor.datatype]
    if len(tensor.data) != expected:
        raise InvalidInference(
            f"input {tensor.name!r} holds {len(tensor.data)} bytes, "
            f"its shape and datatype need {expected}"
        )


def check_bytes_elements(tensor: Tensor, elements: int) -> None:
    """A BYTES tensor holds exactly its elements, each behind its length."""
    if elements > BYTES_ELEMENTS:
        raise InvalidInference(
            f"input {tensor.name!r} has {elements} elements, at most {BYTES_ELEMENTS} are taken"
        )
    position = 0
    for _ in range(elements):
        if position + _LENGTH.size > len(tensor.data):
            raise InvalidInference(f"input {tensor.name!r} ends before its last element")
        position += _LENGTH.size + _LENGTH.unpack_from(tensor.data, position)[0]
    if position != len(tensor.data):
        raise InvalidInference(f"the elements of input {tensor.name!r} do not add up to its bytes")
