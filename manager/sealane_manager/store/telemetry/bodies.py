"""Merges stored bodies; what would not be readable again is left out, and said in the log.

A device can report any number within the limits, but the sum with the numbers of others must stay
within them too: otherwise one device could make a row unreadable for all.
"""

from __future__ import annotations

import logging
from functools import reduce
from typing import TYPE_CHECKING, Final

from sealane.errors import TelemetryError
from sealane.limits import MODELS_PER_WINDOW
from sealane.telemetry.codec import (
    decode_histogram,
    decode_windows,
    encode_histogram,
    encode_windows,
)
from sealane.telemetry.decoding import LARGEST_COUNT
from sealane.telemetry.merging import merge, merge_all, merge_hosts
from sealane.telemetry.types import MAX_INPUTS, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sealane.telemetry.histogram import Histogram
    from sealane.telemetry.types import ModelWindow

_log = logging.getLogger(__name__)
_UNREADABLE: Final = (TelemetryError, ValueError)


def merged(first: bytes, second: bytes) -> bytes:
    """One window of two; the first when the two do not fit together."""
    both = AllWindows()
    both.step(first)
    both.step(second)
    return both.finalize()


def merged_times(first: bytes, second: bytes) -> bytes:
    """One histogram of two."""
    both = AllTimes()
    both.step(first)
    both.step(second)
    return both.finalize()


def read(body: bytes) -> Window:
    """The window of a row; raises TelemetryError."""
    return together(decode_windows(body))


class AllWindows:
    """SQL's `all_windows(body)`: one window of many."""

    def __init__(self) -> None:
        self._found: list[Window] = []

    def step(self, body: bytes) -> None:
        """Add one."""
        self._found.extend(decode_windows(body))

    def finalize(self) -> bytes:
        """All of them."""
        return encode_windows([together(self._found)])


class AllTimes:
    """SQL's `all_times(latency)`: one histogram of many."""

    def __init__(self) -> None:
        self._found: Histogram | None = None

    def step(self, content: bytes) -> None:
        """Add one."""
        values = decode_histogram(content)
        both = self._found.merge(values) if self._found else values
        if both.count <= LARGEST_COUNT:
            self._found = both

    def finalize(self) -> bytes:
        """All of them."""
        return encode_histogram(self._found) if self._found else b""


def together(found: Sequence[Window]) -> Window:
    """One window of at least one; without those whose addition could not be kept."""
    if len(found) == 1:
        return found[0]
    whole = _all_of(found)
    return whole if fits(whole) else reduce(_added, found)


def _all_of(found: Sequence[Window]) -> Window:
    models: dict[tuple[str, str, str], list[ModelWindow]] = {}
    for window in found:
        for model in window.models:
            models.setdefault(model.key, []).append(model)
    start = min(window.start for window in found)
    return Window(
        start=start,
        seconds=max(window.end for window in found) - start,
        models=tuple(merge_all(models[key]) for key in sorted(models)),
        host=reduce(merge_hosts, (window.host for window in found)),
    )


def _added(known: Window, more: Window) -> Window:
    both = merge(known, more)
    if fits(both):
        return both
    _log.warning("left out %d models of a window at %d: too large", len(more.models), more.start)
    return known


def fits(window: Window) -> bool:
    """Whether the window can be written and read again."""
    if len(window.models) > MODELS_PER_WINDOW or not all(map(_model_fits, window.models)):
        return False
    try:
        decode_windows(encode_windows([Window(window.start, window.seconds, (), window.host)]))
    except _UNREADABLE:
        return False
    return True


def _model_fits(model: ModelWindow) -> bool:
    return len(model.inputs) <= MAX_INPUTS and max(_largest(model)) <= LARGEST_COUNT


def _largest(model: ModelWindow) -> Iterator[int]:
    """The largest count of each kind."""
    timings, answers = model.timings, model.predictions
    histograms = (timings.latency, timings.queue, timings.batch)
    bins = (answers.confidence, *model.inputs.values())
    yield from (model.requests, model.fallbacks, answers.other_classes, answers.compared)
    yield from model.errors.values()
    yield max(answers.classes, default=0)
    for found in histograms:
        yield max(found.zero, max(found.counts, default=0))
    for each in bins:
        yield max(each.missing + each.non_finite, max(each.counts, default=0))
