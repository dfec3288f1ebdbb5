"""Keeps the store small: removes what no slot needs, nor what has come by a kit, any more."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sealane.bundle.manifest import parse_manifest
from sealane.errors import BundleError

from sealane_agent.errors import DiskTrouble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sealane.names import Digest

    from sealane_agent.log import Log
    from sealane_agent.slot.desires import Desires
    from sealane_agent.slot.slots import Slots
    from sealane_agent.store import Store

AGAIN_S: Final = 60.0
"""Pause after which a disk that let nothing be removed is tried again."""


class Cleaning:
    """Cleans one store when it is due. `besides` removes other things then; it blocks."""

    def __init__(
        self, store: Store, desires: Desires, besides: Callable[[], None], log: Log
    ) -> None:
        self._store, self._desires, self._besides, self._log = store, desires, besides, log
        self._due = asyncio.Event()

    def soon(self) -> None:
        """Something may have become useless."""
        self._due.set()

    async def run(self, slots: Slots) -> None:
        """Until cancelled."""
        while True:
            await self._due.wait()
            self._due.clear()
            try:
                await self._clean(frozenset(self._needed(slots)))
            except (OSError, DiskTrouble) as error:
                self._log("store not cleaned", reason=error, hint="it is tried again later")
                await asyncio.sleep(AGAIN_S)
                self._due.set()

    async def _clean(self, kept: frozenset[Digest]) -> None:
        gone = await asyncio.to_thread(self._remove_all_but, kept)
        if gone:
            self._log("store cleaned", removed=gone)
        await asyncio.to_thread(self._besides)

    def _needed(self, slots: Slots) -> Iterator[Digest]:
        """Manifests of all that serves, may serve again, or is on its way."""
        for wanted in self._desires.wanted.values():
            yield wanted.assignment.manifest
        for loop in slots:
            if loop.record.attempt is not None:
                yield loop.record.attempt.manifest
            if loop.record.before is not None:
                yield loop.record.before.manifest
            status = loop.seen.serving
            active, previous = (status.active, status.previous) if status else (None, None)
            for pointer in (loop.seen.active, loop.seen.lkg, active, previous):
                if pointer is not None:
                    yield pointer.manifest

    def _remove_all_but(self, manifests: frozenset[Digest]) -> int:
        blobs = set(manifests)
        for manifest in manifests:
            with suppress(OSError, BundleError):
                layers = parse_manifest(self._store.path(manifest).read_bytes()).layers
                blobs |= {layer.digest for layer in layers}
        return self._store.collect(blobs, manifests)
