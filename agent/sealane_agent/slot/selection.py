"""Measures variants of one attempt, each in its own worker, and keeps the best one loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane_agent.errors import Failed
from sealane_agent.layout import Pointer
from sealane_agent.ranking import bar
from sealane_agent.serving.messages import GivesWay, Load
from sealane_agent.serving.types import LoadFailed
from sealane_agent.slot import variants
from sealane_agent.slot.state import Choice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sealane.bundle.types import Objective, Variant
    from sealane.failure import Failure

    from sealane_agent.endpoint.seam import Endpoint
    from sealane_agent.serving.messages import Proved
    from sealane_agent.slot.state import Attempt
    from sealane_agent.standing_in import Passed

LOAD_DEADLINE_S: Final = 120.0
"""How long one variant may take to load, warm up and prove itself."""


class Selection:
    """Of one staging, by a bundle's objective.

    Attributes:
        best: the best one that has proved itself; it stands by.
        failures: of those that did not.
        passed: the same variants, each with its reason.
        tried: how many were loaded, or should have been.
        proved: how many of them proved themselves.
    """

    def __init__(self, endpoint: Endpoint, attempt: Attempt, objective: Objective) -> None:
        self._endpoint, self._attempt, self._objective = endpoint, attempt, objective
        self.best: Choice | None = None
        self.failures: list[Failure] = []
        self.passed: list[Passed] = []
        self.tried = self.proved = 0

    async def measure(self, variant: Variant) -> None:
        """Load one more; the worse of two goes. Raises ConnectionError."""
        self.tried += 1
        # What is only compared costs nobody a warm model.
        gives_way = GivesWay.IDLE if self.best is None else GivesWay.NOTHING
        try:
            found = await self._load(variant, gives_way)
        except LoadFailed as error:
            self.failures.append(error.failure)
            self.passed.append((variant, error.failure.message))
            return
        # Never more than two on trial at once: each one takes the memory of a model.
        self.best = found if self.best is None else await self._better(self.best, found)

    async def instead(self, chosen: Iterable[Variant]) -> None:
        """Load one in the place of what serves; only one, since nobody serves meanwhile."""
        variant = variants.too_large(chosen, self.failures)
        if variant is None:
            return
        try:
            self.best = await self._load(variant, GivesWay.SERVING)
        except LoadFailed as error:
            self.failures.insert(0, variants.even_alone(error.failure))

    def winner(self) -> Choice:
        """The best one; raises Failed when there is none."""
        if self.best is None:
            raise Failed(variants.worst(self.failures))
        return self.best

    async def _better(self, one: Choice, other: Choice) -> Choice:
        winner, loser = variants.better(self._objective, one, other)
        await self._endpoint.drop(self._attempt.slot, loser.proved.worker)
        return winner

    async def _load(self, variant: Variant, gives_way: GivesWay) -> Choice:
        attempt = self._attempt
        pointer = Pointer(attempt.release, attempt.manifest, variant.name)
        best = bar(self._objective, self.best.proved if self.best else None)
        load = Load(attempt.slot, pointer, LOAD_DEADLINE_S, gives_way=gives_way, bar=best)
        proved = await self._endpoint.load(load)
        self.proved += 1
        return _choice(variant, proved)


def _choice(variant: Variant, proved: Proved) -> Choice:
    return Choice(variant.name, variant.runtime, variant.accelerator, variant.precision, proved)
