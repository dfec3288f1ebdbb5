"""Builds what collects, keeps and sends the telemetry of one device, and runs it."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING

from sealane_agent.endpoint.link import EndpointLink
from sealane_agent.errors import SpoolDamaged
from sealane_agent.facts import boot_id
from sealane_agent.telemetry.collector import Collector
from sealane_agent.telemetry.host import Host
from sealane_agent.telemetry.sending import Sending
from sealane_agent.telemetry.spool import open_spool

if TYPE_CHECKING:
    from sealane_agent.layout import StateFolder
    from sealane_agent.log import Log
    from sealane_agent.telemetry.collector import Times
    from sealane_agent.telemetry.spool import Spool


class Telemetry:
    """Runs from its start until it is closed; a session takes `sending`.

    The endpoint is asked on a connection of its own: one of an earlier version hangs up.
    """

    @classmethod
    def start(cls, folder: StateFolder, times: Times, log: Log) -> Telemetry | None:
        """Begin; None when the disk does not let it: what serves does not depend on it."""
        try:
            spool, error = open_spool(folder.telemetry, boot_id())
        except (sqlite3.Error, OSError, SpoolDamaged) as why:
            log("telemetry off", reason=why, hint="it begins when the agent is started again")
            return None
        if error is not None:
            log("telemetry lost", reason=error, hint=error.hint)
        return cls(folder, spool, times, log)

    def __init__(self, folder: StateFolder, spool: Spool, times: Times, log: Log) -> None:
        self._spool = spool
        self._link = EndpointLink(folder.control_socket)
        self.sending = Sending(self._spool, log)
        collector = Collector(self._link, self._spool, Host(folder.root), times)
        self._task = asyncio.create_task(collector.run(self.sending.rouse, log), name="telemetry")

    async def close(self) -> None:
        """End; what is not sent yet stays in the spool."""
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._link.close()
        await asyncio.to_thread(self._spool.close)
