"""Reads windows from the wire, and lets nothing in that a device of ours would not write.

Every count, size and scale has a limit, named here or in `sealane.limits`; what is beyond one
raises TelemetryError. What passes is in normal form, so that equal windows are equal values. Rows
of counts below 128 are checked as they came, as bytes: most are.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from google.protobuf.message import DecodeError

from sealane import limits
from sealane.errors import InvalidName, TelemetryError
from sealane.names import ReleaseName, parse_slot
from sealane.telemetry.bins import MAX_BINS, Bins
from sealane.telemetry.histogram import MAX_BUCKETS, MAX_SCALE, MIN_SCALE
from sealane.telemetry.rows import (
    NO_VALUES,
    HistogramRow,
    InputRows,
    Inputs,
    ModelRow,
    Row,
    Series,
    WindowRow,
    histogram_of,
)
from sealane.telemetry.types import (
    MAX_CLASSES,
    MAX_INPUTS,
    Arm,
    ErrorKind,
    HostWindow,
    Level,
    ModelWindow,
    Timings,
    Window,
)
from sealane.wire.v1 import telemetry_pb2 as wire
from sealane.wire.v1 import telemetry_rows_pb2 as row_wire

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sealane.telemetry.histogram import Histogram

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


_Timed = Literal["latency_us", "queue_us", "batch_rows"]
_HEAD: Final = 2
"""Bytes before the counts of small bins that lack nothing: the field's tag, and how many follow."""

_COUNTS_TAG: Final = 0x0A
_ONE_BYTE: Final = 128
_EMPTY_RUN: Final = re.compile(rb"\0(.)", re.DOTALL)


def rows_from_wire(found: row_wire.RowSet) -> tuple[WindowRow, ...]:
    """The windows; raises TelemetryError."""
    _at_most(len(found.series), limits.SERIES_PER_BATCH, "series")
    _at_most(len(found.windows), limits.WINDOWS_PER_BATCH, "windows")
    series = [_series(part) for part in found.series]
    return tuple([_window(part, series) for part in found.windows])


def answers_from_wire(found: row_wire.RowSet) -> tuple[Window, ...]:
    """Of windows that were read before only what was answered, and how fast: a tenth of the work.

    Raises TelemetryError.
    """
    series = [_series(part) for part in found.series]
    return tuple([_answers(part, series) for part in found.windows])


def _answers(found: row_wire.RowWindow, series: Sequence[Series]) -> Window:
    models = [
        ModelWindow(
            slot=series[part.series].slot,
            release=series[part.series].release,
            arm=series[part.series].arm,
            requests=part.requests,
            errors=_errors(part) if part.errors else {},
            fallbacks=part.fallbacks,
            timings=Timings(histogram_of(_timed(part, "latency_us"))),
        )
        for part in found.models
    ]
    return Window(found.start_s, found.duration_s, tuple(models))


def _series(found: wire.Series) -> Series:
    content = found.SerializeToString()
    return _read_series(content) if len(content) > SERIES_BYTES else _known_series(content)


@lru_cache(maxsize=SERIES_KNOWN)
def _known_series(content: bytes) -> Series:
    """The same few names come in every window of a fleet: they are checked once."""
    return _read_series(content)


def _read_series(content: bytes) -> Series:
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
    return Series(slot, release, ARMS.get(found.arm, Arm.OTHER), inputs)


def _window(found: row_wire.RowWindow, series: Sequence[Series]) -> WindowRow:
    start, seconds, models = found.start_s, found.duration_s, found.models
    if start > LATEST_START:
        _at_most(start, LATEST_START, "seconds since 1970")
    if not 1 <= seconds <= LONGEST_WINDOW:
        raise TelemetryError(f"a window of {seconds} seconds is none")
    _at_most(len(models), limits.MODELS_PER_WINDOW, "models in a window")
    return WindowRow(
        start,
        seconds,
        tuple([_model(part, series) for part in models]),
        _host(found.host) if found.HasField("host") else None,
    )


def _model(found: row_wire.RowModel, series: Sequence[Series]) -> ModelRow:
    number, compared, disagreed = found.series, found.shadow_compared, found.shadow_disagreed
    if number >= len(series):
        raise TelemetryError(f"a model refers to series {number}, and there is none")
    if disagreed > compared:
        raise TelemetryError("more shadow answers disagreed than were compared")
    inputs, confidence = found.inputs[:], found.confidence
    if len(inputs) != len(series[number].inputs):
        raise TelemetryError("a model counts more or fewer inputs than it names")
    return ModelRow(
        series[number],
        _count(found.requests),
        _errors(found) if found.errors else {},
        _count(found.fallbacks),
        _timed(found, "latency_us"),
        _timed(found, "queue_us"),
        _timed(found, "batch_rows"),
        _row(found.classes, MAX_CLASSES),
        _count(found.other_classes),
        _count(compared),
        disagreed,
        _confidence(confidence),
        _inputs(inputs),
    )


def _errors(found: row_wire.RowModel) -> Mapping[ErrorKind, int]:
    _at_most(len(found.errors), KINDS_PER_MODEL, "kinds of errors")
    errors: dict[ErrorKind, int] = {}
    for part in found.errors:
        kind = ERROR_KINDS.get(part.kind, ErrorKind.OTHER)
        errors[kind] = errors.get(kind, 0) + _count(part.count)
    return {kind: count for kind, count in errors.items() if count}


def _inputs(found: Sequence[bytes]) -> Inputs:
    """As they came when all of them are small and complete."""
    joined, widths = b"".join(found), tuple(map(len, found))
    if joined.isascii() and all(map(_is_small, found, widths)):
        _at_most(max(widths, default=_HEAD) - _HEAD, MAX_BINS, "counts in a row")
        return InputRows(joined, widths)
    return tuple(map(_bins, found))


def _is_small(content: bytes, width: int) -> bool:
    return width >= _HEAD and content[0] == _COUNTS_TAG and content[1] == width - _HEAD


def _confidence(content: bytes) -> bytes | Bins:
    width = len(content)
    if _is_small(content, width) and content.isascii() and width <= MAX_BINS + _HEAD:
        return content[_HEAD:]
    return _bins(content)


def _bins(content: bytes) -> Bins:
    found = _read_bins(content)
    counts = _counts(found.counts[:], MAX_BINS)
    return Bins(counts, _count(found.missing), _count(found.non_finite))


def _read_bins(content: bytes) -> wire.Bins:
    try:
        return wire.Bins.FromString(content)
    except DecodeError as error:
        raise TelemetryError("a row of counts is no protocol buffer of ours") from error


def _timed(found: row_wire.RowModel, name: _Timed) -> HistogramRow:
    return _histogram(getattr(found, name)) if found.HasField(name) else NO_VALUES


def histogram_from_wire(found: wire.Histogram) -> Histogram:
    """One histogram; raises TelemetryError."""
    return histogram_of(_histogram(row_wire.RowHistogram.FromString(found.SerializeToString())))


def _histogram(found: row_wire.RowHistogram) -> HistogramRow:
    scale, offset, zero, total = found.scale, found.offset, found.zero, found.sum
    if not MIN_SCALE <= scale <= MAX_SCALE:
        raise TelemetryError(f"a histogram of scale {scale} is on no grid of ours")
    counts = _buckets(found.counts)
    if not _lies_within(offset, len(counts), scale):
        raise TelemetryError(f"a histogram begins at bucket {offset}, which holds no number")
    if counts and not (counts[0] and counts[-1]):
        raise TelemetryError("a histogram begins or ends with an empty bucket")
    if total > LARGEST_SUM:
        _at_most(total, LARGEST_SUM, "in the sum of a histogram")
    return HistogramRow(scale, offset, counts, _count(zero), total)


def _lies_within(offset: int, buckets: int, scale: int) -> bool:
    farthest = OCTAVES << scale if scale >= 0 else OCTAVES >> -scale
    return -farthest <= offset <= farthest - buckets if buckets else offset == 0


def _buckets(packed: bytes) -> Row:
    """The counts, with every empty bucket; a zero is followed by how many more are empty."""
    if packed.isascii():
        _at_most(len(packed), 2 * MAX_BUCKETS, "counts in a row")
        counts: Row = _EMPTY_RUN.sub(_empty, packed) if b"\0" in packed else packed
    else:
        counts = _unpacked(_row_of_numbers(packed, 2 * MAX_BUCKETS))
    _at_most(len(counts), MAX_BUCKETS, "buckets")
    return counts


def _empty(run: re.Match[bytes]) -> bytes:
    return bytes(1 + run[1][0])


def _unpacked(packed: tuple[int, ...]) -> tuple[int, ...]:
    counts: list[int] = []
    numbers = iter(packed)
    for number in numbers:
        if number:
            counts.append(number)
        else:
            more = next(numbers, 0)
            _at_most(more, MAX_BUCKETS, "buckets")
            counts += (0,) * (1 + more)
    return tuple(counts)


def _row(packed: bytes, most: int) -> Row:
    """Counts as they came when all are small; else as numbers."""
    if packed.isascii():
        _at_most(len(packed), most, "counts in a row")
        return packed
    return _row_of_numbers(packed, most)


def _row_of_numbers(packed: bytes, most: int) -> tuple[int, ...]:
    length, head = len(packed), bytes([_COUNTS_TAG])
    while length >= _ONE_BYTE:
        head += bytes([length % _ONE_BYTE + _ONE_BYTE])
        length //= _ONE_BYTE
    return _counts(_read_bins(head + bytes([length]) + packed).counts[:], most)


def _host(found: wire.HostWindow) -> HostWindow:
    has = found.HasField
    return HostWindow(
        _level(found.cpu) if has("cpu") else None,
        _level(found.memory) if has("memory") else None,
        _level(found.disk) if has("disk") else None,
        _level(found.temperature) if has("temperature") else None,
        _level(found.accelerator) if has("accelerator") else None,
        _level(found.clock_offset_ms) if has("clock_offset_ms") else None,
        throttled=_count(found.throttled_s) if has("throttled_s") else None,
        restarts=_count(found.restarts) if has("restarts") else None,
        lost=_count(found.lost),
    )


def _level(found: wire.Level) -> Level:
    samples, total, low, high = found.samples, found.total, found.low, found.high
    if not (1 <= samples <= LARGEST_COUNT and -LARGEST_LEVEL <= low <= high <= LARGEST_LEVEL):
        raise TelemetryError("a level was not measured, or lies outside every sensor's range")
    if not low * samples <= total <= high * samples:
        raise TelemetryError("the mean of a level lies outside its lowest and highest sample")
    return Level(samples, total, low, high)


def _counts(found: Sequence[int], most: int) -> tuple[int, ...]:
    """The counts, none of them too large: counts whose sum is not, are not."""
    _at_most(len(found), most, "counts in a row")
    if sum(found) > LARGEST_COUNT:
        _count(max(found))
    return tuple(found)


def _count(value: int) -> int:
    if value > LARGEST_COUNT:
        _at_most(value, LARGEST_COUNT, "of one thing in a window")
    return value


def _at_most(value: int, most: int, what: str) -> None:
    if value > most:
        raise TelemetryError(f"{value} {what} are more than the {most} that a device may report")
