"""Brings windows into the spool: from the endpoint every ten seconds, from the machine each minute.

What cannot be fetched or written now stays where it is; nothing here stops the supervisor.
"""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol

from sealane.errors import SealaneError, TelemetryError
from sealane.telemetry.codec import decode_windows
from sealane.telemetry.decoding import LARGEST_LEVEL
from sealane.telemetry.merging import merge_hosts
from sealane.telemetry.types import Level, Window

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime, timedelta

    from sealane.clock import Clock
    from sealane.telemetry.types import HostWindow

    from sealane_agent.log import Log
    from sealane_agent.telemetry.spool import Spool

STEP_S: Final = 10
"""Between two looks at the endpoint and the machine, at full multiples of it."""

LATER_S: Final = 1.5
"""After a full multiple: the endpoint has closed its window then."""

MINUTE_S: Final = 60
"""Windows of the machine are as long as the endpoint's."""

COMPACT_S: Final = 600
"""Between two merges of old windows."""

REST_FIRST_S: Final = 5.0
REST_MAX_S: Final = 300.0
"""After an endpoint that did not answer, doubled each time: one of an earlier version never does.
"""


class Source(Protocol):
    """The endpoint, on a connection of its own."""

    async def telemetry(self, stored: str) -> tuple[str, bytes]:
        """Closed windows and their name; raises ConnectionError or SealaneError."""
        ...


class Measures(Protocol):
    """What says how the machine is: `sealane_agent.telemetry.host.Host`."""

    def measure(self) -> HostWindow:
        """How it is now."""
        ...


@dataclass(frozen=True, slots=True)
class Times:
    """The device's clock, and the trusted time that windows are written in.

    Attributes:
        offset: how far the clock is ahead of the manager's; None while that is not known.
    """

    clock: Clock
    trusted: Callable[[], datetime]
    offset: Callable[[], timedelta | None]

    def shift_s(self) -> int:
        """How far the trusted time is ahead of the device's clock."""
        return round((self.trusted() - self.clock.now()).total_seconds())

    def offset_ms(self) -> Level | None:
        """How far the clock is ahead, as windows tell it."""
        ahead = self.offset()
        if ahead is None:
            return None
        milliseconds = round(ahead.total_seconds() * 1000)
        return Level.of(min(LARGEST_LEVEL, max(-LARGEST_LEVEL, milliseconds)))

    def now_s(self) -> int:
        """Trusted seconds since 1970."""
        return int(self.trusted().timestamp())


class Collector:
    """Collects for one device; `rouse` is called when the spool has something new."""

    def __init__(self, source: Source, spool: Spool, host: Measures, times: Times) -> None:
        self._source, self._spool, self._host, self._times = source, spool, host, times
        self._measured: HostWindow | None = None
        self._minute = self._minute_now()
        self._compact_at = self._ask_at = 0.0
        self._rest_s = REST_FIRST_S

    async def run(self, rouse: Callable[[], None], log: Log) -> None:
        """Collect until cancelled."""
        last = ""
        while True:
            into = self._times.clock.now().timestamp() % STEP_S
            await asyncio.sleep(STEP_S - into + LATER_S)
            try:
                await self.collect()
                last = ""
            except (sqlite3.Error, OSError, SealaneError) as error:
                if str(error) != last:
                    log("telemetry not collected", reason=error)
                last = str(error)
            rouse()

    async def collect(self) -> None:
        """One look; raises what kept windows from being stored: they stay where they are.

        An endpoint that does not answer raises ConnectionError when it has not for some minutes.
        """
        await asyncio.to_thread(self._measure)
        now = self._times.clock.monotonic()
        if now >= self._ask_at:
            await self._fetch(now)
        if now >= self._compact_at:
            self._compact_at = now + COMPACT_S
            await asyncio.to_thread(self._spool.compact, self._times.now_s())

    async def _fetch(self, now: float) -> None:
        stored = await asyncio.to_thread(lambda: self._spool.stored)
        try:
            name, body = await self._source.telemetry(stored)
            while name:
                await asyncio.to_thread(self._store, name, body)
                name, body = await self._source.telemetry(name)
            self._rest_s = REST_FIRST_S
        except ConnectionError:
            self._ask_at = now + self._rest_s
            self._rest_s = min(REST_MAX_S, 2 * self._rest_s)
            if self._rest_s == REST_MAX_S:
                raise

    def _store(self, name: str, body: bytes) -> None:
        """Put windows; raises TelemetryError for damaged ones, which do not come again."""
        shift = self._times.shift_s()
        try:
            windows = decode_windows(body)
        except TelemetryError:
            self._spool.put((), name)
            raise
        shifted = [replace(item, start=max(0, item.start + shift)) for item in windows]
        self._spool.put(shifted, name)

    def _measure(self) -> None:
        """Measure; put the window of a minute that is over."""
        minute = self._minute_now()
        if minute != self._minute:
            begun, measured = self._minute, self._measured
            self._minute, self._measured = minute, None
            if measured is not None:
                start = begun * MINUTE_S + self._times.shift_s()
                self._spool.put_measured(Window(max(0, start), MINUTE_S, host=measured))
        sample = replace(self._host.measure(), clock_offset=self._times.offset_ms())
        self._measured = merge_hosts(self._measured, sample)

    def _minute_now(self) -> int:
        return int(self._times.clock.now().timestamp()) // MINUTE_S
