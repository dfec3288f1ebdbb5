"""Cuts a byte stream into HTTP/1.1 requests within limits. No sockets and no clock in here.

httptools parses; this file bounds what the parser would take: headers, bodies, requests read ahead.
A large body behind a head that is known is not parsed at all: its bytes are read into their place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, NoReturn, Protocol

import httptools
from sealane.errors import SealaneError
from sealane.limits import KIB, MIB

from sealane_agent.oip.rest_paths import slot_in
from sealane_agent.serving.bodies import WORTH_BYTES, SlotBodies

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

LARGE_BYTES: Final = WORTH_BYTES
"""Bodies from here on are read to where workers read them, when their head is known."""

JSON_LENGTH: Final = b"inference-header-content-length"

_END: Final = b"\r\n\r\n"
_NEVER_KEPT: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


class HttpRefused(SealaneError):  # noqa: N818 - the word says what happened
    """The client gets this status and the connection ends."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class Head:
    """Request line and headers; header names are in lower case, and nobody changes `headers`.

    Attributes:
        note: what a door remembers of requests with this very head: a client repeats its own.
    """

    method: str
    path: str
    headers: dict[bytes, bytes]
    keep_alive: bool = True
    note: object = field(default=None, compare=False)


class Request(NamedTuple):
    """One whole request.

    Attributes:
        body: of a large one a view of memory that is used again once every view of it is gone.
        client: the connection that it came on, as `peers` names it.
    """

    head: Head
    body: bytes | memoryview
    client: str = ""

    @property
    def method(self) -> str:
        """The method."""
        return self.head.method

    @property
    def path(self) -> str:
        """The path, without what follows a question mark."""
        return self.head.path

    @property
    def headers(self) -> dict[bytes, bytes]:
        """The headers."""
        return self.head.headers


@dataclass(slots=True, eq=False)
class Known:
    """A head that was parsed before.

    Attributes:
        content: its bytes.
        length: of the body that it announces.
        size: of both together.
    """

    content: bytes
    head: Head
    length: int
    size: int


@dataclass(slots=True)
class Heads:
    """Heads of requests that were parsed before, by their bytes.

    A client repeats its head word by word, so parsing it again would tell nothing new. Only heads
    of requests with a length of their own are kept, few and small: a client decides what they hold.
    """

    known: dict[bytes, Known] = field(default_factory=dict)

    def find(self, content: bytes) -> Known | None:
        """The head of these bytes, if it is known."""
        return self.known.get(content)

    def remember(self, content: bytes, request: Request) -> None:
        """Keep the head of a request that was read whole."""
        head, headers = request.head, request.headers
        length = headers.get(b"content-length")
        if length is None or headers.keys() & _NEVER_KEPT or not head.keep_alive:
            return
        if int(length) == len(request.body):
            while len(self.known) >= HEADS:
                self.known.pop(next(iter(self.known)))
            size = len(content) + int(length)
            self.known[content] = Known(content, head, int(length), size)


class _Large(NamedTuple):
    """A large body on its way: its head, and all of its memory."""

    head: Head
    body: memoryview


class Budget:
    """Bytes that may still be buffered."""

    def __init__(self, size: int = BUFFERED_BYTES) -> None:
        self._left = size

    def has(self, size: int) -> bool:
        """Whether so many are left."""
        return size <= self._left

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


def _head_of(data: bytes) -> bytes:
    """The head that these bytes begin with, if it is whole and not too long to be remembered."""
    end = data.find(_END, 0, KNOWN_BYTES)
    return data[: end + len(_END)] if end > 0 else b""


def _json_bytes(head: Head, length: int) -> int:
    """How much of the body comes before its tensors, by its own word; 0 when it does not say."""
    text = head.headers.get(JSON_LENGTH, b"")
    return int(text) if text.isdigit() and len(text) <= len(str(length)) else 0


class RequestReader:
    """Feed it bytes; whole requests come out, and at the end of its life one refusal.

    Attributes:
        room: where the next bytes of a large body go. Who puts them there says so by `filled`
            instead of feeding them.
    """

    def __init__(
        self,
        budget: Budget,
        heads: Heads | None = None,
        client: str = "",
        bodies: SlotBodies | None = None,
    ) -> None:
        self._client = client
        self._parser: Parser = httptools.HttpRequestParser(self)
        self._budget = budget
        self._heads = Heads() if heads is None else heads
        self._bodies = SlotBodies() if bodies is None else bodies
        self._refusal: HttpRefused | None = None
        self._ready: list[Request | HttpRefused] = []
        self._body_bytes = 0
        self._head, self._fed = b"", 0
        self._of_bodies = 0
        self._again: Known | None = None
        self._large: _Large | None = None
        self.room: memoryview | None = None
        self.in_request = False
        self.expects_continue = False
        self._begin()

    def feed(self, data: bytes) -> list[Request | HttpRefused]:
        """Requests that these bytes completed; a refusal comes last, and nothing after it."""
        again = self._again
        if (
            again is not None
            and len(data) == again.size
            and data.startswith(again.content)
            and self._budget.has(again.length)
        ):
            self._budget.take(again.length)
            return [Request(again.head, data[len(again.content) :], self._client)]
        self._again = None
        if self._refusal is not None:
            return []
        if self.room is not None:
            return self._feed_large(data, self.room)
        return self._feed_unlike(data)

    def _feed_unlike(self, data: bytes) -> list[Request | HttpRefused]:
        """Not just the same head again that came last."""
        whole = not self.in_request
        if whole:
            self._head, self._fed = _head_of(data), 0
        self._fed += len(data)
        self._of_bodies = 0
        try:
            if whole and (known := self._heads.find(self._head)) is not None:
                ready = self._read_known(data, known)
                if ready is not None:
                    self._head = b""
                    return ready
            self._parse(data)
            if self.in_request and not self._headers_done:
                self._count_header(len(data) - self._of_bodies)
        except HttpRefused as refusal:
            self._refusal = refusal
        except httptools.HttpParserError:
            self._refusal = self._refusal or HttpRefused(400, "this is not HTTP/1.1")
        if self._refusal is not None:
            self.drop()
            self._ready.append(self._refusal)
        ready, self._ready = self._ready, []
        self._remember(ready)
        return ready

    def filled(self, count: int) -> list[Request | HttpRefused]:
        """So many more bytes of a large body were put into its `room`."""
        assert self.room is not None  # noqa: S101 - without room nothing can be put there
        assert self._large is not None  # noqa: S101 - and there is room only for a large body
        self.room = self.room[count:]
        if len(self.room):
            return []
        head, body = self._large
        self._large = self.room = None
        self.in_request = False
        self._body_bytes = 0
        return [Request(head, body, self._client)]

    def _feed_large(self, data: bytes, room: memoryview) -> list[Request | HttpRefused]:
        count = min(len(room), len(data))
        room[:count] = data[:count]
        ready = self.filled(count)
        return ready + self.feed(data[count:]) if count < len(data) else ready

    def _read_known(self, data: bytes, known: Known) -> list[Request | HttpRefused] | None:
        """The request, nothing yet when a large body follows, None when the parser must look."""
        length, end = known.length, len(known.content)
        here = len(data) - end
        if here != length and (here > length or length < LARGE_BYTES):
            return None
        self._take(length)
        if here == length:
            self._body_bytes = 0
            self._again = known
            return [Request(known.head, data[end:], self._client)]
        memory = self._bodies.of(slot_in(known.head.path))
        body = memory.take(length, _json_bytes(known.head, length))
        body[:here] = data[end:]
        self._large = _Large(known.head, body)
        self.room = body[here:]
        self.in_request = True
        return []

    def _remember(self, ready: list[Request | HttpRefused]) -> None:
        """Keep the head of a request that was all that came since its head did."""
        if not ready:
            return
        head, self._head = self._head, b""
        request = ready[0]
        if not head or len(ready) > 1 or isinstance(request, HttpRefused):
            return
        if self._fed == len(head) + len(request.body):
            self._heads.remember(head, request)

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
        self._large = self.room = None

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
        self._of_bodies += len(body)
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
                Head(
                    method,
                    self._path(),
                    self._headers,
                    self._parser.should_keep_alive() and method != "HEAD",
                ),
                self._body[0] if len(self._body) == 1 else b"".join(self._body),
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
