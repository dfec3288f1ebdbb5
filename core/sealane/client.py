"""A thin client for models on the same machine: arrays in, arrays out, one HTTP connection.

Stock clients of the protocol cost more processor time than the endpoint that they ask. This one
keeps what it says about a model's tensors, sends their bytes without copying them, and reads the
answer into one buffer. It needs numpy and nothing else.

    from sealane.client import Client

    with Client("unix:/var/lib/sealane-agent/run/inference.sock") as client:
        answer = client.infer("cam", {"image": frame[None]})
        scores = answer.outputs["scores"]      # an array of shape (1, classes)
        version = answer.version               # the release that computed it

Requests of one client go one after the other; give each thread a client of its own.
"""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote

import numpy as np

from sealane.bundle.elements import NUMPY_TYPES
from sealane.bundle.types import DataType
from sealane.errors import SealaneError
from sealane.limits import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[Any]]

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
_NAMES: Final = {dtype: datatype.value for datatype, dtype in NUMPY_TYPES.items()}
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


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered.

    Attributes:
        outputs: arrays by name; they are the caller's own, and read-only.
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
        self._answers: dict[bytes, _Form] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; the next request makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def infer(self, model: str, inputs: Arrays, version: int | None = None) -> Answer:
        """Ask a model, of one version or of the one that serves.

        Inputs are arrays of the datatypes that the model declares; the first dimension is the
        batch. Raises EndpointRefused, EndpointAway, or ValueError for an array that cannot be sent.
        """
        arrays = [np.ascontiguousarray(array) for array in inputs.values()]
        key = (model, version, *inputs, *[(array.dtype, array.shape) for array in arrays])
        head = self._forms.get(key)
        if head is None:
            head = self._remember(key, dict(zip(inputs, arrays, strict=True)))
        parts = [head, *(array.reshape(-1).view(np.uint8).data for array in arrays)]
        with self._guard:
            return self._read(self._ask(parts))

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
        status, _, body = self._ask([f"GET {path} HTTP/1.1\r\nHost: sealane\r\n\r\n".encode()])
        return status, bytes(body)

    def _remember(self, key: Any, arrays: Arrays) -> bytes:
        """Everything of such a request but the tensors' bytes."""
        model, version = key[:2]
        described = json.dumps(
            {
                "inputs": [_described(name, array) for name, array in arrays.items()],
                "parameters": {"binary_data_output": True},
            },
            separators=(",", ":"),
        ).encode()
        size = len(described) + sum(array.nbytes for array in arrays.values())
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
            self.close()
            if not kept:
                raise EndpointAway(f"{self._address} ended the connection") from None
        except OSError as error:
            self.close()
            if not (kept and isinstance(error, ConnectionError)):
                raise self._away(error) from error
        try:
            return self._exchange(parts)
        except (_Ended, OSError) as error:
            self.close()
            raise self._away(error) from error

    def _away(self, error: Exception) -> EndpointAway:
        why = getattr(error, "strerror", None) or str(error) or "the connection ended"
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
        try:
            if unix:
                connection.connect(self._address.removeprefix("unix:"))
            else:
                host, _, port = self._address.rpartition(":")
                connection.connect((host, int(port)))
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _read(self, response: _Response) -> Answer:
        status, headers, body = response
        if status != _OK:
            raise _refusal(status, bytes(body))
        length = int(headers.get(_JSON_LENGTH, len(body)))
        head = bytes(body[:length])
        form = self._answers.get(head)
        if form is None:
            form = self._understand(head)
        outputs = {
            name: np.frombuffer(body, dtype, count, length + start).reshape(shape)
            for name, dtype, count, start, shape in form.tensors
        }
        return Answer(outputs, form.version)

    def _understand(self, head: bytes) -> _Form:
        fields, at, tensors = json.loads(head), 0, []
        for item in fields["outputs"]:
            dtype = NUMPY_TYPES[DataType(item["datatype"])]
            size = item["parameters"]["binary_data_size"]
            tensors.append((item["name"], dtype, size // dtype.itemsize, at, tuple(item["shape"])))
            at += size
        if len(self._answers) >= FORMS:
            self._answers.clear()
        form = self._answers[head] = _Form(int(fields["model_version"]), tuple(tensors))
        return form


@dataclass(frozen=True, slots=True)
class _Form:
    """What answers have in common: each tensor's name, type, elements, place and shape."""

    version: int
    tensors: tuple[tuple[str, np.dtype[Any], int, int, tuple[int, ...]], ...]


_Response = tuple[int, dict[str, str], memoryview]


class _Ended(Exception):  # noqa: N818 - the word says what happened
    """The other end closed the connection before it answered."""


def _described(name: str, array: NDArray[Any]) -> dict[str, Any]:
    if array.dtype not in _NAMES:
        raise ValueError(f"input {name} is {array.dtype}, which no model takes")
    return {
        "name": name,
        "datatype": _NAMES[array.dtype],
        "shape": list(array.shape),
        "parameters": {"binary_data_size": array.nbytes},
    }


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
    status, headers = _parse(data[:end])
    length = int(headers.get(_LENGTH, 0))
    if length > ANSWER_BYTES:
        raise EndpointAway(f"an answer of {length} bytes is more than {ANSWER_BYTES}")
    body = data[end + 4 :]
    if len(body) == length:
        return status, headers, memoryview(body)
    return status, headers, _receive_rest(connection, body, length)


def _receive_rest(connection: socket.socket, begun: bytes, length: int) -> memoryview:
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
def _parse(head: bytes) -> tuple[int, dict[str, str]]:
    try:
        first, *lines = head.decode("latin-1").split("\r\n")
        status = int(first.split(" ", 2)[1])
    except (ValueError, IndexError):
        raise EndpointAway("what answered speaks no HTTP") from None
    pairs = (line.partition(":") for line in lines)
    return status, {name.strip().lower(): value.strip() for name, _, value in pairs}


def _refusal(status: int, body: bytes) -> EndpointRefused:
    try:
        text = str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        text = f"the endpoint answered {status}"
    return EndpointRefused(status, text)
