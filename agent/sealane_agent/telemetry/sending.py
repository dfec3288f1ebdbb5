"""Sends batches of windows in a session: one at a time, until each is acknowledged.

The newest windows go first. What is old follows no faster than the profile of the link says, so
that days offline never stand in the way of anything else on the line.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

from sealane_agent.uplink.profile import DEFAULT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sealane.telemetry.types import TelemetryAck, TelemetryBatch

    from sealane_agent.log import Log

AGAIN_FIRST_S: Final = 60.0
AGAIN_MAX_S: Final = 900.0
"""A batch that is not acknowledged after this time is sent again; doubled each time."""

LOOK_S: Final = 30.0
"""The spool is looked at so often, whoever forgot to say that it has something new."""


class Outgoing(Protocol):
    """The spool, as the session sees it."""

    def next_batch(self) -> TelemetryBatch | None:
        """The same until it is acknowledged."""
        ...

    def acknowledge(self, ack: TelemetryAck) -> None:
        """Forget what the manager has stored."""
        ...


class Sending:
    """Sends what a spool holds, in one session after the other; nothing before it has one."""

    def __init__(self, spool: Outgoing | None, log: Log) -> None:
        self._spool, self._log = spool, log
        self.bytes_s = DEFAULT.telemetry_bytes_s
        self._news, self._acked = asyncio.Event(), asyncio.Event()
        self._sent: TelemetryBatch | None = None

    def begin(self, spool: Outgoing) -> None:
        """Send what this one holds."""
        self._spool = spool
        self.rouse()

    def rouse(self) -> None:
        """Hear that the spool has something new."""
        self._news.set()

    async def hear(self, ack: TelemetryAck) -> None:
        """Take an acknowledgement."""
        if self._spool is None:
            return
        with suppress(sqlite3.Error):  # then it is sent again, under the same name
            await asyncio.to_thread(self._spool.acknowledge, ack)
        sent = self._sent
        if sent is not None and sent.boot == ack.boot and sent.sequence <= ack.sequence:
            self._acked.set()

    async def run(self, say: Callable[[TelemetryBatch], Awaitable[None]]) -> None:
        """Send until cancelled; raises what `say` does."""
        again, self._sent = AGAIN_FIRST_S, None
        while True:
            self._news.clear()
            batch = await self._next()
            if batch is None:
                await _wait(self._news, LOOK_S)
                continue
            again = min(AGAIN_MAX_S, again * 2) if batch == self._sent else AGAIN_FIRST_S
            self._sent = batch
            self._acked.clear()
            await say(batch)
            await _wait(self._acked, again)
            await asyncio.sleep(len(batch.body) / self.bytes_s)

    async def _next(self) -> TelemetryBatch | None:
        if self._spool is None:
            return None
        try:
            return await asyncio.to_thread(self._spool.next_batch)
        except sqlite3.Error as error:
            self._log("telemetry not sent", reason=error)
            return None


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
