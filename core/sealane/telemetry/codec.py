"""Encodes windows as bytes and reads them back.

The same bytes lie in a device's spool, in a batch and in the manager's store: a CRC-32 of the rest
(4 bytes, little-endian), then a `WindowSet`. Names stand once for all windows of a set. Truncated,
damaged, absurd or too large bytes raise TelemetryError; arms and kinds of errors that this version
does not know are counted as `other`. `sealane.telemetry.decoding` checks what is inside.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final
from zlib import crc32

from google.protobuf.message import DecodeError

from sealane.errors import TelemetryError
from sealane.limits import SERIES_PER_BATCH, TELEMETRY_BODY_BYTES, WINDOWS_PER_BATCH
from sealane.telemetry.bins import Bins
from sealane.telemetry.decoding import (
    ARMS,
    ERROR_KINDS,
    LARGEST_SUM,
    answers_from_wire,
    histogram_from_wire,
    rows_from_wire,
)
from sealane.telemetry.histogram import Histogram
from sealane.telemetry.rows import window_of
from sealane.wire.v1 import telemetry_pb2 as wire
from sealane.wire.v1 import telemetry_rows_pb2 as row_wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sealane.names import SlotName
    from sealane.telemetry.rows import WindowRow
    from sealane.telemetry.types import Arm, HostWindow, Level, ModelWindow, Window

    _Names = tuple[SlotName, str, Arm, tuple[str, ...]]

_CHECKSUM_BYTES: Final = 4
_NO_VALUES: Final = Histogram()
_NO_BINS: Final = Bins()
_ARM_NUMBERS: Final = {arm: number for number, arm in ARMS.items()}
_KIND_NUMBERS: Final = {kind: number for number, kind in ERROR_KINDS.items()}


def encode_windows(windows: Iterable[Window]) -> bytes:
    """Encode windows; the caller keeps their number and their size within the limits."""
    found = wire.WindowSet()
    numbers: dict[_Names, int] = {}
    for window in windows:
        _write_window(found.windows.add(), window, numbers)
    for slot, release, arm, inputs in numbers:
        found.series.add(slot=slot, release=release, arm=_ARM_NUMBERS.get(arm, 0), inputs=inputs)
    return _checked(found)


def decode_windows(body: bytes) -> tuple[Window, ...]:
    """The windows in these bytes; raises TelemetryError when they are not as we encode them."""
    return tuple([window_of(row) for row in rows_from_wire(_read(body))])


def decode_answers(body: bytes) -> tuple[Window, ...]:
    """Only what was answered and how fast, of windows that were checked when they came.

    Raises TelemetryError.
    """
    return answers_from_wire(_read(body))


def decode_apart(body: bytes) -> tuple[tuple[WindowRow, bytes], ...]:
    """The windows in these bytes as rows, and the bytes of each alone; raises TelemetryError.

    They are cut from the message as it came, which costs a tenth of encoding each window anew.
    """
    found = _read(body)
    rows = rows_from_wire(found)
    if len(rows) == 1:
        return ((rows[0], body),)
    series = found.series[:]
    parts = zip(rows, found.windows[:], strict=True)
    return tuple([(row, _alone(part, series)) for row, part in parts])


def join_windows(bodies: Iterable[bytes]) -> bytes:
    """All windows of these bytes in one set, as they lie there; names stand once.

    Raises TelemetryError when one cannot be read or all together are more than a batch may hold.
    """
    whole, numbers = row_wire.RowSet(), dict[bytes, int]()
    for body in bodies:
        part = _read(body)
        places = [numbers.setdefault(s.SerializeToString(), len(numbers)) for s in part.series]
        if places != list(range(len(places))):
            _renumber(part, places)
        whole.windows.extend(part.windows)
    if len(whole.windows) > WINDOWS_PER_BATCH or len(numbers) > SERIES_PER_BATCH:
        raise TelemetryError("the windows are more than one set may hold")
    for content in numbers:
        whole.series.add().ParseFromString(content)
    joined = _checked(whole)
    if len(joined) > TELEMETRY_BODY_BYTES:
        raise TelemetryError(f"the windows take more than {TELEMETRY_BODY_BYTES} bytes")
    return joined


def _renumber(found: row_wire.RowSet, places: Sequence[int]) -> None:
    """Say of each model where its series stands now; raises TelemetryError."""
    for window in found.windows:
        for model in window.models:
            if model.series >= len(places):
                raise TelemetryError("a model names a series that is not there")
            model.series = places[model.series]


def _alone(part: row_wire.RowWindow, series: Sequence[wire.Series]) -> bytes:
    alone = row_wire.RowSet(windows=[part])
    (window,) = alone.windows
    numbers: dict[int, int] = {}
    for model in window.models:
        model.series = numbers.setdefault(model.series, len(numbers))
    alone.series.extend([series[number] for number in numbers])
    return _checked(alone)


def _checked(found: wire.WindowSet | row_wire.RowSet) -> bytes:
    content = found.SerializeToString()
    return crc32(content).to_bytes(_CHECKSUM_BYTES, "little") + content


def _read(body: bytes) -> row_wire.RowSet:
    """What these bytes say, without what nobody knows."""
    if len(body) > TELEMETRY_BODY_BYTES:
        raise TelemetryError(f"the windows take more than {TELEMETRY_BODY_BYTES} bytes")
    content = body[_CHECKSUM_BYTES:]
    if crc32(content).to_bytes(_CHECKSUM_BYTES, "little") != body[:_CHECKSUM_BYTES]:
        raise TelemetryError("the windows are damaged: their checksum does not fit")
    try:
        found = row_wire.RowSet.FromString(content)
        found.DiscardUnknownFields()
        return found if found.ByteSize() == len(content) else _rewritten(content)
    except DecodeError as error:
        raise TelemetryError("the windows are no protocol buffer of ours") from error


def _rewritten(content: bytes) -> row_wire.RowSet:
    """The same, written as we write it: rows can only be read from that."""
    found = wire.WindowSet.FromString(content)
    found.DiscardUnknownFields()
    return row_wire.RowSet.FromString(found.SerializeToString())


def encode_histogram(values: Histogram) -> bytes:
    """Encode one histogram alone; what it takes in a window, and no checksum."""
    found = wire.Histogram()
    _write_histogram(found, values)
    return found.SerializeToString()


def decode_histogram(content: bytes) -> Histogram:
    """The histogram in these bytes; raises TelemetryError."""
    try:
        return histogram_from_wire(wire.Histogram.FromString(content))
    except DecodeError as error:
        raise TelemetryError("the histogram is no protocol buffer of ours") from error


def _write_window(found: wire.Window, window: Window, numbers: dict[_Names, int]) -> None:
    found.start_s, found.duration_s = window.start, window.seconds
    for model in window.models:
        names = (model.slot, model.release, model.arm, tuple(model.inputs))
        part = found.models.add(series=numbers.setdefault(names, len(numbers)))
        _write_model(part, model)
    if window.host is not None:
        found.host.CopyFrom(_host(window.host))


def _write_model(found: wire.ModelWindow, model: ModelWindow) -> None:
    found.requests, found.fallbacks = model.requests, model.fallbacks
    for kind, count in model.errors.items():
        found.errors.add(kind=_KIND_NUMBERS.get(kind, 0), count=count)
    _write_histogram(found.latency_us, model.timings.latency)
    _write_histogram(found.queue_us, model.timings.queue)
    _write_histogram(found.batch_rows, model.timings.batch)
    answers = model.predictions
    found.classes.extend(answers.classes)
    found.other_classes = answers.other_classes
    if answers.confidence != _NO_BINS:
        _write_bins(found.confidence, answers.confidence)
    found.shadow_compared, found.shadow_disagreed = answers.compared, answers.disagreed
    for bins in model.inputs.values():
        _write_bins(found.inputs.add(), bins)


def _write_histogram(found: wire.Histogram, values: Histogram) -> None:
    if values == _NO_VALUES:
        return
    found.scale, found.offset, found.zero = values.scale, values.offset, values.zero
    found.sum = min(values.sum, LARGEST_SUM)
    found.counts.extend(_packed(values.counts))


def _packed(counts: Sequence[int]) -> Iterator[int]:
    """The counts; a run of empty buckets becomes a zero and how many more are empty."""
    if 0 not in counts:
        yield from counts
        return
    for empty, run in groupby(counts, key=lambda count: count == 0):
        if empty:
            yield 0
            yield sum(1 for _ in run) - 1
        else:
            yield from run


def _write_bins(found: wire.Bins, bins: Bins) -> None:
    found.counts.extend(bins.counts)
    found.missing, found.non_finite = bins.missing, bins.non_finite


def _host(host: HostWindow) -> wire.HostWindow:
    return wire.HostWindow(
        cpu=_level(host.cpu),
        memory=_level(host.memory),
        disk=_level(host.disk),
        temperature=_level(host.temperature),
        accelerator=_level(host.accelerator),
        clock_offset_ms=_level(host.clock_offset),
        throttled_s=host.throttled,
        restarts=host.restarts,
        lost=host.lost,
    )


def _level(level: Level | None) -> wire.Level | None:
    if level is None:
        return None
    return wire.Level(samples=level.samples, total=level.total, low=level.low, high=level.high)
