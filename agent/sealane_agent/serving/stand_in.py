"""Starts workers; where one for an accelerator cannot be started, another variant stands in.

Only where what was kept must serve again: at the endpoint's start, after a worker's end, on the way
back. A variant that is being tried is never replaced: staging must hear that it failed.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sealane_agent.serving.types import LoadFailed
from sealane_agent.standing_in import in_place_of, stand_ins

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane.bundle.types import Deployment, Variant

    from sealane_agent.layout import Pointer
    from sealane_agent.serving.messages import Load
    from sealane_agent.serving.slots import StartWorker
    from sealane_agent.serving.types import Worker

    Read = Callable[[Pointer], tuple[Deployment, Variant]]

SHARE: Final = 0.5
"""Of a load's time that an accelerator gets: one that hangs must leave time for the CPU."""

_log = logging.getLogger(__name__)


class StandIns:
    """Implements `slots.StartWorker` around another one; `read` raises LoadFailed."""

    def __init__(self, start: StartWorker, read: Read) -> None:
        self._start, self._read = start, read

    async def __call__(self, name: str, load: Load) -> Worker:
        """Start what is asked for, or what may serve in its place; raises LoadFailed."""
        if not load.stand_in:
            return await self._start(name, load)
        deployment, wanted = await asyncio.to_thread(self._read, load.pointer)
        others = stand_ins(deployment, wanted.name)
        if not others:
            return await self._start(name, load)
        part = replace(load, deadline_s=load.deadline_s * SHARE)
        try:
            return await self._start(name, part)
        except LoadFailed as failed:
            told = in_place_of(wanted, failed.failure.message)
            worker = await self._first_of(others, name, part)
            if worker is None:
                raise
        _log.warning("%s: %s", name, told)
        worker.degraded = told
        return worker

    async def _first_of(self, others: tuple[Variant, ...], name: str, load: Load) -> Worker | None:
        """The first variant that can be started: all of them were fetched that fit this device."""
        for variant in others:
            pointer = replace(load.pointer, variant=variant.name)
            try:
                return await self._start(name, replace(load, pointer=pointer))
            except LoadFailed as error:
                _log.warning("%s: %s cannot stand in: %s", name, variant.name, error)
        return None
