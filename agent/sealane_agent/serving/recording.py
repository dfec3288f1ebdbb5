"""Runs the recorder of an endpoint: closes windows in time, and keeps them until they are stored.

Closed windows lie in a file too, so that an endpoint which is killed loses the open window at most.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import TYPE_CHECKING, Final

from sealane.errors import TelemetryError
from sealane.fileio import replace

from sealane_agent.serving.recorder import Recorder
from sealane_agent.serving.waiting import Waiting

if TYPE_CHECKING:
    from pathlib import Path

    from sealane.clock import Clock

    from sealane_agent.serving.sampler import Sampling
    from sealane_agent.serving.waiting import Offer

LOOK_S: Final = 1.0
"""How often the open window is looked at, at least: a probation makes windows shorter."""

_log = logging.getLogger(__name__)


class Recording:
    """The recorder of this endpoint and the windows that it closed."""

    def __init__(self, clock: Clock, path: Path, sampling: Sampling | None = None) -> None:
        self._path = path
        self._waiting = Waiting(secrets.token_hex(16))
        self._writing = asyncio.Lock()
        self._take_over()
        self.recorder = Recorder(clock, self._waiting.add, sampling)

    async def run(self) -> None:
        """Close windows in time, until cancelled; then close the open one, too."""
        try:
            while True:
                await asyncio.sleep(min(LOOK_S, self.recorder.remaining_s))
                if not self.recorder.remaining_s:
                    self.recorder.close()
                    await self._keep()
        finally:
            self.recorder.close()
            self._write(self._waiting.encode())

    async def offer(self, stored: str) -> Offer:
        """What is to be stored next; it is kept under its name before it is handed over."""
        offer = self._waiting.offer(stored)
        await self._keep()
        return offer

    async def _keep(self) -> None:
        async with self._writing:
            await asyncio.to_thread(self._write, self._waiting.encode())

    def _write(self, content: bytes) -> None:
        try:
            replace(self._path, content)
        except OSError as error:
            _log.warning("closed windows cannot be kept beside the socket: %s", error)

    def _take_over(self) -> None:
        try:
            self._waiting.take_over(self._path.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, TelemetryError) as error:
            _log.warning("the windows of an earlier endpoint are lost: %s", error)
