"""Speaks HTTP/1.1 on a socket: keep-alive, pipelining in order, time limits, an orderly end.

One request of a connection is answered at a time; what was read ahead waits. A client that goes
away cancels the request it waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
from collections import deque
from functools import lru_cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from sealane.limits import KIB, MIB

from sealane_agent.oip.http_reader import Budget, Heads, HttpRefused, Request, RequestReader
from sealane_agent.oip.peers import GONE, UNIX
from sealane_agent.serving.bodies import SlotBodies

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Begin = Callable[[Request, Callable[["Response"], None]], Callable[[], None] | None]

CONNECTIONS: Final = 1024
"""Connections at once at each of the two doors: each may hold a request."""

PIPELINED: Final = 32
"""Requests read ahead on one connection before its socket is left alone."""

READ_S: Final = 60.0
"""From a request's first byte to its last: a slow sender cannot hold a place for ever."""

WRITE_S: Final = 60.0
"""A client that takes nothing for so long is disconnected."""

IDLE_S: Final = 900.0
"""Without any request: long, since a close may cross the next request on its way."""

JOINED_BYTES: Final = 64 * KIB
"""Responses up to here are copied into one write; larger ones are written in parts."""

SCRATCH_BYTES: Final = 32 * KIB
"""What is read at once, unless a large body is on its way: then all of it that is there."""

WAKE_BYTES: Final = MIB
"""Of a large body: so many bytes are waited for at once."""

SWEEP_S: Final = 1.0
"""How often the time limits are looked at."""

_CREDENTIALS: Final = struct.Struct("3i")

_OURS: Final = HttpRefused(500, "the endpoint failed: see its log")

_log = logging.getLogger(__name__)


class Response(NamedTuple):
    """One answer; `headers` beyond Content-Length.

    Attributes:
        opening: its head as `opening` makes it, when who answers has it from before: then the
            whole is small.
    """

    status: int
    parts: Sequence[bytes | memoryview] = ()
    headers: tuple[tuple[str, str], ...] = ()
    opening: bytes = b""


class HttpServer:
    """All connections of one door.

    A request is offered to `begin` first: it may answer without a task, at once or later, by
    calling what it is given, and returns what takes the request back. When it returns None,
    `answer` is awaited.
    """

    def __init__(
        self,
        answer: Callable[[Request], Awaitable[Response]],
        refuse: Callable[[HttpRefused], Response],
        begin: Begin | None = None,
        forget: Callable[[str], object] = bool,
    ) -> None:
        self.answer = answer
        self.refuse = refuse
        self.begin = begin
        self.forget = forget
        self.budget = Budget()
        self.heads = Heads()
        self.bodies = SlotBodies()
        self.scratch = memoryview(bytearray(SCRATCH_BYTES))
        self.connections: set[HttpConnection] = set()
        self.closing = False
        self._left = asyncio.Event()
        self._sweeper = asyncio.create_task(self._sweep(), name="http time limits")

    def connect(self) -> HttpConnection:
        """The protocol of a new connection."""
        return HttpConnection(self)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.connections):
                connection.check_time(now)

    async def close(self, drain_s: float) -> None:
        """Answer what was asked, at most for so long, then end every connection."""
        self.closing = True
        self._sweeper.cancel()
        for connection in tuple(self.connections):
            connection.close_when_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                await self._empty()
        for connection in tuple(self.connections):
            connection.abort()

    async def _empty(self) -> None:
        while self.connections:
            self._left.clear()
            await self._left.wait()

    def left(self, connection: HttpConnection) -> None:
        """Hear that a connection is gone."""
        self.connections.discard(connection)
        self._left.set()


class HttpConnection(asyncio.BufferedProtocol):
    """One client's connection."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._reader = RequestReader(server.budget, server.heads, "", server.bodies)
        self._scratch = server.scratch
        self._client = ""
        self._waiting: deque[Request | HttpRefused] = deque()
        self._busy = self._beginning = False
        self._item: Request | HttpRefused | None = None
        self._take_back: Callable[[], None] | None = None
        self._work: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self._writable = True
        self._since = self._loop.time()
        self._paused = False
        self._options: socket.socket | None = None
        self._woken_for = 1

    # asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._client = _client(self._transport)
        server = self._server
        self._reader = RequestReader(server.budget, server.heads, self._client, server.bodies)
        self._server.connections.add(self)
        if len(self._server.connections) > CONNECTIONS:
            self._enqueue(HttpRefused(503, "too many connections: come back later"))

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        del exc
        self._server.left(self)
        if self._options is not None:
            self._options.close()
        self._server.forget(self._client)
        self._reader.drop()
        self._give_back()
        item, self._item = self._item, None
        if item is not None:
            self._server.budget.give(_held(item))
        if self._take_back is not None:
            self._take_back()
        if self._work is not None:
            self._work.cancel()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the client's next bytes go.

        To their place in a large body, or to the one scratch of all connections, which is read
        before anything else comes.
        """
        del sizehint
        room = self._reader.room
        return self._scratch if room is None else room

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes came from the client."""
        reader = self._reader
        began = reader.in_request
        room = reader.room
        if room is None:
            items = reader.feed(bytes(self._scratch[:nbytes]))
        else:
            items = reader.filled(nbytes)
        if room is not reader.room:
            self._wake_for(reader.room)
        if items or not began:
            self._since = self._loop.time()
        for item in items:
            self._enqueue(item)
        if self._reader.expects_continue and not self._busy:
            self._reader.expects_continue = False
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if len(self._waiting) > PIPELINED and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _wake_for(self, room: memoryview | None) -> None:
        """Be woken when the rest of a large body is there, not for each piece of it.

        A unix socket wakes whatever it is told.
        """
        size = 1 if room is None else min(len(room), WAKE_BYTES)
        if size == self._woken_for or self._client.startswith(UNIX):
            return
        if self._options is None:
            # The transport's own socket would be made anew at each call.
            self._options = socket.socket(
                fileno=os.dup(self._transport.get_extra_info("socket").fileno())
            )
        self._options.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)
        self._woken_for = size

    def eof_received(self) -> bool:
        """The client ended the connection: clients of this protocol do not half-close."""
        return False

    def pause_writing(self) -> None:
        """The client is slow in reading."""
        self._since = self._loop.time()
        self._writable = False

    def resume_writing(self) -> None:
        """The client has caught up."""
        self._writable = True
        self._answer_waiting()

    # The server calls these

    def check_time(self, now: float) -> None:
        """End the connection when it has overdrawn one of its times."""
        passed = now - self._since
        if self._transport.is_closing() or not self._writable:
            if passed > WRITE_S:
                self.abort()
        elif self._busy:
            self._since = now
        elif self._reader.in_request and passed > READ_S:
            self._reader.drop()
            self._enqueue(HttpRefused(408, f"the request was not whole after {READ_S:.0f} s"))
        elif not self._reader.in_request and passed > IDLE_S:
            self._transport.close()

    def close_when_idle(self) -> None:
        """End the connection once nothing is being answered."""
        if not self._busy:
            self._transport.close()

    def abort(self) -> None:
        """End the connection now."""
        self._transport.abort()

    # The work

    def _enqueue(self, item: Request | HttpRefused) -> None:
        if self._busy or self._waiting or not self._writable:
            self._waiting.append(item)
        else:
            self._start(item)

    def _start(self, item: Request | HttpRefused) -> None:
        self._busy, self._item = True, item
        if not (isinstance(item, Request) and self._begin(item)):
            self._work = self._loop.create_task(self._answer_slowly(item))

    def _answer_waiting(self) -> None:
        """Begin one request after the other, as long as each is answered at once."""
        while self._waiting and not self._busy and self._writable:
            self._start(self._waiting.popleft())
        if not self._busy:
            self._go_on_reading()

    def _begin(self, request: Request) -> bool:
        """Whether the request needs no task: it was answered, or will be."""
        if self._server.begin is None:
            return False
        self._beginning = True
        try:
            take_back = self._server.begin(request, self._answered)
        except Exception:  # noqa: BLE001 - the connection and its other requests go on
            _log.exception("a request ended in an error of ours")
            self._answered(self._server.refuse(_OURS))
            return True
        finally:
            self._beginning = False
        if self._busy:
            self._take_back = take_back
        return take_back is not None

    async def _answer_slowly(self, item: Request | HttpRefused) -> None:
        response = await self._answer(item)
        self._work = None
        self._answered(response)

    def _answered(self, response: Response) -> None:
        item, self._item, self._take_back = self._item, None, None
        if item is None or self._transport.is_closing():
            return
        keep = isinstance(item, Request) and self._let_go(item) and not self._server.closing
        self._write(response, keep=keep)
        self._since = self._loop.time()
        if not keep:
            self._give_back()
            self._transport.close()
            return
        self._busy = False
        if not self._beginning and (self._waiting or self._paused):
            self._answer_waiting()

    def _let_go(self, request: Request) -> bool:
        """Give back what its body took; whether its client may ask again."""
        self._server.budget.give(len(request.body))
        return request.head.keep_alive

    def _go_on_reading(self) -> None:
        if self._paused and len(self._waiting) <= PIPELINED:
            self._paused = False
            self._transport.resume_reading()

    async def _answer(self, item: Request | HttpRefused) -> Response:
        if isinstance(item, HttpRefused):
            return self._server.refuse(item)
        try:
            return await self._server.answer(item)
        except Exception:  # noqa: BLE001 - the connection and its other requests go on
            _log.exception("a request ended in an error of ours")
            return self._server.refuse(_OURS)

    def _write(self, response: Response, *, keep: bool) -> None:
        if keep and response.opening:
            self._transport.write(b"".join((response.opening, *response.parts)))
            return
        size = sum(map(len, response.parts))
        head = _head(response.status, response.headers, size, keep)
        if size > JOINED_BYTES:
            self._transport.writelines([head, *response.parts])
        else:
            self._transport.write(b"".join((head, *response.parts)))

    def _give_back(self) -> None:
        while self._waiting:
            self._server.budget.give(_held(self._waiting.popleft()))


def _client(transport: asyncio.Transport) -> str:
    """As `peers` names it."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family == socket.AF_UNIX:
        user = os.getuid()
        if connection is not None:
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            user = _CREDENTIALS.unpack(raw)[1]
        return f"{UNIX}{user}:{id(transport)}"
    peer = transport.get_extra_info("peername")
    if peer is None:
        return f"{GONE}{id(transport)}"
    host, port = peer[:2]
    return f"ipv6:[{host}]:{port}" if ":" in host else f"ipv4:{host}:{port}"


def _held(item: Request | HttpRefused) -> int:
    return len(item.body) if isinstance(item, Request) else 0


_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n" for status in HTTPStatus
}


def opening(headers: tuple[tuple[str, str], ...], size: int) -> bytes:
    """The head of good answers with these headers and so many bytes; empty where those are many."""
    return _head(HTTPStatus.OK, headers, size, True) if size <= JOINED_BYTES else b""  # noqa: FBT003 - by position, as the cache has it


@lru_cache(maxsize=256)
def _head(status: int, headers: tuple[tuple[str, str], ...], size: int, keep: bool) -> bytes:  # noqa: FBT001 - part of the cache's key
    lines = [_STATUS_LINES[status]]
    lines += [f"{name}: {value}\r\n" for name, value in headers]
    if not keep:
        lines.append("Connection: close\r\n")
    lines.append(f"Content-Length: {size}\r\n\r\n")
    return "".join(lines).encode("latin-1")
