"""Sends samples to the manager, slowly and one by one; deletes what was taken or is over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from sealane_agent.errors import Refused, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

    from sealane_agent.log import Log
    from sealane_agent.sampling.keeping import Samples

LOOK_S: Final = 10.0
"""Between two looks at the folder."""

BYTES_PER_S: Final = 16 * 1024
"""Samples never stand in the way of anything else on the line."""


class SampleSending:
    """Runs beside the session; `send` blocks and raises Refused or Unreachable."""

    def __init__(self, samples: Samples, send: Callable[[bytes], None], log: Log) -> None:
        self._samples, self._send, self._log = samples, send, log
        self._last = ""

    async def run(self, trusted: Callable[[], datetime]) -> None:
        """Until cancelled."""
        while True:
            try:
                await self.look(trusted)
                self._last = ""
            except (Unreachable, OSError) as error:
                if str(error) != self._last:
                    self._log("samples not sent", reason=error)
                self._last = str(error)
            await asyncio.sleep(LOOK_S)

    async def look(self, trusted: Callable[[], datetime]) -> None:
        """Delete what is over, send what waits; raises Unreachable or OSError."""
        gone = await asyncio.to_thread(self._samples.sweep, int(trusted().timestamp()))
        if gone:
            self._log("samples deleted", count=gone)
        for path in await asyncio.to_thread(self._samples.waiting):
            if self._samples.forbidden:
                return
            size = await asyncio.to_thread(self._deliver, path)
            await asyncio.sleep(size / BYTES_PER_S)

    def _deliver(self, path: Path) -> int:
        sealed = path.read_bytes()
        try:
            self._send(sealed)
        except Refused as error:
            self._log("sample refused", reason=error)
        path.unlink(missing_ok=True)
        return len(sealed)
