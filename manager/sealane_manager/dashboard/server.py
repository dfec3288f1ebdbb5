"""Serves the dashboard over TLS in the manager's own event loop."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import uvicorn
from sealane.errors import SealaneError

from sealane_manager.dashboard.connections import HEAD_BYTES, Browser, Gate, Room

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sealane_manager.dashboard.web import Web
    from sealane_manager.rpc.servers import Tls

GRACE_S: Final = 2
"""How long pages that are being sent may finish when the manager stops."""

BACKLOG: Final = 64
"""Connections that are accepted together, before the first of them is looked at."""


class _Server(uvicorn.Server):
    """A server that leaves signals to the manager."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Catch none."""
        yield


class DashboardServer:
    """One listening dashboard, for `most` connections at once."""

    def __init__(self, web: Web, tls: Tls, most: int) -> None:
        self._web = web
        self._room = Room(_context(tls), most)
        config = uvicorn.Config(
            web.app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
            backlog=BACKLOG,
            h11_max_incomplete_event_size=HEAD_BYTES,
        )
        config.load()
        config.http_protocol_class = self._connected  # type: ignore[assignment]  # only called
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None

    async def open(self, host: str, port: int) -> int:
        """Listen; returns the port's real number, or raises SealaneError."""
        listening = _listen(host, port)
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))
        self._warming = asyncio.create_task(asyncio.to_thread(self._web.warm_up))
        return int(listening.getsockname()[1])

    async def close(self) -> None:
        """End live streams, let other answers finish, and close the port."""
        self._web.close()
        self._room.close()
        self._server.should_exit = True
        for task in (self._warming, self._task):
            if task:
                await task

    def _connected(self, **told: Any) -> Gate:
        return Gate(self._room, lambda left: Browser(left, **told))


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise SealaneError(
            f"the dashboard port {host}:{port} cannot be opened: {error.strerror or error}",
            hint="choose another with --dashboard-port, or stop what listens there",
        ) from error
    return listening


def _context(tls: Tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with tempfile.TemporaryDirectory() as folder:  # the ssl module reads keys from files only
        path = Path(folder) / "server.pem"
        path.touch(mode=0o600)
        path.write_bytes(tls.key + tls.certificate)
        context.load_cert_chain(path)
    return context
