"""What of a model's inputs may be kept, as plain values: the terms of a release's signers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

WISHES: Final = ("drift", "disagreement")
"""Fields of the terms that may be left out: then they are false."""


class Trigger(StrEnum):
    """Why a request was kept."""

    EVERY = "every"
    """It was the n-th."""
    UNSURE = "unsure"
    """The first class was less sure than the terms say."""
    ERROR = "error"
    """The release did not answer it."""
    DRIFT = "drift"
    """The manager sees the inputs of this release drift on this device."""
    DISAGREEMENT = "disagreement"
    """A copy of it was answered otherwise than by the release before."""


@dataclass(frozen=True, slots=True)
class InputTerms:
    """What of one input is kept.

    Attributes:
        columns: of a table, these alone; none: all.
        shrink: of an image, the mean of squares of so many pixels a side; 1: as it is.
    """

    columns: tuple[int, ...] = ()
    shrink: int = 1


@dataclass(frozen=True, slots=True)
class SamplingTerms:
    """What may be kept of requests.

    Attributes:
        every: each n-th request; 0: none.
        confidence_below: requests whose first class has a smaller probability; 0: none.
        errors: requests that the engine failed, or died or hung on.
        bytes_per_day: of one slot on one device, sealed.
        seconds_kept: after which device and manager delete a sample.
        inputs: those that may be kept; the others are left out.
        drift: requests while the manager says that the inputs drift.
        disagreement: copies that the release answers otherwise than the one before it.
    """

    every: int
    confidence_below: float
    errors: bool
    bytes_per_day: int
    seconds_kept: int
    inputs: Mapping[str, InputTerms]
    drift: bool = False
    disagreement: bool = False

    def fields(self) -> dict[str, Any]:
        """As they stand in deployment.json."""
        return {
            "every": self.every,
            "confidence_below": self.confidence_below,
            "errors": self.errors,
            "bytes_per_day": self.bytes_per_day,
            "seconds_kept": self.seconds_kept,
            "inputs": {
                name: {"columns": list(terms.columns), "shrink": terms.shrink}
                for name, terms in self.inputs.items()
            },
        } | {name: True for name in WISHES if getattr(self, name)}
