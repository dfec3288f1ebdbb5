"""Merges windows: exact, associative and commutative, because everything in them is added whole."""

from __future__ import annotations

from functools import reduce
from itertools import zip_longest
from typing import TYPE_CHECKING

from sealane.telemetry.bins import added, all_bins
from sealane.telemetry.histogram import all_histograms
from sealane.telemetry.types import (
    HostWindow,
    Level,
    ModelWindow,
    Predictions,
    Timings,
    Window,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sealane.telemetry.bins import Bins
    from sealane.telemetry.types import ErrorKind


def merge(first: Window, second: Window) -> Window:
    """One window that spans both and counts what both counted."""
    start, end = min(first.start, second.start), max(first.end, second.end)
    models = {model.key: model for model in first.models}
    for model in second.models:
        known = models.get(model.key)
        models[model.key] = merge_models(known, model) if known else model
    return Window(
        start=start,
        seconds=end - start,
        models=tuple(models[key] for key in sorted(models)),
        host=merge_hosts(first.host, second.host),
    )


def merge_models(first: ModelWindow, second: ModelWindow) -> ModelWindow:
    """What both counted, under the names of the first."""
    return ModelWindow(
        slot=first.slot,
        release=first.release,
        arm=first.arm,
        requests=first.requests + second.requests,
        errors=_merge_counts(first.errors, second.errors),
        fallbacks=first.fallbacks + second.fallbacks,
        timings=_merge_timings(first.timings, second.timings),
        predictions=_merge_predictions(first.predictions, second.predictions),
        inputs=_merge_inputs(first.inputs, second.inputs),
    )


def merge_all(models: Sequence[ModelWindow]) -> ModelWindow:
    """What all of them counted, under the names of the first: as `merge_models`, for many at once.

    Every row of counts is added up column by column, which is ten times cheaper than two by two.
    """
    if len(models) == 1:
        return models[0]
    first = models[0]
    timings = [model.timings for model in models]
    return ModelWindow(
        slot=first.slot,
        release=first.release,
        arm=first.arm,
        requests=sum(model.requests for model in models),
        errors=reduce(_merge_counts, (model.errors for model in models)),
        fallbacks=sum(model.fallbacks for model in models),
        timings=Timings(
            all_histograms([each.latency for each in timings]),
            all_histograms([each.queue for each in timings]),
            all_histograms([each.batch for each in timings]),
        ),
        predictions=_all_predictions([model.predictions for model in models]),
        inputs=_all_inputs([model.inputs for model in models]),
    )


def _all_predictions(answers: Sequence[Predictions]) -> Predictions:
    return Predictions(
        classes=added([each.classes for each in answers]),
        other_classes=sum(each.other_classes for each in answers),
        confidence=all_bins([each.confidence for each in answers]),
        compared=sum(each.compared for each in answers),
        disagreed=sum(each.disagreed for each in answers),
    )


def _all_inputs(inputs: Sequence[Mapping[str, Bins]]) -> Mapping[str, Bins]:
    names = dict.fromkeys(name for each in inputs for name in each)
    return {name: all_bins([each[name] for each in inputs if name in each]) for name in names}


def merge_hosts(first: HostWindow | None, second: HostWindow | None) -> HostWindow | None:
    """What both measured; what only one measured stands."""
    if first is None or second is None:
        return first or second
    return HostWindow(
        cpu=_merge_levels(first.cpu, second.cpu),
        memory=_merge_levels(first.memory, second.memory),
        disk=_merge_levels(first.disk, second.disk),
        temperature=_merge_levels(first.temperature, second.temperature),
        accelerator=_merge_levels(first.accelerator, second.accelerator),
        clock_offset=_merge_levels(first.clock_offset, second.clock_offset),
        throttled=_sum(first.throttled, second.throttled),
        restarts=_sum(first.restarts, second.restarts),
        lost=first.lost + second.lost,
    )


def _merge_levels(first: Level | None, second: Level | None) -> Level | None:
    if first is None or second is None:
        return first or second
    return Level(
        first.samples + second.samples,
        first.total + second.total,
        min(first.low, second.low),
        max(first.high, second.high),
    )


def _sum(first: int | None, second: int | None) -> int | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _merge_counts(
    first: Mapping[ErrorKind, int], second: Mapping[ErrorKind, int]
) -> Mapping[ErrorKind, int]:
    if not first or not second:
        return first or second
    return {kind: first.get(kind, 0) + second.get(kind, 0) for kind in {**first, **second}}


def _merge_timings(first: Timings, second: Timings) -> Timings:
    return Timings(
        first.latency.merge(second.latency),
        first.queue.merge(second.queue),
        first.batch.merge(second.batch),
    )


def _merge_predictions(first: Predictions, second: Predictions) -> Predictions:
    pairs = zip_longest(first.classes, second.classes, fillvalue=0)
    return Predictions(
        classes=tuple(mine + its for mine, its in pairs),
        other_classes=first.other_classes + second.other_classes,
        confidence=first.confidence.merge(second.confidence),
        compared=first.compared + second.compared,
        disagreed=first.disagreed + second.disagreed,
    )


def _merge_inputs(first: Mapping[str, Bins], second: Mapping[str, Bins]) -> Mapping[str, Bins]:
    merged = dict(first)
    for name, bins in second.items():
        known = merged.get(name)
        merged[name] = known.merge(bins) if known else bins
    return merged
