"""Waits in an event loop for what others do in it, for as long as they need."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


async def until(holds: Callable[[], bool]) -> None:
    """Let everything else go on until this holds."""
    while not holds():  # noqa: ASYNC110 - nothing tells when
        await asyncio.sleep(0.001)
