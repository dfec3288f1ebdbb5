"""A thin client for models on the same machine: arrays in, arrays out, one HTTP connection.

Stock clients of the protocol cost more processor time than the endpoint that they ask. This one
keeps what it says about a model's tensors, sends their bytes without copying them, and reads the
answer into one buffer. It needs numpy and nothing else.

    from sealane.client import Client

    with Client("unix:/var/lib/sealane-agent/run/inference.sock") as client:
        answer = client.infer("cam", {"image": frame[None]})
        scores = answer.outputs["scores"]      # an array of shape (1, classes)
        version = answer.version               # the release that computed it

Large tensors need not be sent: an array that `Client.shared` makes lies in memory that the endpoint
reads and writes itself, where its owner allows that.

        frame = client.shared((1, 480, 640, 3), "uint8")
        camera.read_into(frame)
        answer = client.infer("cam", {"image": frame})

Texts (BYTES) are arrays of `str` or `bytes`, and come back as `str`. numpy has no BF16: `bf16`
makes it from floats, and it comes back as floats of 32 bits, which are the same numbers.

Requests of one client go one after the other; give each thread a client of its own.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import quote

import numpy as np

from sealane.client_forms import Given, bf16, describe, given, understand
from sealane.errors import SealaneError
from sealane.limits import KIB, MIB
from sealane.shared_memory import SharedRegion, find

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import DTypeLike, NDArray

    from sealane.client_forms import AnswerForm

    Arrays = Mapping[str, NDArray[Any]]

__all__ = ["Answer", "Client", "EndpointAway", "EndpointRefused", "bf16"]

TIMEOUT_S: Final = 30.0
"""For a connection, and for each answer, unless another is given."""

ANSWER_BYTES: Final = 256 * MIB
"""The largest answer that is read."""

HEAD_BYTES: Final = 64 * KIB
"""The longest head of an answer."""

FORMS: Final = 64
"""Forms of requests that are remembered: models times shapes."""

_LENGTH: Final = "content-length"
_JSON_LENGTH: Final = "inference-header-content-length"
_OK: Final = 200
_TIME: Final = struct.Struct("@ll")
_PARTS: Final = 512
"""Pieces that the system sends at once."""


class EndpointAway(SealaneError):  # noqa: N818 - the word says what is wrong
    """The endpoint cannot be reached, or did not answer in time."""


class EndpointRefused(SealaneError):  # noqa: N818 - the word says what happened
    """The endpoint did not answer this request.

    Attributes:
        status: of HTTP: 400 the request does not fit the model, 404 no such model, 500 the engine
            failed, 503 overloaded or nothing serves now, 504 its deadline passed.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Answer(NamedTuple):
    """What a model answered.

    Attributes:
        outputs: arrays by name; they are the caller's own. Those that were sent are read-only,
            those that were written into shared memory are parts of the caller's arrays.
        version: of the release that computed them.
    """

    outputs: Mapping[str, NDArray[Any]]
    version: int


class Client:
    """One connection to an endpoint, made when it is needed.

    Args:
        address: `unix:/path/of/inference.sock`, or `host:port` of the REST door.
        timeout_s: how long to wait for a connection, and for an answer.
    """

    def __init__(self, address: str, timeout_s: float = TIMEOUT_S) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._guard = threading.Lock()
        self._connection: socket.socket | None = None
        self._forms: dict[Any, bytes] = {}
        self._answers: dict[bytes, AnswerForm] = {}
        self._regions: list[SharedRegion] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the next request makes a new one.

        What lies in shared memory stays readable, and is sent from then on.
        """
        self._hang_up()
        for region in self._regions:
            region.forget()
        self._regions.clear()
        self._forms.clear()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def shared(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array of zeros in memory that the endpoint reads and writes itself.

        It, or a part of it that is in C order, is not sent when it is an input; as one of `into` an
        answer is written there. Make it once, not for each request: it lasts until `close`. Raises
        EndpointRefused where the endpoint's owner does not allow it (`endpoint.shared_memory`), and
        NoSharedMemory.
        """
        kind = np.dtype(dtype)
        region = SharedRegion(max(1, prod(shape) * kind.itemsize))
        with self._guard:
            try:
                _check(self._ask([_registration(region)]))
            except BaseException:
                region.forget()
                raise
            self._regions.append(region)
        return region.content[: prod(shape) * kind.itemsize].view(kind).reshape(shape)

    def infer(
        self,
        model: str,
        inputs: Arrays,
        version: int | None = None,
        into: Arrays | None = None,
    ) -> Answer:
        """Ask a model, of one version or of the one that serves.

        Inputs are arrays of the datatypes that the model declares; the first dimension is the
        batch. With `into`, only the outputs named there are answered, each in that array of
        `shared`. Raises EndpointRefused, EndpointAway, or ValueError for an array that cannot be
        sent or written into.
        """
        tensors = {
            name: given(name, array := np.asarray(each, order="C"), find(self._regions, array))
            for name, each in inputs.items()
        }
        places = {name: self._place(name, array) for name, array in (into or {}).items()}
        key = (
            (model, version, *places.items()),
            *[(name, one.form) for name, one in tensors.items()],
        )
        head = self._forms.get(key)
        if head is None:
            head = self._remember(key, tensors, describe(tensors, places))
        parts = [head, *[one.content for one in tensors.values() if one.content is not None]]
        with self._guard:
            return self._read(self._ask(parts), into or {})

    def _place(self, name: str, array: NDArray[Any]) -> tuple[tuple[str, int], int]:
        place = find(self._regions, array) if array.flags.c_contiguous else None
        if place is None:
            raise ValueError(f"into[{name!r}] is no array that this client's `shared` made")
        return place, array.nbytes

    def ready(self, model: str) -> bool:
        """Whether a model answers now; raises EndpointAway."""
        with self._guard:
            return self._get(f"/v2/models/{quote(model, safe='')}/ready")[0] == _OK

    def describe(self, model: str) -> dict[str, Any]:
        """Versions, inputs and outputs of a model; raises EndpointRefused or EndpointAway."""
        with self._guard:
            status, body = self._get(f"/v2/models/{quote(model, safe='')}")
        if status != _OK:
            raise _refusal(status, body)
        found: dict[str, Any] = json.loads(body)
        return found

    def _get(self, path: str) -> tuple[int, bytes]:
        head, body = self._ask([f"GET {path} HTTP/1.1\r\nHost: sealane\r\n\r\n".encode()])
        return head.status, bytes(body)

    def _remember(self, key: Any, tensors: Mapping[str, Given], described: bytes) -> bytes:
        """Everything of such a request but the tensors' bytes."""
        model, version, *_ = key[0]
        size = len(described) + sum(one.size for one in tensors.values() if one.content is not None)
        place = "" if version is None else f"/versions/{version}"
        head = (
            f"POST /v2/models/{quote(model, safe='')}{place}/infer HTTP/1.1\r\n"
            "Host: sealane\r\n"
            f"Inference-Header-Content-Length: {len(described)}\r\n"
            f"Content-Length: {size}\r\n\r\n"
        ).encode()
        while len(self._forms) >= FORMS:
            self._forms.pop(next(iter(self._forms)))
        self._forms[key] = head + described
        return head + described

    def _ask(self, parts: list[Any]) -> _Response:
        """Send and hear; once more when a kept connection had ended: inference may be repeated."""
        kept = self._connection is not None
        try:
            return self._exchange(parts)
        except _Ended:
            self._hang_up()
            if not kept:
                raise EndpointAway(f"{self._address} ended the connection") from None
        except OSError as error:
            self._hang_up()
            if not (kept and isinstance(error, ConnectionError)):
                raise self._away(error) from error
        try:
            return self._exchange(parts)
        except (_Ended, OSError) as error:
            self._hang_up()
            raise self._away(error) from error

    def _away(self, error: Exception) -> EndpointAway:
        late = isinstance(error, BlockingIOError | TimeoutError)
        why = getattr(error, "strerror", None) or str(error) or "the connection ended"
        why = f"nothing came within {self._timeout_s:g} s" if late else why
        return EndpointAway(
            f"no answer from {self._address}: {why.lower()}", hint="does the endpoint run?"
        )

    def _exchange(self, parts: list[Any]) -> _Response:
        connection = self._connection or self._connect()
        sent = connection.sendmsg(parts[:_PARTS])
        total = sum(map(len, parts))
        if sent < total:
            _send_rest(connection, parts, sent)
        return _receive(connection)

    def _connect(self) -> socket.socket:
        unix = self._address.startswith("unix:")
        connection = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
        connection.settimeout(self._timeout_s)
        limit = _TIME.pack(*divmod(max(1, round(self._timeout_s * 1e6)), 1_000_000))
        try:
            if unix:
                connection.connect(self._address.removeprefix("unix:"))
            else:
                host, _, port = self._address.rpartition(":")
                connection.connect((host, int(port)))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # The kernel keeps the limit: with Python's own, each call is made of two.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            connection.settimeout(None)
            self._register_again(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _register_again(self, connection: socket.socket) -> None:
        """Regions belong to a connection: a new one knows none."""
        for region in self._regions:
            connection.sendall(_registration(region))
            _check(_receive(connection))

    def _read(self, response: _Response, into: Arrays) -> Answer:
        _check(response)
        (_, length, json_length), body = response
        said = body[: length if json_length is None else json_length].tobytes()
        form = self._answers.get(said)
        if form is None:
            form = self._understand(said)
        outputs = {tensor.name: tensor.read(body) for tensor in form.sent}
        for tensor in form.laid:
            outputs[tensor.name] = tensor.read(into[tensor.name])
        return Answer(outputs, form.version)

    def _understand(self, head: bytes) -> AnswerForm:
        try:
            form = understand(head)
        except (ValueError, KeyError, TypeError):
            raise EndpointAway("what answered speaks another protocol") from None
        if len(self._answers) >= FORMS:
            self._answers.clear()
        self._answers[head] = form
        return form


def _check(response: _Response) -> None:
    head, body = response
    if head.status != _OK:
        raise _refusal(head.status, bytes(body))


def _registration(region: SharedRegion) -> bytes:
    body = json.dumps({"key": f"/{region.name}", "offset": 0, "byte_size": region.byte_size})
    return (
        f"POST /v2/systemsharedmemory/region/{region.name}/register HTTP/1.1\r\n"
        f"Host: sealane\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


class _Head(NamedTuple):
    """What the head of an answer says; `json_length` where tensors follow its JSON."""

    status: int
    length: int
    json_length: int | None


_Response = tuple[_Head, memoryview]


class _Ended(Exception):  # noqa: N818 - the word says what happened
    """The other end closed the connection before it answered."""


def _send_rest(connection: socket.socket, parts: list[Any], sent: int) -> None:
    for part in parts:
        size = len(part)
        if sent < size:
            connection.sendall(memoryview(part)[sent:])
        sent = max(0, sent - size)


def _receive(connection: socket.socket) -> _Response:
    data = connection.recv(HEAD_BYTES)
    if not data:
        raise _Ended
    while (end := data.find(b"\r\n\r\n")) < 0:
        more = connection.recv(HEAD_BYTES)
        if not more or len(data) > HEAD_BYTES:
            raise EndpointAway("what answered speaks no HTTP")
        data += more
    head = _parse(data[:end])
    if head.length > ANSWER_BYTES:
        raise EndpointAway(f"an answer of {head.length} bytes is more than {ANSWER_BYTES}")
    body = memoryview(data)[end + 4 :]
    return head, body if len(body) == head.length else _receive_rest(connection, body, head.length)


def _receive_rest(connection: socket.socket, begun: memoryview, length: int) -> memoryview:
    whole = bytearray(length)
    view = memoryview(whole)
    view[: len(begun)] = begun
    at = len(begun)
    while at < length:
        count = connection.recv_into(view[at:])
        if not count:
            raise EndpointAway("the connection ended within an answer")
        at += count
    return view.toreadonly()


@lru_cache(maxsize=FORMS)
def _parse(head: bytes) -> _Head:
    try:
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        said = {name.strip().lower(): value.strip() for name, _, value in pairs}
        json_length = _number(said[_JSON_LENGTH]) if _JSON_LENGTH in said else None
        return _Head(_number(first.split(" ", 2)[1]), _number(said.get(_LENGTH, "0")), json_length)
    except (ValueError, IndexError):
        raise EndpointAway("what answered speaks no HTTP") from None


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError(text)
    return int(text)


def _refusal(status: int, body: bytes) -> EndpointRefused:
    try:
        text = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        text = f"the endpoint answered {status}"
    return EndpointRefused(status, text)
