"""An endpoint that serves only what is whole on the disk, and notes what it should not do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from sealane.bundle.manifest import parse_manifest
from sealane.errors import SealaneError
from sealane.names import hex_of
from sealane.telemetry.codec import encode_windows
from sealane_agent.serving.app import read_pointer
from sealane_agent.serving.footprint import Footprint
from sealane_agent.serving.footprints import Footprints
from sealane_agent.serving.messages import Traffic
from sealane_agent.worker.contract import read_variant
from support.agent_fakes import FakeEndpoint
from support.workers import MACHINE

if TYPE_CHECKING:
    from sealane.names import Digest
    from sealane.telemetry.types import Window
    from sealane_agent.layout import Pointer, StateFolder
    from sealane_agent.serving.messages import Load, Proved, SlotStatus
    from support.crash_disk import FaultyDisk

ENOUGH: Final = 10
"""Requests after which a probation says something."""


@dataclass
class Endpoint(FakeEndpoint):
    """Serves only what is whole on the disk; notes whatever it should not have been asked for.

    Attributes:
        windows: closed windows of telemetry and their names, until they are said to be stored.
        held: versions that must not be activated now.
        measures: it writes down what models take of memory. Not in every act: each load would
            bring the same operations once more.
        keeping: it writes that now: who dies here is its process, too.
    """

    state: StateFolder | None = None
    disk: FaultyDisk | None = None
    bad_versions: frozenset[int] = frozenset()
    requests: int = ENOUGH
    put_away: set[Digest] = field(default_factory=set)
    held: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    windows: list[tuple[str, Window]] = field(default_factory=list)
    measures: bool = False
    keeping: bool = False

    def copy(self) -> Endpoint:
        """The same processes, once more."""
        return replace(
            self,
            loaded=dict(self.loaded),
            statuses=dict(self.statuses),
            put_away=set(self.put_away),
            held=set(self.held),
            wrong=list(self.wrong),
            windows=list(self.windows),
            state=None,
            disk=None,
        )

    def start(self) -> None:
        """Begin from the pointers, as after the device was switched on."""
        assert self.state is not None
        self.loaded, self.statuses, self.keeping = {}, {}, False
        for slot in self.state.slots():
            pointer = read_pointer(self.state, slot)
            self.begin(slot, pointer)
            if pointer is not None:
                self._require_whole(pointer)
                self._counted(self.statuses[slot])

    async def telemetry(self, stored: str) -> tuple[str, bytes]:
        """Closed windows; those that were stored are forgotten."""
        self._require_supervisor()
        if self.windows and self.windows[0][0] == stored:
            self.windows.pop(0)
        if not self.windows:
            return "", b""
        name, window = self.windows[0]
        return name, encode_windows((window,))

    async def load(self, load: Load) -> Proved:
        self._require_supervisor()
        self._require_whole(load.pointer)
        if self.measures:
            self._measure(load.pointer)
        return await super().load(load)

    async def activate(
        self, slot: str, worker: str, *, probation: bool, share: float = 1.0
    ) -> SlotStatus:
        self._require_supervisor()
        if worker in self.loaded and self.loaded[worker].manifest in self.put_away:
            self.wrong.append(f"{self.loaded[worker].release} is in quarantine, and was activated")
        if probation and self.loaded[worker].release.version in self.held:
            self.wrong.append(f"{self.loaded[worker].release} is held, and was activated")
        status = await super().activate(slot, worker, probation=probation, share=share)
        return self._counted(status)

    async def mirror(self, slot: str, worker: str) -> SlotStatus:
        self._require_supervisor()
        return await super().mirror(slot, worker)

    async def settle(self, slot: str) -> SlotStatus:
        self._require_supervisor()
        return await super().settle(slot)

    async def return_(self, slot: str) -> SlotStatus:
        self._require_supervisor()
        return await super().return_(slot)

    async def drop(self, slot: str, worker: str) -> None:
        self._require_supervisor()
        await super().drop(slot, worker)

    def _measure(self, pointer: Pointer) -> None:
        """Keep what a worker took, as the endpoint does with every one that has proved itself."""
        assert self.state is not None
        _, variant = read_variant(self.state.view(pointer.manifest), pointer.variant)
        kept = Footprints(self.state, MACHINE)
        kept.note(pointer, variant, Footprint(peak=2000, steady=1000, load_ms=20))
        self.keeping = True
        kept.keep()
        self.keeping = False

    def _require_supervisor(self) -> None:
        assert self.disk is not None
        self.disk.tell()

    def _counted(self, status: SlotStatus) -> SlotStatus:
        """The line goes on: every activated worker has had requests."""
        bad = status.active is not None and status.active.release.version in self.bad_versions
        errors = self.requests if bad else 0
        traffic = Traffic(self.requests, errors=errors, fallbacks=errors)
        self.statuses[status.slot] = replace(status, traffic=traffic)
        return self.statuses[status.slot]

    def _require_whole(self, pointer: Pointer) -> None:
        assert self.state is not None
        if pointer.manifest in self.put_away:
            self.wrong.append(f"{pointer.release} is in quarantine, and was loaded")
        self.wrong += broken_files(self.state, pointer)


def broken_files(state: StateFolder, pointer: Pointer) -> list[str]:
    """What is missing or changed of the files that a pointer's worker loads."""
    try:
        content = state.blob(pointer.manifest).read_bytes()
        if hashlib.sha256(content).hexdigest() != hex_of(pointer.manifest):
            return [f"the manifest of {pointer.release} has changed"]
        layers = parse_manifest(content).layers
        found = {item: (state.view(pointer.manifest) / item.path).read_bytes() for item in layers}
    except (OSError, SealaneError) as error:
        return [f"{pointer.release} cannot be loaded: {error!r}"]
    return [
        f"{item.path} of {pointer.release} has changed"
        for item, content in found.items()
        if hashlib.sha256(content).hexdigest() != hex_of(item.digest)
    ]
