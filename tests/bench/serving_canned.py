"""Answers every request with the same bytes at once: what is left is what a client costs by itself.

`serving_canned.py REST GRPC SOCKET ADDRESSES` answers with the contents of the first two files,
over HTTP/1.1 on a free port and on a unix socket, and over gRPC, and writes its addresses as JSON.
It looks for the end of a request and for nothing else.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any, Final, cast

import grpc
import grpc.aio
import uvloop

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_END: Final = b"\r\n\r\n"


class Canned(asyncio.Protocol):
    """One connection."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer once for each request that is whole."""
        self._read += data
        while self._read and (end := _end(self._read)) <= len(self._read):
            self._read = self._read[end:]
            self._transport.write(self._answer)


def _end(read: bytes) -> int:
    """Where the request ends that they begin with; behind them while its head is not whole."""
    head = read.find(_END)
    if head < 0:
        return len(read) + 1
    found = _LENGTH.search(read, 0, head)
    return head + len(_END) + (int(found[1]) if found else 0)


def methods(answer: bytes) -> Any:
    """One answer to every inference."""

    async def same(request: bytes, context: Any) -> bytes:
        del request, context
        return answer

    handler = grpc.unary_unary_rpc_method_handler(same)
    return grpc.method_handlers_generic_handler(
        "inference.GRPCInferenceService", {"ModelInfer": handler}
    )


async def serve(rest: bytes, message: bytes, near: str, addresses: Path) -> None:
    """Until killed."""
    loop = asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Canned(rest), "127.0.0.1", 0)
    beside = await loop.create_unix_server(lambda: Canned(rest), near)
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((methods(message),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    host, rest_port = listener.sockets[0].getsockname()[:2]
    said = {"rest": f"{host}:{rest_port}", "grpc": f"{host}:{port}"}
    written = addresses.with_suffix(".new")
    written.write_text(json.dumps(said))
    written.rename(addresses)
    await asyncio.gather(listener.serve_forever(), beside.serve_forever())


if __name__ == "__main__":
    _rest, _grpc, _near, _addresses = sys.argv[1:]
    uvloop.run(serve(Path(_rest).read_bytes(), Path(_grpc).read_bytes(), _near, Path(_addresses)))
