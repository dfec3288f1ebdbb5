"""Keeps what models were given lately, for the detectors of drift; in memory only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sealane.telemetry.rows import InputSum
from sealane.telemetry.types import MAX_INPUTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sealane.telemetry.bins import Bins
    from sealane.telemetry.rows import ModelRow

Fresh = dict[tuple[str, str, str], "Mapping[str, Bins]"]
"""By device, release and slot: the values of each input."""


class FreshInputs:
    """Adds up values by device, release, slot and input until they are taken; for one thread."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], InputSum] = {}

    def add(self, device: str, model: ModelRow) -> None:
        """What one window counted; inputs beyond MAX_INPUTS of a model are left out."""
        slot, release, _, names = model.series
        if not names:
            return
        key = (device, release, slot)
        known = self._found.get(key)
        if known is None:
            known = self._found[key] = InputSum(MAX_INPUTS)
        known.add(names, model.inputs)

    def take(self) -> Fresh:
        """Everything since the last call."""
        found, self._found = self._found, {}
        return {key: inputs.whole() for key, inputs in found.items()}
