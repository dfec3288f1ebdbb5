"""Decides what is compared with what: inputs and predictions of a model, now and before. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from sealane.telemetry.bins import CONFIDENCE_EDGES, Bins

from sealane_manager.drift.distance import compare

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sealane.telemetry.types import ModelWindow

    from sealane_manager.drift.distance import Difference

CLASSES: Final = "predicted class"
CONFIDENCE: Final = "confidence"
PREDICTIONS: Final = (CLASSES, CONFIDENCE)
"""What a model answers, beside its inputs; the producer gives no reference for it."""


class Against(StrEnum):
    """With what current values are compared."""

    REFERENCE = "reference"
    """The producer's data, from the signed bundle."""
    PAST = "past"
    """The same at this time of day, in the days before."""
    PEERS = "peers"
    """All other devices with the same release, now."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Current values beside one baseline; a baseline of nothing says nothing."""

    against: Against
    baseline: Bins
    difference: Difference


@dataclass(frozen=True, slots=True)
class Distribution:
    """One input or prediction, beside each baseline that there is."""

    name: str
    now: Bins
    compared: tuple[Compared, ...]

    def of(self, against: str) -> Compared | None:
        """The comparison with one baseline."""
        return next((each for each in self.compared if each.against == against), None)


def features(model: ModelWindow | None) -> Mapping[str, Bins]:
    """Everything that was counted in bins: inputs by name, then predictions."""
    if model is None:
        return {}
    answers = model.predictions
    counted = {
        **model.inputs,
        CLASSES: Bins((answers.other_classes, *answers.classes)),
        CONFIDENCE: answers.confidence,
    }
    return {name: bins for name, bins in counted.items() if bins.seen}


def beside(
    now: Mapping[str, Bins], baselines: Mapping[Against, Mapping[str, Bins]]
) -> tuple[Distribution, ...]:
    """Each distribution beside the baselines that counted the same."""
    return tuple(
        Distribution(
            name,
            bins,
            tuple(
                Compared(against, found[name], compare(bins, found[name]))
                for against, found in baselines.items()
                if name in found and found[name].seen
            ),
        )
        for name, bins in now.items()
    )


def without(everyone: Mapping[str, Bins], own: Mapping[str, Bins]) -> Mapping[str, Bins]:
    """What the others counted; never below 0, because a device may say more than arrived."""
    return {name: _less(bins, own.get(name, Bins())) for name, bins in everyone.items()}


def _less(whole: Bins, part: Bins) -> Bins:
    padded = part.merge(Bins((0,) * len(whole.counts))).counts
    return Bins(
        tuple(max(0, all_ - its) for all_, its in zip(whole.counts, padded, strict=False)),
        max(0, whole.missing - part.missing),
        max(0, whole.non_finite - part.non_finite),
    )


def labels(name: str, bins: int, edges: Sequence[float]) -> tuple[str, ...]:
    """What each bin holds, in words."""
    if name == CLASSES:
        return ("other classes", *(f"class {number}" for number in range(bins - 1)))
    if name == CONFIDENCE:
        edges = CONFIDENCE_EDGES
    if len(edges) != bins - 1:
        return tuple(f"bin {number + 1}" for number in range(bins))
    between = (f"{low:.4g} to {high:.4g}" for low, high in pairwise(edges))
    return (f"below {edges[0]:.4g}", *between, f"from {edges[-1]:.4g}") if edges else ("all",)
