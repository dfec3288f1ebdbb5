"""Reads windows from the wire, and lets nothing in that a device of ours would not write.

Every count, size and scale has a limit, named here or in `sealane.limits`; what is beyond one
raises TelemetryError. What passes is in normal form, so that equal windows are equal values.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from sealane import limits
from sealane.errors import InvalidName, TelemetryError
from sealane.names import ReleaseName, parse_slot
from sealane.telemetry.bins import MAX_BINS, Bins
from sealane.telemetry.histogram import MAX_BUCKETS, MAX_SCALE, MIN_SCALE, Histogram
from sealane.telemetry.merging import merge_models
from sealane.telemetry.types import (
    MAX_CLASSES,
    MAX_INPUTS,
    Arm,
    ErrorKind,
    HostWindow,
    Level,
    ModelWindow,
    Predictions,
    Timings,
    Window,
)
from sealane.wire.v1 import telemetry_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from google.protobuf.internal.containers import RepeatedScalarFieldContainer

    from sealane.names import SlotName

LARGEST_COUNT: Final = 2**40
"""Of one thing in one window: a million a second for twelve days; sums of millions still fit."""

LARGEST_SUM: Final = 2**62
"""Of all values of a histogram."""

LARGEST_LEVEL: Final = 2**31
"""Of anything that is measured on a machine, in its unit."""

LATEST_START: Final = 2**34
"""Seconds since 1970: in the year 2514."""

LONGEST_WINDOW: Final = 10 * 366 * 86_400
"""Seconds that merged windows may span: ten years."""

OCTAVES: Final = 1100
"""Doublings above and below 1 that a bucket may lie away: no computer's number is farther."""

SERIES_BYTES: Final = 4096
SERIES_KNOWN: Final = 1024
"""Names of so many series are remembered, each of so many bytes at most: 4 MiB."""

KINDS_PER_MODEL: Final = 64
"""Kinds of errors, those of later versions included."""

ARMS: Final[Mapping[int, Arm]] = {
    0: Arm.OTHER,
    1: Arm.ACTIVE,
    2: Arm.CANDIDATE,
    3: Arm.SHADOW,
    4: Arm.PREVIOUS,
}
"""By the number on the wire."""

ERROR_KINDS: Final[Mapping[int, ErrorKind]] = {
    0: ErrorKind.OTHER,
    1: ErrorKind.FAILED,
    2: ErrorKind.CRASHED,
    3: ErrorKind.HUNG,
    4: ErrorKind.OVERLOADED,
    5: ErrorKind.EXPIRED,
    6: ErrorKind.CANCELLED,
    7: ErrorKind.REFUSED,
}
"""By the number on the wire."""


_NONE: Final = Histogram()
_NO_BINS: Final = Bins()


@dataclass(frozen=True, slots=True)
class _Series:
    slot: SlotName
    release: str
    arm: Arm
    inputs: tuple[str, ...]


def windows_from_wire(found: wire.WindowSet) -> tuple[Window, ...]:
    """The windows; raises TelemetryError."""
    _at_most(len(found.series), limits.SERIES_PER_BATCH, "series")
    _at_most(len(found.windows), limits.WINDOWS_PER_BATCH, "windows")
    series = [_series(part) for part in found.series]
    return tuple([_window(part, series) for part in found.windows])


def answers_from_wire(found: wire.WindowSet) -> tuple[Window, ...]:
    """Of windows that were read before only what was answered, and how fast: a tenth of the work.

    Raises TelemetryError.
    """
    series = [_series(part) for part in found.series]
    return tuple([_answers(part, series) for part in found.windows])


def _answers(found: wire.Window, series: Sequence[_Series]) -> Window:
    models = [
        ModelWindow(
            slot=series[part.series].slot,
            release=series[part.series].release,
            arm=series[part.series].arm,
            requests=part.requests,
            errors=_errors(part) if part.errors else {},
            fallbacks=part.fallbacks,
            timings=Timings(
                histogram_from_wire(part.latency_us) if part.HasField("latency_us") else _NONE
            ),
        )
        for part in found.models
    ]
    return Window(found.start_s, found.duration_s, tuple(models))


def _series(found: wire.Series) -> _Series:
    content = found.SerializeToString()
    return _read_series(content) if len(content) > SERIES_BYTES else _known_series(content)


@lru_cache(maxsize=SERIES_KNOWN)
def _known_series(content: bytes) -> _Series:
    """The same few names come in every window of a fleet: they are checked once."""
    return _read_series(content)


def _read_series(content: bytes) -> _Series:
    found = wire.Series.FromString(content)
    inputs = tuple(found.inputs)
    _at_most(len(inputs), MAX_INPUTS, "inputs")
    _at_most(max(map(len, inputs), default=0), limits.INPUT_NAME_CHARS, "characters in a name")
    if len(set(inputs)) != len(inputs):
        raise TelemetryError("two inputs of a model have the same name")
    try:
        slot, release = parse_slot(found.slot), str(ReleaseName.parse(found.release))
    except InvalidName as error:
        raise TelemetryError(f"windows of no slot and release: {error}", hint=error.hint) from error
    return _Series(slot, release, ARMS.get(found.arm, Arm.OTHER), inputs)


def _window(found: wire.Window, series: Sequence[_Series]) -> Window:
    _at_most(found.start_s, LATEST_START, "seconds since 1970")
    if not 1 <= found.duration_s <= LONGEST_WINDOW:
        raise TelemetryError(f"a window of {found.duration_s} seconds is none")
    _at_most(len(found.models), limits.MODELS_PER_WINDOW, "models in a window")
    return Window(
        start=found.start_s,
        seconds=found.duration_s,
        models=_in_order([_model(part, series) for part in found.models]),
        host=_host(found.host) if found.HasField("host") else None,
    )


def _in_order(found: Sequence[ModelWindow]) -> tuple[ModelWindow, ...]:
    """One of each key, in the order of the keys."""
    if len(found) <= 1:
        return tuple(found)
    models: dict[tuple[str, str, str], ModelWindow] = {}
    for model in found:
        known = models.get(model.key)
        models[model.key] = merge_models(known, model) if known else model
    return tuple([models[key] for key in sorted(models)])


def _model(found: wire.ModelWindow, series: Sequence[_Series]) -> ModelWindow:
    if found.series >= len(series):
        raise TelemetryError(f"a model refers to series {found.series}, and there is none")
    names = series[found.series]
    if len(found.inputs) != len(names.inputs):
        raise TelemetryError("a model counts more or fewer inputs than it names")
    return ModelWindow(
        slot=names.slot,
        release=names.release,
        arm=names.arm,
        requests=_count(found.requests),
        errors=_errors(found) if found.errors else {},
        fallbacks=_count(found.fallbacks),
        timings=_timings(found),
        predictions=_predictions(found),
        inputs=dict(zip(names.inputs, map(_bins, found.inputs[:]), strict=True)),
    )


def _errors(found: wire.ModelWindow) -> Mapping[ErrorKind, int]:
    _at_most(len(found.errors), KINDS_PER_MODEL, "kinds of errors")
    errors: dict[ErrorKind, int] = {}
    for part in found.errors:
        kind = ERROR_KINDS.get(part.kind, ErrorKind.OTHER)
        errors[kind] = errors.get(kind, 0) + _count(part.count)
    return {kind: count for kind, count in errors.items() if count}


def _timings(found: wire.ModelWindow) -> Timings:
    return Timings(
        latency=histogram_from_wire(found.latency_us) if found.HasField("latency_us") else _NONE,
        queue=histogram_from_wire(found.queue_us) if found.HasField("queue_us") else _NONE,
        batch=histogram_from_wire(found.batch_rows) if found.HasField("batch_rows") else _NONE,
    )


def _predictions(found: wire.ModelWindow) -> Predictions:
    if found.shadow_disagreed > found.shadow_compared:
        raise TelemetryError("more shadow answers disagreed than were compared")
    return Predictions(
        classes=_counts(found.classes, MAX_CLASSES),
        other_classes=_count(found.other_classes),
        confidence=_bins(found.confidence) if found.HasField("confidence") else _NO_BINS,
        compared=_count(found.shadow_compared),
        disagreed=found.shadow_disagreed,
    )


def _bins(found: wire.Bins) -> Bins:
    counts = _counts(found.counts, MAX_BINS)
    return Bins(counts, _count(found.missing), _count(found.non_finite))


def histogram_from_wire(found: wire.Histogram) -> Histogram:
    """One histogram; raises TelemetryError."""
    scale, offset = found.scale, found.offset
    if not MIN_SCALE <= scale <= MAX_SCALE:
        raise TelemetryError(f"a histogram of scale {scale} is on no grid of ours")
    counts = _unpacked(_counts(found.counts, 2 * MAX_BUCKETS))
    if not _lies_within(offset, len(counts), scale):
        raise TelemetryError(f"a histogram begins at bucket {offset}, which holds no number")
    if counts and not (counts[0] and counts[-1]):
        raise TelemetryError("a histogram begins or ends with an empty bucket")
    _at_most(found.sum, LARGEST_SUM, "in the sum of a histogram")
    return Histogram(scale, offset, counts, _count(found.zero), found.sum)


def _lies_within(offset: int, buckets: int, scale: int) -> bool:
    farthest = OCTAVES << scale if scale >= 0 else OCTAVES >> -scale
    return -farthest <= offset <= farthest - buckets if buckets else offset == 0


def _unpacked(packed: tuple[int, ...]) -> tuple[int, ...]:
    """The counts, with every empty bucket."""
    if 0 not in packed:
        _at_most(len(packed), MAX_BUCKETS, "buckets")
        return packed
    counts: list[int] = []
    rest = packed
    while 0 in rest:
        zero = rest.index(0)
        more = rest[zero + 1] if zero + 1 < len(rest) else MAX_BUCKETS
        _at_most(len(counts) + zero + 1 + more, MAX_BUCKETS, "buckets")
        counts += rest[:zero]
        counts += (0,) * (1 + more)
        rest = rest[zero + 2 :]
    _at_most(len(counts) + len(rest), MAX_BUCKETS, "buckets")
    return (*counts, *rest)


def _host(found: wire.HostWindow) -> HostWindow:
    return HostWindow(
        cpu=_level(found.cpu) if found.HasField("cpu") else None,
        memory=_level(found.memory) if found.HasField("memory") else None,
        disk=_level(found.disk) if found.HasField("disk") else None,
        temperature=_level(found.temperature) if found.HasField("temperature") else None,
        accelerator=_level(found.accelerator) if found.HasField("accelerator") else None,
        clock_offset=_level(found.clock_offset_ms) if found.HasField("clock_offset_ms") else None,
        throttled=_count(found.throttled_s) if found.HasField("throttled_s") else None,
        restarts=_count(found.restarts) if found.HasField("restarts") else None,
        lost=_count(found.lost),
    )


def _level(found: wire.Level) -> Level:
    samples, total, low, high = found.samples, found.total, found.low, found.high
    if not (1 <= samples <= LARGEST_COUNT and -LARGEST_LEVEL <= low <= high <= LARGEST_LEVEL):
        raise TelemetryError("a level was not measured, or lies outside every sensor's range")
    if not low * samples <= total <= high * samples:
        raise TelemetryError("the mean of a level lies outside its lowest and highest sample")
    return Level(samples, total, low, high)


def _counts(found: RepeatedScalarFieldContainer[int], most: int) -> tuple[int, ...]:
    """The counts, none of them too large: counts whose sum is not, are not."""
    counts = tuple(found[:])
    _at_most(len(counts), most, "counts in a row")
    if sum(counts) > LARGEST_COUNT:
        _count(max(counts))
    return counts


def _count(value: int) -> int:
    if value > LARGEST_COUNT:
        _at_most(value, LARGEST_COUNT, "of one thing in a window")
    return value


def _at_most(value: int, most: int, what: str) -> None:
    if value > most:
        raise TelemetryError(f"{value} {what} are more than the {most} that a device may report")
