"""Finds a model's slot: the one thing that both doors and the control socket talk to."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

from sealane.names import SlotName

from sealane_agent.serving.descriptions import Counted, Description, Listed
from sealane_agent.serving.place import DRAIN_S
from sealane_agent.serving.slots import Slot
from sealane_agent.serving.types import ModelUnknown, NotReady

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane_agent.layout import Pointer
    from sealane_agent.serving.admitting import Admission
    from sealane_agent.serving.messages import Load, Proved, SlotStatus
    from sealane_agent.serving.place import Place
    from sealane_agent.serving.recorder import Recorder
    from sealane_agent.serving.request import Outcome
    from sealane_agent.serving.slots import StartWorker
    from sealane_agent.serving.types import Answered, Inference


def _counted(name: str, place: Place) -> Counted:
    last_s = place.totals.last_s
    ago_s = time.perf_counter() - last_s
    return Counted(
        name,
        place.pointer.release.version,
        place.totals,
        place.lifetime,
        place.memory_bytes,
        place.inside,
        round((time.time() - ago_s) * 1000) if last_s else 0,
        degraded=bool(place.degraded),
        peak_bytes=place.peak_bytes,
    )


class Dataplane:
    """Every slot of this device, by name.

    Attributes:
        admission: judges whether there is memory for a load; None: there always is.
    """

    def __init__(
        self,
        start: StartWorker,
        recorder: Recorder | None = None,
        pointers: Callable[[SlotName], Pointer | None] = lambda _: None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._start = start
        self._chance = chance
        self._pointers = pointers
        self._recorder = recorder
        self._slots: dict[str, Slot] = {}
        self.admission: Admission | None = None

    def slot(self, name: str) -> Slot:
        """A slot that exists; raises ModelUnknown."""
        if name not in self._slots:
            known = ", ".join(sorted(self._slots)) or "none yet"
            raise ModelUnknown(f"no model {name[:80]!r} here", hint=f"the models are: {known}")
        return self._slots[name]

    def open(self, name: str) -> Slot:
        """A slot, made when it is new: for commands, never for requests."""
        return self._slots.setdefault(name, Slot(name, self._start, self._recorder, self._chance))

    async def infer(self, name: str, version: int | None, inference: Inference) -> Answered:
        """Answer one request; raises what `Slot.infer` does."""
        return await self.slot(name).infer(version, inference)

    def ask(
        self,
        model: tuple[str, int | None],
        inference: Inference,
        done: Callable[[Outcome], None],
    ) -> Callable[[], None]:
        """Answer one request to a model and version, as `Slot.ask` does; raises ModelUnknown."""
        name, version = model
        slot = self._slots.get(name) or self.slot(name)
        return slot.ask(version, inference, done)

    def describe(self, name: str, version: int | None) -> Description:
        """A model that is there; raises ModelUnknown or NotReady."""
        slot = self.slot(name)
        place = slot.find(version)
        deployment = place.deployment
        variant = next(v for v in deployment.variants if v.name == place.variant)
        return Description(name, slot.versions, variant, deployment)

    def statistics(self, name: str = "", version: int | None = None) -> tuple[Counted, ...]:
        """Every version of every model, or what is named; raises ModelUnknown."""
        names = [name] if name else sorted(self._slots)
        found = tuple(
            _counted(each, place)
            for each in names
            for place in self.slot(each).places
            if version in {None, place.pointer.release.version}
        )
        if version is not None and not found:
            raise ModelUnknown(f"{name} has no such version")
        return found

    async def prove(self, load: Load) -> Proved:
        """Start a standby in a slot, which may be new, once there is room; raises LoadFailed."""
        slot = self.open(load.slot)
        return await (
            slot.load(load) if self.admission is None else self.admission.load(load, slot)
        )

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All of them."""
        return tuple(self._slots.values())

    async def load(self, name: str) -> None:
        """Serve again what the slot's pointer names; raises ModelUnknown or NotReady."""
        slot = self.slot(name)
        pointer = self._pointers(SlotName(name))
        if pointer is None:
            raise ModelUnknown(f"{name} was never kept here", hint="roll a release out to it")
        if not slot.versions:
            slot.begin(pointer)
        await slot.settled()
        slot.find(None)

    def unload(self, name: str) -> None:
        """Serve a model no longer, until it is loaded again; raises ModelUnknown."""
        self.slot(name).park()

    def ready(self, name: str, version: int | None) -> bool:
        """Whether a request would be answered now; an unknown model is not ready."""
        try:
            self.slot(name).find(version)
        except (ModelUnknown, NotReady):
            return False
        return True

    @property
    def all_ready(self) -> bool:
        """Whether every slot that was given a model answers; it turns false when one stops."""
        return all(self.ready(name, None) for name, slot in self._slots.items() if slot.versions)

    def index(self) -> tuple[Listed, ...]:
        """Every version of every model."""
        return tuple(
            Listed(name, version, ready, "" if ready else "is being loaded")
            for name, slot in sorted(self._slots.items())
            for version in slot.versions
            for ready in (self.ready(name, version),)
        )

    def status(self) -> tuple[SlotStatus, ...]:
        """As the supervisor is told."""
        return tuple(slot.status() for slot in self._slots.values())

    async def close(self, drain_s: float = DRAIN_S) -> None:
        """Let every request inside finish and end every worker."""
        await asyncio.gather(*(slot.close(drain_s) for slot in self._slots.values()))
