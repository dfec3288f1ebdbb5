"""How the chance of a false alarm is shared out, over stages and over kinds of evidence. Pure.

Exact evidence (outcomes of devices, splits within devices, shadow answers) is averaged by weight.
What rests on a model (differences between devices) may not be averaged with it and has a share of
its own, divided over its metrics; an effect must point to harm, which halves its error. A rollout
that splits requests leans on the first, one that switches whole devices on the second. A tenth is
not spent. A question to people (a hold) stops nothing, and has a chance of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane_manager.gate.evidence import enough
from sealane_manager.gate.types import Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

WEIGHTS: Final[Mapping[Kind, float]] = {
    Kind.OUTCOMES: 0.30,
    Kind.ERRORS: 0.30,
    Kind.LATENCY: 0.20,
    Kind.AFTERWARDS: 0.10,
    Kind.DISAGREEMENT: 0.10,
}
"""Shares of the exact bet; a check that is not made keeps its share as cash."""

ASK_ALPHA: Final = 0.01
"""Chance, over all stages, of asking people about predictions that did not really change."""

BETA: Final = 0.05
"""Chance of believing a release harmless that is as bad as was to be excluded."""

_EXACT: Final[Mapping[bool, float]] = {True: 0.6, False: 0.3}
_MODEL: Final[Mapping[bool, float]] = {True: 0.3, False: 0.6}
"""Shares of the chance of a false alarm, with requests split within devices and without."""
_BETWEEN: Final[Mapping[bool, float]] = {True: 0.5, False: 1.0}
"""Share of the chance of asking that differences between devices have; the rest is for splits."""
_METRICS: Final[Mapping[Kind, float]] = {Kind.ERRORS: 2 / 3, Kind.LATENCY: 1 / 3}
_SIDES: Final = 2
WATCH: Final = 0.5
"""Part of the way to enough evidence at which it is watched: a stage does not pass over it."""


def exact(alpha: float, stages: int, *, split: bool) -> float:
    """Logarithm that the average of exact evidence must reach."""
    return enough(_EXACT[split] * alpha / stages)


def modelled(alpha: float, stages: int, kind: Kind, *, split: bool) -> float:
    """Logarithm that this metric's difference between devices must reach, above its margin."""
    return enough(_SIDES * _METRICS[kind] * _MODEL[split] * alpha / stages)


def asked(part: float, stages: int, *, split: bool) -> float:
    """The p value that a look at predictions must fall to, which may spend this part."""
    return part * _BETWEEN[split] * ASK_ALPHA / stages


def asked_within(stages: int) -> float:
    """Logarithm that evidence of other predictions within devices must reach."""
    return enough((1 - _BETWEEN[True]) * ASK_ALPHA / stages)


def harmless() -> float:
    """Logarithm that evidence of harmlessness within devices must reach."""
    return enough(BETA)


def harmless_between() -> float:
    """The same between devices, where only one side counts."""
    return enough(_SIDES * BETA)
