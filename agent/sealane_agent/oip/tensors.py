"""Turns JSON data into raw tensors and back, as the Open Inference Protocol writes them.

Pure. What a client sent wrongly raises InvalidInference. Numbers are taken only when their JSON
form means the datatype: no text as numbers, no fractions as integers, nothing out of range.
"""

from __future__ import annotations

import struct
from math import prod
from typing import TYPE_CHECKING, Final

import numpy as np
from sealane.bundle.elements import NUMPY_TYPES
from sealane.bundle.types import DataType

from sealane_agent.serving.types import InvalidInference, Tensor
from sealane_agent.serving.validation import BYTES_ELEMENTS, TENSOR_DIMENSIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from numpy.typing import NDArray

RAW_ONLY: Final = frozenset({DataType.FP16, DataType.BF16})
"""They have no JSON form and no typed contents."""

_KINDS: Final = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}
"""Kinds of JSON values that a datatype of each kind takes."""

_LENGTH: Final = struct.Struct("<I")


def parse_datatype(value: object) -> DataType:
    """The datatype of that name."""
    try:
        return DataType(str(value))
    except ValueError:
        raise InvalidInference(
            f"{str(value)[:40]!r} is not a datatype", hint="they are " + ", ".join(DataType)
        ) from None


def parse_shape(value: object) -> tuple[int, ...]:
    """A shape: a list of sizes, none negative."""
    if not isinstance(value, list) or len(value) > TENSOR_DIMENSIONS:
        raise InvalidInference(f"a shape is a list of at most {TENSOR_DIMENSIONS} sizes")
    if not all(type(size) is int and 0 <= size < 2**63 for size in value):
        raise InvalidInference("every size in a shape is a whole number from 0")
    return tuple(value)


def from_json(name: str, datatype: DataType, shape: tuple[int, ...], data: object) -> Tensor:
    """A tensor from its JSON data, flat or nested."""
    if datatype in RAW_ONLY:
        raise InvalidInference(
            f"input {name!r} is {datatype}, which has no JSON form", hint="send it as binary data"
        )
    if not isinstance(data, list):
        raise InvalidInference(f"the data of input {name!r} is not a list")
    if datatype is DataType.BYTES:
        return Tensor(name, datatype, shape, _pack_texts(name, shape, data))
    return Tensor(name, datatype, shape, _numbers(name, datatype, shape, data).tobytes())


def _numbers(
    name: str, datatype: DataType, shape: tuple[int, ...], data: list[Any]
) -> NDArray[Any]:
    target = NUMPY_TYPES[datatype]
    try:
        values = np.asarray(data)
    except (ValueError, OverflowError):
        raise InvalidInference(f"the data of input {name!r} is ragged") from None
    if values.size and values.dtype.kind not in _KINDS[target.kind]:
        raise InvalidInference(f"the data of input {name!r} does not fit {datatype}")
    if values.size != prod(shape) or (values.ndim > 1 and values.shape != shape):
        raise InvalidInference(
            f"input {name!r} holds {values.size} values, its shape is {list(shape)}"
        )
    return _within_range(name, values, datatype)


def _within_range(name: str, values: NDArray[Any], datatype: DataType) -> NDArray[Any]:
    target = NUMPY_TYPES[datatype]
    if target.kind in "iu" and values.size:
        limits = np.iinfo(target)
        if int(values.min()) < limits.min or int(values.max()) > limits.max:
            raise InvalidInference(f"a value of input {name!r} is out of range for {datatype}")
    with np.errstate(over="ignore"):
        numbers = values.astype(target)
    if target.kind == "f" and not np.isfinite(numbers).all():
        raise InvalidInference(f"a value of input {name!r} is out of range for {datatype}")
    return numbers


def from_values(
    name: str, datatype: DataType, shape: tuple[int, ...], values: Sequence[Any]
) -> Tensor:
    """A tensor from typed values, as gRPC's `contents` hold them: NaN and infinity included."""
    if datatype is DataType.BYTES:
        return Tensor(name, datatype, shape, pack_elements(values))
    try:
        return Tensor(name, datatype, shape, np.array(values, NUMPY_TYPES[datatype]).tobytes())
    except OverflowError:
        raise InvalidInference(
            f"a value of input {name!r} is out of range for {datatype}"
        ) from None


def _pack_texts(name: str, shape: tuple[int, ...], data: list[Any]) -> bytes:
    texts = list(_flatten(name, data))
    if len(texts) != prod(shape):
        raise InvalidInference(
            f"input {name!r} holds {len(texts)} values, its shape is {list(shape)}"
        )
    try:
        return pack_elements(text.encode() for text in texts)
    except UnicodeEncodeError:
        raise InvalidInference(f"the data of input {name!r} is not text") from None


def _flatten(name: str, data: list[Any]) -> list[str]:
    flat: list[str] = []
    waiting: list[Any] = [data]
    while waiting:
        item = waiting.pop()
        if isinstance(item, list):
            waiting.extend(reversed(item))
        elif isinstance(item, str):
            flat.append(item)
        else:
            raise InvalidInference(f"the data of input {name!r} is not text")
        if len(flat) > BYTES_ELEMENTS:
            raise InvalidInference(f"input {name!r} has more than {BYTES_ELEMENTS} elements")
    return flat


def pack_elements(elements: Iterable[bytes]) -> bytes:
    """Elements of a BYTES tensor, each behind its length."""
    return b"".join(_LENGTH.pack(len(element)) + element for element in elements)


def unpack_elements(data: bytes | memoryview) -> list[bytes]:
    """The elements of a well-formed BYTES tensor."""
    view, position, elements = memoryview(data), 0, []
    while position < len(view):
        start = position + _LENGTH.size
        position = start + _LENGTH.unpack_from(view, position)[0]
        elements.append(bytes(view[start:position]))
    return elements


def to_json(tensor: Tensor) -> list[Any]:
    """The flat JSON data of an output; raises InvalidInference when it has no JSON form."""
    if tensor.datatype in RAW_ONLY:
        raise InvalidInference(
            f"output {tensor.name!r} is {tensor.datatype}, which has no JSON form",
            hint="ask for binary data",
        )
    if tensor.datatype is DataType.BYTES:
        return _texts(tensor)
    values: list[Any] = np.frombuffer(tensor.data, NUMPY_TYPES[tensor.datatype]).tolist()
    return values


def _texts(tensor: Tensor) -> list[Any]:
    try:
        return [element.decode() for element in unpack_elements(tensor.data)]
    except UnicodeDecodeError:
        raise InvalidInference(
            f"output {tensor.name!r} is not text", hint="ask for binary data"
        ) from None
