"""Builds what collects, keeps and sends the telemetry of one device, and runs it."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sealane_agent.errors import SpoolDamaged
from sealane_agent.telemetry.collector import Collector
from sealane_agent.telemetry.sending import Sending
from sealane_agent.telemetry.spool import open_spool

if TYPE_CHECKING:
    from pathlib import Path

    from sealane_agent.log import Log
    from sealane_agent.telemetry.collector import Measures, Source, Times
    from sealane_agent.telemetry.spool import Spool

OPEN_AGAIN_S: Final = 60.0
"""After a disk that did not let the spool be opened: what serves does not depend on it."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where windows come from and where they are kept.

    Attributes:
        source: the endpoint, on a connection of its own: one of an earlier version hangs up.
        boot: the kernel's name for this boot.
    """

    spool: Path
    source: Source
    host: Measures
    times: Times
    boot: str


class Telemetry:
    """Runs beside a session, which takes `sending`."""

    def __init__(self, around: Surroundings, log: Log) -> None:
        self._around, self._log = around, log
        self._spool: Spool | None = None
        self.sending = Sending(None, log)

    async def run(self) -> None:
        """Collect until cancelled; what is not sent then stays in the spool."""
        around = self._around
        try:
            spool = await self._opened()
            self.sending.begin(spool)
            collector = Collector(around.source, spool, around.host, around.times)
            await collector.run(self.sending.rouse, self._log)
        finally:
            if self._spool is not None:
                self._spool.close()

    async def _opened(self) -> Spool:
        last = ""
        while True:
            try:
                return await asyncio.to_thread(self._open)
            except (sqlite3.Error, OSError, SpoolDamaged) as why:
                if str(why) != last:
                    self._log("telemetry off", reason=why, hint="it is tried again by itself")
                last = str(why)
            await asyncio.sleep(OPEN_AGAIN_S)

    def _open(self) -> Spool:
        spool, error = open_spool(self._around.spool, self._around.boot)
        self._spool = spool
        if error is not None:
            self._log("telemetry lost", reason=error, hint=error.hint)
        return spool
