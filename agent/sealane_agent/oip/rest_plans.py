"""Remembers the JSON of REST inference: requests and answers repeat it but for the tensors' bytes.

Pure. Whatever is remembered, a request is read and an answer written as `rest_codec` does.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from sealane.bundle.elements import COPIED_BYTES
from sealane.bundle.types import DataType
from sealane.limits import KIB

from sealane_agent.oip.rest_codec import (
    Asked,
    Computed,
    RestInference,
    decode_infer,
    encode_infer,
)
from sealane_agent.serving.types import Form, Inference, Tensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from sealane_agent.oip.parameters import Source

    Find = Callable[[str], Source]

PLANS: Final = 256
"""Plans that are remembered, the youngest ones."""

PLAN_BYTES: Final = 4 * KIB
"""JSON of a request that is worth remembering."""

_ID: Final = re.compile(rb'\{"id": ?"([ !#-\[\]-~]{1,128})", ?(?=")')
"""How the JSON of a request with an id begins, as stock clients write it."""


class Plan(NamedTuple):
    """What the JSON of a request says whose tensors are all binary: how to cut the rest.

    Attributes:
        tensors: each input without its bytes, and where these are, counted from the JSON's end.
        asked: what it says beside them, without an id.
    """

    tensors: tuple[tuple[Tensor, int, int], ...]
    outputs: tuple[str, ...]
    asked: Asked
    size: int
    form: Form


class Plans:
    """Plans of requests that were read before, by their JSON: clients repeat it word by word.

    The JSON of a request may begin with an id of its own, so that is kept apart.
    """

    def __init__(self) -> None:
        self._known: dict[bytes, Plan] = {}
        self._last: tuple[bytes, Plan | None] = (b"", None)

    def find(self, body: bytes | memoryview, json_bytes: int | None) -> RestInference | None:
        """A request whose JSON was read before; None when it has to be read."""
        if json_bytes is None or json_bytes > PLAN_BYTES:
            return None
        key, plan = self._last
        request_id = ""
        if len(key) != json_bytes or body[:json_bytes] != key:
            key, request_id = _cut(body, json_bytes)
            plan = self._known.get(key)
            if plan is not None and not request_id:
                self._last = key, plan
        if plan is None or plan.size != len(body) - json_bytes:
            return None
        view = body if len(body) <= COPIED_BYTES else memoryview(body)
        inputs = []
        for (name, datatype, shape, _), start, stop in plan.tensors:
            data = view[json_bytes + start : json_bytes + stop]
            inputs.append(Tensor(name, datatype, shape, data))
        asked = plan.asked._replace(request_id=request_id) if request_id else plan.asked
        return RestInference(Inference(tuple(inputs), plan.outputs, plan.form), asked)

    def read(self, body: bytes | memoryview, json_bytes: int | None, find: Find) -> RestInference:
        """Read a request as `decode_infer` does, to find the next one like it."""
        read = decode_infer(body, json_bytes, find)
        if json_bytes is not None and json_bytes <= PLAN_BYTES:
            key, request_id = _cut(body, json_bytes)
            if read.asked.request_id == request_id:
                self._remember(key, read, len(body) - json_bytes)
        return read

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
        asked = read.asked._replace(request_id="")
        self._known[key] = Plan(tuple(tensors), read.inference.outputs, asked, start, Form())


def _cut(body: bytes | memoryview, json_bytes: int) -> tuple[bytes, str]:
    """The JSON that is repeated, and the id that is not."""
    head = bytes(body[:json_bytes])
    begin = _ID.match(head) if head.startswith(b'{"id"') else None
    return (head[begin.end() :], begin[1].decode()) if begin else (head, "")


@dataclass(slots=True, eq=False)
class AnswerForm:
    """The JSON of answers that differ in their tensors' bytes only.

    Attributes:
        json: the whole of it, without an id; one would stand at `id_at`.
        note: what a door remembers of such answers.
    """

    json: bytes
    id_at: int
    note: Any = None

    def with_id(self, request_id: str) -> bytes:
        """The JSON of an answer to a request with an id."""
        own = f'"id":{json.dumps(request_id)},'.encode()
        return self.json[: self.id_at] + own + self.json[self.id_at :]


class Answers:
    """Forms of answers that were written before."""

    def __init__(self) -> None:
        self._known: dict[Any, AnswerForm] = {}

    def find(
        self,
        model: tuple[str, int, str | None],
        request: RestInference,
        outputs: tuple[Tensor, ...],
    ) -> AnswerForm | None:
        """The form of an answer that a model computed; None when its JSON is not just repeated."""
        (_, _, repeated, _), asked = request
        wish = asked.wish
        if repeated is None or not wish.plain:
            return None
        described: list[Any] = [model, wish]
        for name, datatype, shape, data in outputs:
            described += name, datatype, shape, len(data)
        key = tuple(described)
        return self._known.get(key) or self._remember(key, asked, outputs)

    def _remember(self, key: Any, asked: Asked, outputs: tuple[Tensor, ...]) -> AnswerForm | None:
        answer = encode_infer(Computed(*key[0]), asked._replace(request_id=""), outputs)
        if answer.json_bytes is None or len(answer.parts) != len(outputs) + 1:
            return None
        head = bytes(answer.parts[0])
        while len(self._known) >= PLANS:
            self._known.pop(next(iter(self._known)))
        self._known[key] = AnswerForm(head, head.index(b'"outputs":'))
        return self._known[key]
