"""The HTTP door on a loopback socket: order, limits in time, clients that leave, an orderly end."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import uvloop
from sealane_agent.oip.http import IDLE_S, PIPELINED, READ_S, WRITE_S, HttpServer, Response
from sealane_agent.oip.http_reader import LARGE_BYTES
from sealane_agent.oip.rest_pages import refuse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import pytest
    from sealane_agent.oip.http_reader import Request


@dataclass
class Door:
    """Answers each path with itself, once its gate is open."""

    asked: list[str] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    size: int = 0

    async def answer(self, request: Request) -> Response:
        self.asked.append(request.path)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request.path)
            raise
        if request.path == "/broken":
            raise RuntimeError("on purpose")
        return Response(200, (request.path.encode() + bytes(request.body), bytes(self.size)))


@asynccontextmanager
async def listening(door: Door) -> AsyncIterator[tuple[HttpServer, int]]:
    http = HttpServer(door.answer, refuse)
    server = await asyncio.get_running_loop().create_server(http.connect, "127.0.0.1", 0)
    try:
        yield http, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await http.close(1)


def run(test: Callable[[Door, HttpServer, int], Awaitable[None]]) -> None:
    async def within() -> None:
        door = Door()
        async with asyncio.timeout(20), listening(door) as (http, port):
            await test(door, http, port)

    uvloop.run(within())


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - the other side is a socket, not an event
        await asyncio.sleep(0.005)


def later(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


def test_pipelined_requests_are_answered_in_order_one_at_a_time() -> None:
    async def test(door: Door, _: HttpServer, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 3 * PIPELINED
        writer.write(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % n for n in range(count)))
        await until(lambda: bool(door.asked))
        await asyncio.sleep(0.02)
        assert door.asked == ["/0"]
        door.gate.set()
        for number in range(count):
            assert await answer_of(reader) == (200, b"/%d" % number)
        writer.write(b"GET /last HTTP/1.1\r\n\r\n")
        assert await answer_of(reader) == (200, b"/last")
        writer.close()

    run(test)


def test_an_error_of_ours_is_a_500_and_the_connection_goes_on() -> None:
    async def test(door: Door, _: HttpServer, port: int) -> None:
        door.gate.set()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /broken HTTP/1.1\r\n\r\nGET /next HTTP/1.1\r\n\r\n")
        status, body = await answer_of(reader)
        assert (status, b"error" in body) == (500, True)
        assert await answer_of(reader) == (200, b"/next")
        writer.close()

    run(test)


def test_a_client_that_goes_away_takes_its_request_with_it() -> None:
    async def test(door: Door, http: HttpServer, port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /a HTTP/1.1\r\n\r\n")
        await until(lambda: bool(door.asked))
        writer.close()
        await until(lambda: not http.connections)
        assert door.cancelled == ["/a"]

    run(test)


def test_clients_that_have_left_before_they_are_accepted_are_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def test(door: Door, http: HttpServer, port: int) -> None:
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        door.gate.set()
        writer.write(b"GET /here HTTP/1.1\r\n\r\n")
        assert (await answer_of(reader))[0] == 200
        writer.close()
        await until(lambda: not http.connections)

    run(test)
    assert not caplog.records


def test_a_body_that_never_ends_gets_a_timeout() -> None:
    async def test(_: Door, http: HttpServer, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc")
        await until(lambda: any(c._reader.in_request for c in http.connections))
        (connection,) = http.connections
        connection.check_time(later(READ_S - 1))
        connection.check_time(later(READ_S + 1))
        assert (await answer_of(reader))[0] == 408
        assert await reader.read() == b""
        writer.close()

    run(test)


def test_who_sends_a_large_body_slowly_holds_up_nobody_and_who_leaves_frees_its_place() -> None:
    async def test(door: Door, http: HttpServer, port: int) -> None:
        door.gate.set()
        body = bytes(range(256)) * (LARGE_BYTES // 64)
        whole = b"POST /large HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(whole)
        assert await answer_of(reader) == (200, b"/large" + body)
        slow_reader, slow_writer = await asyncio.open_connection("127.0.0.1", port)
        slow_writer.write(whole[: len(whole) // 2])
        await until(lambda: http.bodies.of("").in_use == 1)
        for _ in range(3):
            writer.write(whole)
            assert await answer_of(reader) == (200, b"/large" + body)
        assert http.bodies.of("").in_use == 1
        slow_writer.write(whole[len(whole) // 2 :])
        assert await answer_of(slow_reader) == (200, b"/large" + body)
        slow_writer.write(whole[:-1])
        await until(lambda: http.bodies.of("").in_use == 1)
        slow_writer.transport.abort()
        await until(lambda: http.bodies.of("").in_use == 0)
        writer.close()

    run(test)


def test_a_large_body_that_never_ends_gives_its_place_back() -> None:
    async def test(door: Door, http: HttpServer, port: int) -> None:
        door.gate.set()
        head = b"POST /large HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % LARGE_BYTES
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head + bytes(LARGE_BYTES))
        await answer_of(reader)
        writer.write(head + b"only this")
        await until(lambda: http.bodies.of("").in_use == 1)
        (connection,) = http.connections
        connection.check_time(later(READ_S + 1))
        assert (await answer_of(reader))[0] == 408
        assert http.bodies.of("").in_use == 0
        writer.close()

    run(test)


def test_an_idle_connection_stays_long_and_ends() -> None:
    async def test(_: Door, http: HttpServer, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await until(lambda: bool(http.connections))
        (connection,) = http.connections
        connection.check_time(later(IDLE_S - 1))
        assert http.connections
        connection.check_time(later(IDLE_S + 1))
        assert await reader.read() == b""
        writer.close()

    run(test)


def test_a_request_that_takes_long_is_not_idle() -> None:
    async def test(door: Door, http: HttpServer, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /a HTTP/1.1\r\n\r\n")
        await until(lambda: bool(door.asked))
        (connection,) = http.connections
        connection.check_time(later(2 * IDLE_S))
        door.gate.set()
        assert await answer_of(reader) == (200, b"/a")
        writer.close()

    run(test)


def test_a_client_that_reads_nothing_is_disconnected() -> None:
    async def test(door: Door, http: HttpServer, port: int) -> None:
        door.size = 32 * 1024 * 1024
        door.gate.set()
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /a HTTP/1.1\r\n\r\n")
        await until(lambda: any(not c._writable for c in http.connections))
        (connection,) = http.connections
        connection.check_time(later(WRITE_S + 1))
        await until(lambda: not http.connections)
        writer.close()

    run(test)


def test_a_client_that_waits_for_leave_to_send_gets_it() -> None:
    async def test(door: Door, _: HttpServer, port: int) -> None:
        door.gate.set()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /a HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hi")
        assert await answer_of(reader) == (200, b"/ahi")
        writer.close()

    run(test)


def test_what_is_no_http_is_told_so() -> None:
    async def test(_: Door, http: HttpServer, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"\x16\x03\x01 this is TLS\r\n\r\n")
        assert (await answer_of(reader))[0] == 400
        assert await reader.read() == b""
        writer.close()
        await until(lambda: not http.connections)
        http.budget.take(512 * 1024 * 1024)

    run(test)


def test_an_end_waits_for_the_answer_and_says_that_it_is_the_last() -> None:
    async def test(door: Door, http: HttpServer, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /a HTTP/1.1\r\n\r\n")
        await until(lambda: bool(door.asked))
        closing = asyncio.create_task(http.close(5))
        assert await idle_reader.read() == b""
        door.gate.set()
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"Connection: close" in head
        assert await reader.read() == b"/a"
        await closing
        writer.close()
        idle_writer.close()

    run(test)
