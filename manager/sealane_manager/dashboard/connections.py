"""Lets browsers' connections in: so many at once, each in time for TLS and for a request's head.

Whoever reaches the port can open connections and send what never ends; neither may use up what the
manager has. uvicorn limits none of these, so its protocol is begun and watched here; its parser is
the one that comes with it everywhere.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from sealane.limits import KIB
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

HANDSHAKE_S: Final = 10.0
"""What a connection gets until its TLS stands."""

HEAD_S: Final = 20.0
"""What a request's head may take, from its first byte; the first one's from the connection on."""

HEAD_BYTES: Final = 64 * KIB
"""How large a head may be."""


@dataclass(frozen=True, slots=True)
class Room:
    """What connections have in common.

    Attributes:
        most: connections at once; one more is closed at once.
        inside: those that are open.
    """

    tls: ssl.SSLContext
    most: int
    inside: set[Gate] = field(default_factory=set)

    def close(self) -> None:
        """End those that have no TLS yet: nothing of theirs is waited for."""
        for gate in tuple(self.inside):
            gate.give_up()


class Gate(asyncio.Protocol):
    """A connection until its TLS stands; `make` makes what answers it then."""

    def __init__(self, room: Room, make: Callable[[Callable[[], None]], Browser]) -> None:
        self._room, self._make = room, make
        self._shaking: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody connected."""
        connection = cast("asyncio.Transport", transport)
        if len(self._room.inside) >= self._room.most:
            connection.abort()
            return
        connection.pause_reading()  # TLS reads it from the first byte on
        self._room.inside.add(self)
        self._shaking = asyncio.create_task(self._shake_hands(connection))

    def give_up(self) -> None:
        """End the connection where its TLS does not stand yet."""
        if self._shaking is not None:
            self._shaking.cancel()

    def _left(self) -> None:
        self._room.inside.discard(self)

    async def _shake_hands(self, connection: asyncio.Transport) -> None:
        browser = self._make(self._left)
        loop = asyncio.get_running_loop()
        try:
            secured = await loop.start_tls(
                connection,
                browser,
                self._room.tls,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_S,
            )
        except (OSError, asyncio.CancelledError):  # no TLS, or none in time: nobody we know
            connection.abort()
            self._left()
            return
        finally:
            self._shaking = None
        browser.begin(secured)


class Browser(H11Protocol):
    """Answers one connection's requests; `left` is called once it has ended."""

    def __init__(self, left: Callable[[], None], **told: Any) -> None:
        super().__init__(**told)
        self._left = left
        self._early = bytearray()
        self._gone = False
        self._due: asyncio.TimerHandle | None = None

    def begin(self, secured: asyncio.Transport | None) -> None:
        """Read what comes; some of it may have come with the last word of TLS."""
        if self._gone or secured is None:
            self._left()
            return
        self.connection_made(secured)
        self._await_head()
        if self._early:
            self.data_received(bytes(self._early))
            self._early.clear()

    def data_received(self, data: bytes) -> None:
        """Take bytes."""
        if self.transport is None:
            self._early += data
            return
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._head_is_there()
        elif self._due is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self._head_is_there()
        self._gone = True
        self._left()
        if self.transport is not None:
            super().connection_lost(exc)

    def _await_head(self) -> None:
        self._due = self.loop.call_later(HEAD_S, self.transport.abort)

    def _head_is_there(self) -> None:
        due, self._due = self._due, None
        if due is not None:
            due.cancel()
