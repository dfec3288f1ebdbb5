"""A conversation by single calls, which the session takes for an open line.

What is said while a call is under way goes with the next one. There is a call whenever there is
something to say, so that the heartbeats set the pace at which news is heard.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol

from sealane.limits import GRPC_MESSAGE_BYTES

from sealane_agent.uplink.rpc import SessionEnded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane.fleet import DeviceMessage, ManagerMessage

MESSAGES: Final = 16
"""Said before the next call; then whoever has more to say waits."""

CALL_BYTES: Final = GRPC_MESSAGE_BYTES // 2
"""Of what one call says; a single message may be larger, as on a stream."""

GATHER_S: Final = 0.05
"""What is said at about the same time goes in one call."""


class Exchange(Protocol):
    """How a call is made."""

    def size(self, message: DeviceMessage) -> int:
        """Bytes of a message on the wire."""
        ...

    async def exchange(self, said: Sequence[DeviceMessage]) -> Sequence[ManagerMessage | None]:
        """Say it, and hear the answers, None for one of an unknown kind; raises SessionEnded."""
        ...

    async def close(self) -> None:
        """Make no more calls."""
        ...


class Polled:
    """One conversation."""

    def __init__(self, calls: Exchange) -> None:
        self._calls = calls
        self._said: list[DeviceMessage] = []
        self._heard: asyncio.Queue[ManagerMessage | SessionEnded | None] = asyncio.Queue()
        self._room = asyncio.Condition()
        self._calling: asyncio.Task[None] | None = None
        self._ended: SessionEnded | None = None

    async def say(self, message: DeviceMessage) -> None:
        """Say it with the next call; raises SessionEnded when there is none any more."""
        async with self._room:
            await self._room.wait_for(lambda: len(self._said) < MESSAGES or self._ended is not None)
        if self._ended is not None:
            raise self._ended
        self._said.append(message)
        if self._calling is None:
            self._calling = asyncio.create_task(self._call(), name="poll")

    async def hear(self) -> ManagerMessage | None:
        """The next answer, None for one of an unknown kind; raises SessionEnded."""
        heard = await self._heard.get()
        if isinstance(heard, SessionEnded):
            raise heard
        return heard

    async def close(self) -> None:
        """Hang up."""
        if self._calling is not None:
            self._calling.cancel()
        await self._calls.close()

    async def _call(self) -> None:
        try:
            while self._said:
                await asyncio.sleep(GATHER_S)
                said = self._taken()
                await self._make_room()
                for answer in await self._calls.exchange(said):
                    self._heard.put_nowait(answer)
        except SessionEnded as error:
            self._ended = error
            self._heard.put_nowait(error)
            await self._make_room()
        finally:
            self._calling = None

    def _taken(self) -> list[DeviceMessage]:
        """What goes with the next call: the first message, and what fits beside it."""
        taken = [self._said.pop(0)]
        room = CALL_BYTES - self._calls.size(taken[0])
        while self._said and (room := room - self._calls.size(self._said[0])) >= 0:
            taken.append(self._said.pop(0))
        return taken

    async def _make_room(self) -> None:
        async with self._room:
            self._room.notify_all()
