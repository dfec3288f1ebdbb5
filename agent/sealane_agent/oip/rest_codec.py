"""Reads and writes the bodies of REST inference: JSON, with the binary tensor extension.

Pure. A body is JSON; with the extension, raw tensors follow it and a header says where the JSON
ends. What a client sent wrongly raises InvalidInference.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from sealane.limits import MIB

from sealane_agent.oip.parameters import read_outputs, read_place, read_request
from sealane_agent.oip.tensors import from_json, parse_datatype, parse_shape, to_json
from sealane_agent.serving.types import Inference, InvalidInference, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sealane_agent.oip.parameters import Source, Wanted, Wish

    Find = Callable[[str], Source]

REST_JSON_BYTES: Final = 8 * MIB
"""JSON of one request: it is read on the loop that serves everybody; larger tensors go binary."""

REST_TENSORS: Final = 256
"""Inputs or outputs named in one request."""


def _nowhere(name: str) -> Source:
    raise InvalidInference(f"no shared memory region {name[:80]!r}")


class Asked(NamedTuple):
    """What a request says beside its tensors, and in which form its outputs are wanted."""

    request_id: str
    wish: Wish
    wanted: Wanted


class RestInference(NamedTuple):
    """One request."""

    inference: Inference
    asked: Asked


class Computed(NamedTuple):
    """Which model, in which version and part of a split, computed an answer."""

    name: str
    version: int
    arm: str | None = None


class RestAnswer(NamedTuple):
    """A response body in parts; `json_bytes` is None when it is only JSON."""

    parts: tuple[bytes | memoryview, ...]
    json_bytes: int | None


def decode_infer(
    body: bytes | memoryview, json_bytes: int | None, find: Find = _nowhere
) -> RestInference:
    """Read a request.

    `json_bytes` is what Inference-Header-Content-Length said, `find` finds shared memory.
    """
    length = len(body) if json_bytes is None else json_bytes
    if not 0 <= length <= len(body):
        raise InvalidInference("Inference-Header-Content-Length is larger than the body")
    if length > REST_JSON_BYTES:
        raise InvalidInference(
            f"the JSON of a request is at most {REST_JSON_BYTES} bytes", hint="send binary data"
        )
    fields = parse_object(bytes(body[:length]))
    inputs = _Inputs(memoryview(body)[length:], find)
    tensors = tuple(inputs.read(item) for item in _objects(fields, "inputs"))
    inputs.finish()
    return _with_outputs(fields, tensors)


def parse_object(content: bytes) -> dict[str, Any]:
    """A JSON object; NaN and infinity are no JSON."""
    try:
        fields = json.loads(content, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidInference("the body is not JSON") from None
    if not isinstance(fields, dict):
        raise InvalidInference("the body is not a JSON object")
    return fields


def _refuse_constant(text: str) -> NoReturn:
    raise InvalidInference(f"JSON has no {text}", hint="send binary data")


def _objects(fields: dict[str, Any], key: str) -> list[dict[str, Any]]:
    items = fields.get(key, [])
    if not isinstance(items, list) or len(items) > REST_TENSORS:
        raise InvalidInference(f"{key!r} is a list of at most {REST_TENSORS} objects")
    if not all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in items):
        raise InvalidInference(f"each of {key!r} is an object with a name")
    return items


def _parameters(item: dict[str, Any]) -> dict[str, Any]:
    parameters = item.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidInference("'parameters' is not an object")
    return parameters


class _Inputs:
    """Cuts the binary inputs off the end of a body, in order."""

    def __init__(self, binary: memoryview, find: Find) -> None:
        self._binary, self._find = binary, find
        self._position = 0

    def read(self, item: dict[str, Any]) -> Tensor:
        name = item["name"]
        datatype, shape = parse_datatype(item.get("datatype")), parse_shape(item.get("shape"))
        parameters = _parameters(item)
        place = read_place(parameters)
        if place is not None:
            content = self._find(place.region).read(place.offset, place.size)
            return Tensor(name, datatype, shape, content)
        size = parameters.get("binary_data_size")
        if size is None:
            return from_json(name, datatype, shape, item.get("data"))
        if "data" in item:
            raise InvalidInference(f"input {name!r} has JSON data and binary data")
        return Tensor(name, datatype, shape, self._take(name, size))

    def _take(self, name: str, size: object) -> memoryview:
        left = len(self._binary) - self._position
        if type(size) is not int or not 0 <= size <= left:
            raise InvalidInference(f"the binary data of input {name!r} goes beyond the body")
        start = self._position
        self._position += size
        return self._binary[start : self._position]

    def finish(self) -> None:
        if self._position != len(self._binary):
            raise InvalidInference(
                "the body is longer than its inputs", hint="check binary_data_size"
            )


def _with_outputs(fields: dict[str, Any], tensors: tuple[Tensor, ...]) -> RestInference:
    outputs = _objects(fields, "outputs")
    request_id = fields.get("id", "")
    if not isinstance(request_id, str):
        raise InvalidInference("'id' is not text")
    wanted = read_request(_parameters(fields))
    wish = read_outputs({item["name"]: _parameters(item) for item in outputs}, binary=wanted.binary)
    return RestInference(
        Inference(tensors, tuple(item["name"] for item in outputs)),
        Asked(request_id, wish, wanted),
    )


def encode_infer(model: Computed, asked: Asked, outputs: tuple[Tensor, ...]) -> RestAnswer:
    """Write a response; raises InvalidInference when an output has no JSON form."""
    parts: list[bytes | memoryview] = []
    described = [_describe(tensor, asked.wish, parts) for tensor in outputs]
    fields: dict[str, Any] = {"model_name": model.name, "model_version": str(model.version)}
    if model.arm is not None:
        fields["parameters"] = {"arm": model.arm}
    if asked.request_id:
        fields["id"] = asked.request_id
    fields["outputs"] = described
    try:
        head = json.dumps(fields, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        raise InvalidInference(
            "an output holds NaN or infinity, which JSON cannot carry", hint="ask for binary data"
        ) from None
    return RestAnswer((head, *parts), len(head) if parts else None)


def _describe(tensor: Tensor, wish: Wish, parts: list[bytes | memoryview]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": tensor.name,
        "datatype": tensor.datatype.value,
        "shape": list(tensor.shape),
    }
    if tensor.name in wish.places:
        # It lies in the region: stock clients of C++ end when anything more is said of it.
        return fields
    if wish.binary.get(tensor.name, wish.binary_default):
        fields["parameters"] = {"binary_data_size": len(tensor.data)}
        parts.append(tensor.data)
    else:
        fields["data"] = to_json(tensor)
    return fields
