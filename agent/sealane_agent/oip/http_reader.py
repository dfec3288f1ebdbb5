"""Cuts a byte stream into HTTP/1.1 requests within limits. No sockets and no clock in here.

httptools parses; this file bounds what the parser would take: headers, bodies, requests read ahead.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, NoReturn, Protocol

import httptools
from sealane.errors import SealaneError
from sealane.limits import KIB, MIB

HEADER_BYTES: Final = 32 * KIB
"""Request line and headers of one request."""

BODY_BYTES: Final = 64 * MIB
"""One body, also after decompression: a batch of images fits."""

BUFFERED_BYTES: Final = 512 * MIB
"""Bodies of all connections together: a crowd of large requests cannot fill the device."""


HEADS: Final = 256
"""Heads that are remembered, the youngest ones."""

KNOWN_BYTES: Final = 2 * KIB
"""The longest of them."""

_NEVER_KEPT: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


class HttpRefused(SealaneError):  # noqa: N818 - the word says what happened
    """The client gets this status and the connection ends."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Request(NamedTuple):
    """One whole request; header names are in lower case, and nobody changes `headers`.

    Attributes:
        client: the connection that it came on, as `peers` names it.
    """

    method: str
    path: str
    headers: dict[bytes, bytes]
    body: bytes
    keep_alive: bool
    client: str = ""


@dataclass(slots=True)
class Heads:
    """Heads of requests that were parsed before, by their bytes.

    A client repeats its head word by word, so parsing it again would tell nothing new. Only heads
    of requests with a length of their own are kept, few and small: a client decides what they hold.
    """

    known: dict[bytes, tuple[Request, int]] = field(default_factory=dict)

    def find(self, data: bytes, client: str) -> Request | None:
        """The request that `data` is when its head is known and its body is all here."""
        end = data.find(b"\r\n\r\n", 0, KNOWN_BYTES) + 4
        found = self.known.get(data[:end])
        if found is None:
            return None
        request, length = found
        if length != len(data) - end:
            return None
        method, path, headers, _, keep_alive, _ = request
        return Request(method, path, headers, data[end:], keep_alive, client)

    def remember(self, data: bytes, request: Request) -> None:
        """Keep the head of a request that these bytes were, if they were nothing else."""
        end = data.find(b"\r\n\r\n", 0, KNOWN_BYTES) + 4
        headers = request.headers
        length = headers.get(b"content-length")
        if length is None or headers.keys() & _NEVER_KEPT or not request.keep_alive:
            return
        if end > len(b"\r\n\r\n") and len(data) - end == int(length) == len(request.body):
            while len(self.known) >= HEADS:
                self.known.pop(next(iter(self.known)))
            self.known[data[:end]] = (request._replace(body=b""), int(length))


class Budget:
    """Bytes that may still be buffered."""

    def __init__(self, size: int = BUFFERED_BYTES) -> None:
        self._left = size

    def take(self, size: int) -> None:
        """Use some; raises HttpRefused when too little is left."""
        if size > self._left:
            raise HttpRefused(503, "too many bytes are on their way here: come back later")
        self._left -= size

    def give(self, size: int) -> None:
        """Give back what was taken."""
        self._left += size


class Parser(Protocol):
    """What is used of httptools' parser."""

    def feed_data(self, data: bytes) -> None:
        """Parse."""
        ...

    def should_keep_alive(self) -> bool:
        """Whether the connection stays."""
        ...

    def should_upgrade(self) -> bool:
        """Whether the parser stops here."""
        ...

    def get_method(self) -> bytes:
        """The method."""
        ...


class RequestReader:
    """Feed it bytes; whole requests come out, and at the end of its life one refusal."""

    def __init__(self, budget: Budget, heads: Heads | None = None, client: str = "") -> None:
        self._client = client
        self._parser: Parser = httptools.HttpRequestParser(self)
        self._budget = budget
        self._heads = Heads() if heads is None else heads
        self._refusal: HttpRefused | None = None
        self._ready: list[Request | HttpRefused] = []
        self._body_bytes = 0
        self.in_request = False
        self.expects_continue = False
        self._begin()

    def feed(self, data: bytes) -> list[Request | HttpRefused]:
        """Requests that these bytes completed; a refusal comes last, and nothing after it."""
        if self._refusal is not None:
            return []
        whole = not self.in_request
        try:
            if whole and (request := self._heads.find(data, self._client)) is not None:
                self._take(len(request.body))
                self._body_bytes = 0
                return [request]
            self._parse(data)
            if self.in_request and not self._headers_done:
                self._count_header(len(data))
        except HttpRefused as refusal:
            self._refusal = refusal
        except httptools.HttpParserError:
            self._refusal = self._refusal or HttpRefused(400, "this is not HTTP/1.1")
        if self._refusal is not None:
            self.drop()
            self._ready.append(self._refusal)
        ready, self._ready = self._ready, []
        if whole and len(ready) == 1 and isinstance(ready[0], Request):
            self._heads.remember(data, ready[0])
        return ready

    def _parse(self, data: bytes) -> None:
        """An offer to upgrade is declined: the request is read again without it.

        The parser stops at an upgrade without reading the body, and HTTP/2 clients offer it.
        """
        while data:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = self._without_upgrade() + data[upgrade.args[0] :]
                self._parser = httptools.HttpRequestParser(self)
            else:
                return

    def _without_upgrade(self) -> bytes:
        method = self._parser.get_method()
        if method == b"CONNECT":
            self._refuse(400, "this is no proxy")
        kept = (
            name + b": " + value + b"\r\n"
            for name, value in self._headers.items()
            if name not in {b"upgrade", b"connection", b"http2-settings"}
        )
        return method + b" " + self._url + b" HTTP/1.1\r\n" + b"".join(kept) + b"\r\n"

    def drop(self) -> None:
        """Give back what an unfinished request took."""
        self._budget.give(self._body_bytes)
        self._body_bytes = 0

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._headers_done = False
        self._body: list[bytes] = []
        self._body_bytes = 0

    def _refuse(self, status: int, message: str) -> NoReturn:
        self._refusal = HttpRefused(status, message)
        raise self._refusal

    def _count_header(self, size: int) -> None:
        self._header_bytes += size
        if self._header_bytes > HEADER_BYTES:
            self._refuse(431, f"the headers of a request are at most {HEADER_BYTES} bytes")

    # httptools calls these

    def on_message_begin(self) -> None:
        """A request begins."""
        self.in_request = True
        self._begin()

    def on_url(self, url: bytes) -> None:
        """A piece of the request line."""
        self._count_header(len(url))
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._count_header(len(name) + len(value))
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The headers are whole: judge the announced length before the body comes."""
        self._headers_done = True
        if int(self._headers.get(b"content-length", b"0")) > BODY_BYTES:
            self._refuse(413, f"a body is at most {BODY_BYTES} bytes")
        self.expects_continue = self._headers.get(b"expect", b"").lower() == b"100-continue"

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if self._body_bytes + len(body) > BODY_BYTES:
            self._refuse(413, f"a body is at most {BODY_BYTES} bytes")
        self._take(len(body))
        self._body.append(body)

    def _take(self, size: int) -> None:
        try:
            self._budget.take(size)
        except HttpRefused as refusal:
            self._refusal = refusal
            raise
        self._body_bytes += size

    def on_message_complete(self) -> None:
        """A request is whole."""
        if self._parser.should_upgrade():
            return
        self.in_request = False
        self.expects_continue = False
        method = self._parser.get_method().decode("ascii", "replace")
        self._ready.append(
            Request(
                method,
                self._path(),
                self._headers,
                self._body[0] if len(self._body) == 1 else b"".join(self._body),
                self._parser.should_keep_alive() and method != "HEAD",
                self._client,
            )
        )
        self._body_bytes = 0

    def _path(self) -> str:
        try:
            path: bytes = httptools.parse_url(self._url).path or b""
        except httptools.HttpParserInvalidURLError:
            self._refuse(400, "the request's path cannot be read")
        return path.decode("ascii", "replace")
