"""Reads and writes ModelInfer messages that repeat earlier ones, without parsing them again.

Pure. A client repeats all of a request but its id and its tensors' bytes. What is left of a message
without these says how it is to be cut, so it is parsed once and recognised from then on. A message
in which anything is unusual (fields out of order, an id twice, what the protocol does not have) is
parsed each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sealane.bundle.types import DataType
from sealane.limits import KIB

from sealane_agent.oip.grpc_codec import GrpcInference, decode_infer, encode_infer, parse_infer
from sealane_agent.oip.parameters import PLAIN
from sealane_agent.oip.rest_paths import parse_version
from sealane_agent.serving.types import Form, Inference

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane_agent.oip.grpc_codec import Computed
    from sealane_agent.oip.parameters import Source, Wish
    from sealane_agent.serving.types import Tensor

    Find = Callable[[str], Source]

PLANS: Final = 256
"""Plans that are remembered, the youngest ones."""

PLAN_BYTES: Final = 4 * KIB
"""Of a message without its tensors that is worth remembering."""

_ID: Final = 0x1A
_RAW: Final = 0x3A
_TAGS: Final = frozenset({0x0A, 0x12, _ID, 0x22, 0x2A, 0x32, _RAW})
"""Fields 1 to 7 of a ModelInferRequest, as they begin on the wire: all have a length."""

_OUT_ID: Final = b"\x1a"
_OUT_RAW: Final = b"\x32"
_MORE: Final = 0x80
_LENGTH_BITS: Final = 35
"""Of the longest length that a message can have."""


class Asked(NamedTuple):
    """One request: of which model and version, under which id, and what it says."""

    model: str
    version: int | None
    request_id: str
    decoded: GrpcInference


class Cut(NamedTuple):
    """A message in parts: what it repeats, its id, and where each tensor's bytes are."""

    kept: bytes
    request_id: bytes
    raw: tuple[tuple[int, int], ...]


class _Plan(NamedTuple):
    """How messages with the same `kept` and sizes are read; `asked` is the first one's."""

    asked: Asked
    sizes: tuple[int, ...]
    form: Form


def cut(message: bytes) -> Cut | None:
    """Cut a message; None when it is unusual."""
    try:
        return _cut(message)
    except IndexError:
        return None


def _cut(message: bytes) -> Cut | None:
    """Raises IndexError when a field is cut off."""
    at, size, head_end, id_from, id_to = 0, len(message), len(message), 0, 0
    request_id, raw = b"", []
    while at < size:
        begin, tag = at, message[at]
        at, stop = _span(message, at + 1)
        if tag == _RAW:
            head_end = min(head_end, begin)
            raw.append((at, stop))
        elif raw or tag not in _TAGS or (tag == _ID and id_to):
            return None
        elif tag == _ID:
            request_id, id_from, id_to = message[at:stop], begin, stop
        at = stop
    if at != size or not request_id.isascii():
        return None
    return Cut(message[:id_from] + message[id_to:head_end], request_id, tuple(raw))


def _span(message: bytes, at: int) -> tuple[int, int]:
    """Where a field's content begins and ends; raises IndexError when it has no length."""
    size, shift = 0, 0
    while shift < _LENGTH_BITS:
        byte = message[at]
        at += 1
        size |= (byte & (_MORE - 1)) << shift
        if byte < _MORE:
            return at, at + size
        shift += 7
    raise IndexError


class Plans:
    """Plans of messages that were read before."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Plan] = {}

    def decode(self, message: bytes, find: Find) -> Asked:
        """Read a message; `find` finds shared memory. Raises InvalidInference."""
        parts = cut(message)
        if parts is None:
            return read_infer(parse_infer(message), find)
        plan = self._known.get(parts.kept)
        sizes = tuple([stop - start for start, stop in parts.raw])
        if plan is None or plan.sizes != sizes:
            asked = read_infer(parse_infer(message), find)
            self._remember(parts.kept, asked, sizes)
            return asked
        view = memoryview(message)
        model, version, _, decoded = plan.asked
        inputs = tuple(
            [
                tensor._replace(data=view[start:stop])
                for tensor, (start, stop) in zip(decoded.inference.inputs, parts.raw, strict=True)
            ]
        )
        given = Inference(inputs, decoded.inference.outputs, plan.form)
        now = GrpcInference(given, decoded.wish, decoded.wanted)
        return Asked(model, version, parts.request_id.decode(), now)

    def _remember(self, kept: bytes, asked: Asked, sizes: tuple[int, ...]) -> None:
        inference = asked.decoded.inference
        if len(kept) > PLAN_BYTES or len(inference.inputs) != len(sizes):
            return
        if any(tensor.datatype is DataType.BYTES for tensor in inference.inputs):
            return
        bare = tuple(tensor._replace(data=b"") for tensor in inference.inputs)
        decoded = asked.decoded._replace(inference=inference._replace(inputs=bare))
        while len(self._known) >= PLANS:
            self._known.pop(next(iter(self._known)))
        self._known[kept] = _Plan(asked._replace(decoded=decoded), sizes, Form())


def read_infer(request: Any, find: Find) -> Asked:
    """What a parsed message asks; raises InvalidInference."""
    version = parse_version(request.model_version)
    return Asked(request.model_name, version, request.id, decode_infer(request, find))


class Answers:
    """Writes answers, and remembers those that are repeated but for id and bytes."""

    def __init__(self) -> None:
        self._known: dict[Any, bytes] = {}

    def encode(self, answer: Computed, wish: Wish, outputs: tuple[Tensor, ...]) -> bytes:
        """A ModelInferResponse."""
        if wish.places:
            return encode_infer(answer, outputs, wish).SerializeToString()
        forms = tuple([tensor[:3] for tensor in outputs])
        key = (answer.model, answer.version, answer.arm, forms)
        head = self._known.get(key)
        if head is None:
            head = self._remember(key, answer, outputs)
        parts: list[bytes | memoryview] = [head]
        if answer.request_id:
            _put(parts, _OUT_ID, answer.request_id.encode())
        for tensor in outputs:
            _put(parts, _OUT_RAW, tensor.data)
        return b"".join(parts)

    def _remember(self, key: Any, answer: Computed, outputs: tuple[Tensor, ...]) -> bytes:
        response = encode_infer(answer._replace(request_id=""), outputs, PLAIN)
        response.ClearField("raw_output_contents")
        while len(self._known) >= PLANS:
            self._known.pop(next(iter(self._known)))
        self._known[key] = head = response.SerializeToString()
        return head


def _put(parts: list[bytes | memoryview], tag: bytes, content: bytes | memoryview) -> None:
    """One more field with a length."""
    size = len(content)
    length = bytearray()
    while size >= _MORE:
        length.append(size & (_MORE - 1) | _MORE)
        size >>= 7
    length.append(size)
    parts += (tag, bytes(length), content)
