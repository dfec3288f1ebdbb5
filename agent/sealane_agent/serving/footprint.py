"""Decides what a model will need of memory: as measured here, as declared, or by its size. Pure.

What was measured is kept by bundle, variant and engine: another version of one is asked anew. What
no load can have taken is not believed: a damaged number must not refuse loads for ever.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sealane.limits import MIB

from sealane_agent.serving.admission import Need

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST: Final = 2**50
"""A pebibyte, or as many milliseconds: nothing larger was ever measured."""

BASE: Final = 64 * MIB
"""Of a worker before it has a model: its interpreter and its engine."""

LOADING_RATIO: Final = 3.0
"""Of a model's files while it is loaded. Measured over the base: onnxruntime by path 1.2 (a net of
matrix products) to 2.9 (a net of convolutions), openvino 2.2 to 2.3."""

PLAUSIBLE: Final = 32
"""Times what a bundle says, or its size lets guess, up to which a measurement is believed: a net
with few weights and large batches takes far more than its files, a damaged number anything."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a worker took when it was measured here.

    Attributes:
        peak, steady: bytes while it loaded and proved itself, and afterwards.
        load_ms: from start to proved.
    """

    peak: int
    steady: int
    load_ms: int

    def widened(self, other: Footprint) -> Footprint:
        """What has room for both: shared pages count for less when more workers share them."""
        return Footprint(
            max(self.peak, other.peak),
            max(self.steady, other.steady),
            other.load_ms,
        )


def name_of(manifest: str, variant: str, engine: str) -> str:
    """What a footprint is kept by."""
    return f"{manifest} {variant} {engine}"


def foreseen(declared: int, files: int) -> Need:
    """What a load needs that was never measured.

    `declared`: by its bundle, 0 for nothing; `files`: bytes to load.
    """
    if declared:
        return Need(declared, "as its bundle says")
    return Need(round(LOADING_RATIO * files) + BASE, "guessed by its size")


def believed(measured: Footprint | None, foreseen: Need, machine: int) -> Footprint | None:
    """What is remembered, as far as a load can have taken it on a machine of so many bytes."""
    if measured is None:
        return None
    most = min(machine, PLAUSIBLE * max(foreseen.peak, BASE))
    return measured if max(measured.peak, measured.steady) <= most else None


def expected(measured: Footprint | None, foreseen: Need) -> Need:
    """What a load needs."""
    return foreseen if measured is None else Need(measured.peak, "measured here before")


def decode(fields: Mapping[str, Any]) -> Footprint:
    """Read what JSON says of one; raises ValueError, KeyError or TypeError when it is damaged."""
    return Footprint(*(_bytes(fields[name]) for name in ("peak", "steady", "load_ms")))


def _bytes(value: object) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError(f"a footprint's numbers are whole, from 0 to {LARGEST}")
    return value
