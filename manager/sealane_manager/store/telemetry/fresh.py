"""Keeps what models were given lately, for the detectors of drift; in memory only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sealane.telemetry.bins import all_bins
from sealane.telemetry.types import MAX_INPUTS

if TYPE_CHECKING:
    from sealane.telemetry.bins import Bins
    from sealane.telemetry.types import ModelWindow

Fresh = dict[tuple[str, str, str], dict[str, "Bins"]]
"""By device, release and slot: the values of each input."""

WAITING: Final = 16
"""Windows of one input that wait to be added up: many at once cost a third of one by one."""


class FreshInputs:
    """Adds up values by device, release, slot and input until they are taken; for one thread."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str], dict[str, list[Bins]]] = {}

    def add(self, device: str, model: ModelWindow) -> None:
        """What one window counted; inputs beyond MAX_INPUTS of a model are left out."""
        if not model.inputs:
            return
        known = self._found.setdefault((device, model.release, model.slot), {})
        for name, bins in model.inputs.items():
            waiting = known.get(name)
            if waiting is not None:
                waiting.append(bins)
                if len(waiting) >= WAITING:
                    waiting[:] = [all_bins(waiting)]
            elif len(known) < MAX_INPUTS:
                known[name] = [bins]

    def take(self) -> Fresh:
        """Everything since the last call."""
        found, self._found = self._found, {}
        return {
            key: {name: all_bins(waiting) for name, waiting in inputs.items()}
            for key, inputs in found.items()
        }
