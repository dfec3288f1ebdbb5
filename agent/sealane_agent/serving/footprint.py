"""Decides what a model will need of memory: as measured here, as declared, or by its size. Pure.

What was measured is kept by bundle, variant and engine: another version of one is asked anew.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from sealane.limits import MIB

from sealane_agent.serving.admission import Need

if TYPE_CHECKING:
    from collections.abc import Mapping

KEPT: Final = 256
"""Footprints that a device remembers: those that were measured last."""

LARGEST: Final = 2**50
"""A pebibyte, or as many milliseconds: nothing larger was ever measured."""

BASE: Final = 64 * MIB
"""Of a worker before it has a model: its interpreter and its engine."""

LOADING_RATIO: Final = 3.0
"""Of a model's files while it is loaded. Measured over the base: onnxruntime by path 1.2 (a net of
matrix products) to 2.9 (a net of convolutions), openvino 2.2 to 2.3."""


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


def expected(measured: Footprint | None, declared: int, files: int) -> Need:
    """What a load needs; `declared` by its bundle, 0 for nothing; `files` are bytes to load."""
    if measured is not None:
        return Need(measured.peak, "measured here before")
    if declared:
        return Need(declared, "as its bundle says")
    return Need(round(LOADING_RATIO * files) + BASE, "guessed by its size")


def remembered(
    known: Mapping[str, Footprint], name: str, measured: Footprint
) -> dict[str, Footprint]:
    """With one more, the last one last; the oldest go when there are too many."""
    before = known.get(name)
    others = {key: value for key, value in known.items() if key != name}
    found = [*others.items(), (name, before.widened(measured) if before else measured)]
    return dict(found[-KEPT:])


def encode(known: Mapping[str, Footprint]) -> bytes:
    """JSON, for people too."""
    return json.dumps({name: asdict(each) for name, each in known.items()}, indent=1).encode()


def decode(fields: Any) -> dict[str, Footprint]:
    """Read what JSON says; raises ValueError, KeyError or TypeError when it is damaged."""
    if not isinstance(fields, dict):
        raise TypeError("footprints are kept by name")
    found = {
        str(name): Footprint(_bytes(each["peak"]), _bytes(each["steady"]), _bytes(each["load_ms"]))
        for name, each in fields.items()
    }
    return dict(list(found.items())[-KEPT:])


def _bytes(value: object) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError(f"a footprint's numbers are whole, from 0 to {LARGEST}")
    return value
