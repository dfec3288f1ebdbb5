"""Keeps what a slot ends in the background: places that drain, until their workers are gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Coroutine

    from sealane_agent.serving.place import Place


class Leaving:
    """Of one slot."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], Place | None] = {}

    @property
    def places(self) -> tuple[Place, ...]:
        """Those that end now."""
        return tuple(place for place in self._tasks.values() if place is not None)

    def start(self, work: Coroutine[None, None, None], place: Place | None = None) -> None:
        """Do this in the background, where it goes on whoever is cancelled; it may end a place."""
        task = asyncio.create_task(work)
        self._tasks[task] = place
        task.add_done_callback(self._tasks.pop)

    async def wait(self, names: Collection[str] | None = None) -> None:
        """Until the places of these names have ended; without names, all of them."""
        awaited = [
            task
            for task, place in self._tasks.items()
            if task is not asyncio.current_task()
            if names is None or (place is not None and place.name in names)
        ]
        if awaited:
            await asyncio.wait(awaited)
