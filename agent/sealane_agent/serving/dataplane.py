"""Finds a model's slot: the one thing that both doors and the control socket talk to."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sealane_agent.serving.place import DRAIN_S
from sealane_agent.serving.slots import Slot
from sealane_agent.serving.types import ModelUnknown, NotReady

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane.bundle.types import Deployment

    from sealane_agent.layout import Pointer
    from sealane_agent.serving.messages import SlotStatus
    from sealane_agent.serving.recorder import Recorder
    from sealane_agent.serving.request import Outcome
    from sealane_agent.serving.slots import StartWorker
    from sealane_agent.serving.types import Inference, Tensor


@dataclass(frozen=True, slots=True)
class Description:
    """What a client may know about a model."""

    name: str
    versions: tuple[int, ...]
    runtime: str
    deployment: Deployment


@dataclass(frozen=True, slots=True)
class Listed:
    """One model in the repository's index."""

    name: str
    version: int
    ready: bool
    reason: str


class Dataplane:
    """Every slot of this device, by name."""

    def __init__(self, start: StartWorker, recorder: Recorder | None = None) -> None:
        self._start = start
        self._recorder = recorder
        self._slots: dict[str, Slot] = {}

    def slot(self, name: str) -> Slot:
        """A slot that exists; raises ModelUnknown."""
        if name not in self._slots:
            known = ", ".join(sorted(self._slots)) or "none yet"
            raise ModelUnknown(f"no model {name[:80]!r} here", hint=f"the models are: {known}")
        return self._slots[name]

    def open(self, name: str) -> Slot:
        """A slot, made when it is new: for commands, never for requests."""
        return self._slots.setdefault(name, Slot(name, self._start, self._recorder))

    async def infer(
        self, name: str, version: int | None, inference: Inference
    ) -> tuple[Pointer, tuple[Tensor, ...]]:
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
        return self.slot(name).ask(version, inference, done)

    def describe(self, name: str, version: int | None) -> Description:
        """A model that is there; raises ModelUnknown or NotReady."""
        slot = self.slot(name)
        place = slot.find(version)
        deployment = place.deployment
        runtime = next(v.runtime for v in deployment.variants if v.name == place.pointer.variant)
        return Description(name, slot.versions, runtime, deployment)

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
