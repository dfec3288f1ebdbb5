"""Decides what devices do in a minute, from what they reported: for what a gate would see. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane_manager.gate.difference import PRIOR
from sealane_manager.gate.power import ASSUMED, Habit
from sealane_manager.rollout.tally import bad

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sealane.telemetry.types import ModelWindow

    from sealane_manager.rollout.tally import Past

MINUTES: Final = 180
"""Over which the pasts were read."""

_LEAST: Final = 0.5
"""Bad requests that a fleet without any is taken to have had."""


def habits_of(pasts: Sequence[Past], treated: int) -> tuple[tuple[Habit, ...], int]:
    """What each device does, in order, and of how many it is known.

    A device of which nothing is known does what another one does, or what ASSUMED says. Each error
    rate is shrunk towards that of all. `treated` devices come first, and borrow from the others.
    """
    models = [each.answers for each in pasts]
    known = [model for model in models if model and model.requests]
    if not known:
        return (ASSUMED,) * len(pasts), 0
    rate = max(_LEAST, sum(map(bad, known))) / sum(model.requests for model in known)
    found = [_habit(model, rate) for model in known]
    own = iter(found)
    habits = tuple(
        next(own) if model and model.requests else found[(place + treated) % len(found)]
        for place, model in enumerate(models)
    )
    return habits, len(known)


def _habit(model: ModelWindow, rate: float) -> Habit:
    own = (bad(model) + PRIOR) / (model.requests + PRIOR / rate)
    return Habit(model.requests / MINUTES, own)
