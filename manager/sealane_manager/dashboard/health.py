"""Answers whoever keeps the manager running: whether it lives, and whether it can work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

ANSWER_S: Final = 2.0
"""How long the store may take to answer."""


class Health:
    """Two routes that ask for no login."""

    def __init__(self, read_store: Callable[[], object], answer_s: float = ANSWER_S) -> None:
        self._read_store, self._answer_s = read_store, answer_s

    def add_to(self, app: FastAPI) -> None:
        """Add the routes."""
        app.add_route("/health/live", self.live, ["GET", "HEAD"])
        app.add_route("/health/ready", self.ready, ["GET", "HEAD"])

    async def live(self, _: Request) -> Response:
        """The loop turns."""
        return PlainTextResponse("alive\n")

    async def ready(self, _: Request) -> Response:
        """The store answers in time; else 503."""
        try:
            async with asyncio.timeout(self._answer_s):
                await asyncio.to_thread(self._read_store)
        except Exception:  # noqa: BLE001 - whatever is wrong, the manager cannot work now
            return PlainTextResponse("the store does not answer\n", 503)
        return PlainTextResponse("ready\n")
