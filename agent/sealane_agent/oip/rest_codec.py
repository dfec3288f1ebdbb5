"""Reads and writes the bodies of REST inference: JSON, with the binary tensor extension.

Pure. A body is JSON; with the extension, raw tensors follow it and a header says where the JSON
ends. What a client sent wrongly raises InvalidInference.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn

from sealane.bundle.types import DataType
from sealane.limits import KIB, MIB

from sealane_agent.oip.parameters import read_outputs, read_place, read_request
from sealane_agent.oip.tensors import from_json, parse_datatype, parse_shape, to_json
from sealane_agent.serving.types import Form, Inference, InvalidInference, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sealane_agent.oip.parameters import Source, Wanted, Wish

    Find = Callable[[str], Source]

REST_JSON_BYTES: Final = 8 * MIB
"""JSON of one request: it is read on the loop that serves everybody; larger tensors go binary."""

REST_TENSORS: Final = 256
"""Inputs or outputs named in one request."""

PLANS: Final = 256
"""Plans that are remembered, the youngest ones."""

PLAN_BYTES: Final = 4 * KIB
"""JSON of a request that is worth remembering."""

_ID: Final = re.compile(rb'\{"id": ?"([ !#-\[\]-~]{1,128})", ?(?=")')
"""How the JSON of a request with an id begins, as stock clients write it."""


def _nowhere(name: str) -> Source:
    raise InvalidInference(f"no shared memory region {name[:80]!r}")


class RestInference(NamedTuple):
    """One request, and in which form its outputs are wanted."""

    inference: Inference
    request_id: str
    wish: Wish
    wanted: Wanted


class Plan(NamedTuple):
    """What the JSON of a request says whose tensors are all binary: how to cut the rest.

    Attributes:
        tensors: each input without its bytes, and where these are, counted from the JSON's end.
    """

    tensors: tuple[tuple[Tensor, int, int], ...]
    outputs: tuple[str, ...]
    wish: Wish
    wanted: Wanted
    size: int
    form: Form


class Plans:
    """Plans of requests that were read before, by their JSON: clients repeat it word by word.

    The JSON of a request may begin with an id of its own, so that is kept apart.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Plan] = {}

    def decode(
        self, body: bytes | memoryview, json_bytes: int | None, find: Find = _nowhere
    ) -> RestInference:
        """Read a request as `decode_infer` does."""
        if json_bytes is None or json_bytes > PLAN_BYTES:
            return decode_infer(body, json_bytes, find)
        head = bytes(body[:json_bytes])
        begin = _ID.match(head) if head[:5] == b'{"id"' else None
        key = head[begin.end() :] if begin else head
        request_id = begin[1].decode() if begin else ""
        plan = self._known.get(key)
        if plan is None or plan.size != len(body) - json_bytes:
            read = decode_infer(body, json_bytes, find)
            if read.request_id == request_id:
                self._remember(key, read, len(body) - json_bytes)
            return read
        view = memoryview(body)
        inputs = tuple(
            [
                Tensor(name, datatype, shape, view[json_bytes + start : json_bytes + stop])
                for (name, datatype, shape, _), start, stop in plan.tensors
            ]
        )
        given = Inference(inputs, plan.outputs, plan.form)
        return RestInference(given, request_id, plan.wish, plan.wanted)

    def _remember(self, key: bytes, read: RestInference, size: int) -> None:
        tensors, start = [], 0
        for tensor in read.inference.inputs:
            if tensor.datatype is DataType.BYTES or not isinstance(tensor.data, memoryview):
                return
            stop = start + len(tensor.data)
            tensors.append((tensor._replace(data=b""), start, stop))
            start = stop
        if start != size:
            return
        while len(self._known) >= PLANS:
            self._known.pop(next(iter(self._known)))
        self._known[key] = Plan(
            tuple(tensors), read.inference.outputs, read.wish, read.wanted, start, Form()
        )


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
        request_id,
        wish,
        wanted,
    )


def encode_infer(
    model: Computed, request: RestInference, outputs: tuple[Tensor, ...]
) -> RestAnswer:
    """Write a response; raises InvalidInference when an output has no JSON form."""
    parts: list[bytes | memoryview] = []
    described = [_describe(tensor, request, parts) for tensor in outputs]
    fields: dict[str, Any] = {"model_name": model.name, "model_version": str(model.version)}
    if model.arm is not None:
        fields["parameters"] = {"arm": model.arm}
    if request.request_id:
        fields["id"] = request.request_id
    fields["outputs"] = described
    try:
        head = json.dumps(fields, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        raise InvalidInference(
            "an output holds NaN or infinity, which JSON cannot carry", hint="ask for binary data"
        ) from None
    return RestAnswer((head, *parts), len(head) if parts else None)


class Answers:
    """Encodes answers, and remembers the JSON of those that are repeated: it tells only forms."""

    def __init__(self) -> None:
        self._known: dict[Any, tuple[bytes, bytes]] = {}

    def encode(
        self, model: Computed, request: RestInference, outputs: tuple[Tensor, ...]
    ) -> RestAnswer:
        """Write a response as `encode_infer` does."""
        inference, request_id, wish, _ = request
        if inference.form is None or not wish.plain:
            return encode_infer(model, request, outputs)
        forms = tuple([(tensor[:3], len(tensor.data)) for tensor in outputs])
        found = self._known.get((model, wish, forms))
        if found is None:
            answer = encode_infer(model, request._replace(request_id=""), outputs)
            if answer.json_bytes is None or len(answer.parts) != len(outputs) + 1:
                return encode_infer(model, request, outputs)
            found = self._remember((model, wish, forms), bytes(answer.parts[0]))
        begin, end = found
        middle = f'"id":{json.dumps(request_id)},'.encode() if request_id else b""
        head = begin + middle + end
        return RestAnswer((head, *[tensor.data for tensor in outputs]), len(head))

    def _remember(self, key: Any, head: bytes) -> tuple[bytes, bytes]:
        while len(self._known) >= PLANS:
            self._known.pop(next(iter(self._known)))
        place = head.index(b'"outputs":')
        self._known[key] = head[:place], head[place:]
        return self._known[key]


def _describe(
    tensor: Tensor, request: RestInference, parts: list[bytes | memoryview]
) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": tensor.name,
        "datatype": tensor.datatype.value,
        "shape": list(tensor.shape),
    }
    if tensor.name in request.wish.places:
        # It lies in the region: stock clients of C++ end when anything more is said of it.
        return fields
    if request.wish.binary.get(tensor.name, request.wish.binary_default):
        fields["parameters"] = {"binary_data_size": len(tensor.data)}
        parts.append(tensor.data)
    else:
        fields["data"] = to_json(tensor)
    return fields
