"""Looks whether this process does its work, and tells the service manager so long as it does.

A process that only breathes is not well: its journal must answer, and every slot's loop must turn.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Protocol

from sealane_agent.errors import JournalDamaged

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sealane.service import ServiceManager

    from sealane_agent.log import Log

LOOKS_A_PATIENCE: Final = 4
"""How often one looks while the service manager waits once."""

LOOK_EVERY_S: Final = 10.0
"""How often one looks when it does not wait."""

ANSWER_S: Final = 5.0
"""How long the journal may take to answer."""


class Loops(Protocol):
    """The supervisor, as its doctor sees it."""

    def stuck(self) -> tuple[str, ...]:
        """Slots whose loop has not turned for too long."""
        ...


class Examination:
    """One look at a supervisor."""

    def __init__(self, loops: Loops, read_journal: Callable[[], object]) -> None:
        self._loops, self._read_journal = loops, read_journal
        # Of its own: a thread that is waited for tells nothing about the journal.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="health")

    async def __call__(self) -> str:
        """What is wrong with it; empty when nothing is."""
        try:
            async with asyncio.timeout(ANSWER_S):
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._thread, self._read_journal)
        except TimeoutError:
            return f"the journal does not answer within {ANSWER_S:.0f} s"
        except (OSError, JournalDamaged) as error:
            return str(error)
        if stuck := self._loops.stuck():
            return f"the loop of {', '.join(stuck)} does not turn"
        return ""


async def keep_telling(
    service: ServiceManager, examine: Callable[[], Awaitable[str]], log: Log
) -> None:
    """Until cancelled: ready with the first good look, alive with every other."""
    pause = service.patience_s / LOOKS_A_PATIENCE if service.patience_s else LOOK_EVERY_S
    ready, last = False, ""
    while True:
        wrong = await examine()
        if wrong and wrong != last:
            log("not well", reason=wrong)
        if not wrong:
            if not ready:
                service.ready()
            service.alive()
            ready = True
        if wrong != last or not wrong:
            service.status(wrong or "well")
        last = wrong
        await asyncio.sleep(pause)
