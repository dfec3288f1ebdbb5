"""Adds up what many windows counted, a whole row of counts at a time.

The counts of a minute are small. A row of counts that are all below 128 is a string of bytes here,
as it came, and is added as one whole number that gives 32 bits to each of its counts: a tenth of
what adding number by number costs. Larger counts get 64 bits. The sums are those of
`sealane.telemetry.merging`.
"""

from __future__ import annotations

import struct
from functools import reduce
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sealane.telemetry.bins import Bins, added, all_bins
from sealane.telemetry.histogram import Histogram, all_histograms
from sealane.telemetry.merging import merge_models
from sealane.telemetry.types import ModelWindow, Predictions, Timings, Window

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sealane.names import SlotName
    from sealane.telemetry.types import Arm, ErrorKind, HostWindow

Row = bytes | tuple[int, ...]
"""Counts side by side: as bytes when each is below 128. At most a million rows are added up."""


class Series(NamedTuple):
    """Whose counts these are; `inputs` names the inputs in the order of their counts."""

    slot: SlotName
    release: str
    arm: Arm
    inputs: tuple[str, ...]


class HistogramRow(NamedTuple):
    """A histogram in normal form, its counts as a row."""

    scale: int
    offset: int
    counts: Row
    zero: int
    sum: int


class InputRows(NamedTuple):
    """Small counts of all inputs, one after the other, and nothing missing or non-finite.

    Attributes:
        joined: each input's counts behind two bytes that say nothing here, as they came.
        widths: bytes of each input.
    """

    joined: bytes
    widths: tuple[int, ...]


Inputs = InputRows | tuple[Bins, ...]


class ModelRow(NamedTuple):
    """What `ModelWindow` says, checked and not unpacked.

    `confidence` is its counts alone when they are small and nothing is missing or non-finite.
    """

    series: Series
    requests: int
    errors: Mapping[ErrorKind, int]
    fallbacks: int
    latency: HistogramRow
    queue: HistogramRow
    batch: HistogramRow
    classes: Row
    other_classes: int
    compared: int
    disagreed: int
    confidence: bytes | Bins
    inputs: Inputs

    @property
    def failed(self) -> int:
        """Errors of every kind."""
        return sum(self.errors.values())


class WindowRow(NamedTuple):
    """What `Window` says, its models as rows; two may be of the same slot, release and arm."""

    start: int
    seconds: int
    models: tuple[ModelRow, ...]
    host: HostWindow | None

    @property
    def end(self) -> int:
        """Seconds since 1970 at its end."""
        return self.start + self.seconds


NO_VALUES: Final = HistogramRow(Histogram().scale, 0, b"", 0, 0)


def window_of(row: WindowRow) -> Window:
    """The row as a window: one model of each key, in the order of their keys."""
    models = [model_of(each) for each in row.models]
    if len(models) > 1:
        models = _in_order(models)
    return Window(row.start, row.seconds, tuple(models), row.host)


def _in_order(found: Sequence[ModelWindow]) -> list[ModelWindow]:
    models: dict[tuple[str, str, str], ModelWindow] = {}
    for model in found:
        known = models.get(model.key)
        models[model.key] = merge_models(known, model) if known else model
    return [models[key] for key in sorted(models)]


def model_of(row: ModelRow) -> ModelWindow:
    """The row as a window of a model."""
    return ModelWindow(
        slot=row.series.slot,
        release=row.series.release,
        arm=row.series.arm,
        requests=row.requests,
        errors=row.errors,
        fallbacks=row.fallbacks,
        timings=Timings(
            histogram_of(row.latency), histogram_of(row.queue), histogram_of(row.batch)
        ),
        predictions=Predictions(
            tuple(row.classes),
            row.other_classes,
            _bins(row.confidence),
            row.compared,
            row.disagreed,
        ),
        inputs=inputs_of(row.series.inputs, row.inputs),
    )


def histogram_of(row: HistogramRow) -> Histogram:
    """The row as a histogram."""
    return Histogram(row.scale, row.offset, tuple(row.counts), row.zero, row.sum)


def inputs_of(names: Sequence[str], inputs: Inputs) -> Mapping[str, Bins]:
    """The counts of each input, by its name."""
    if not isinstance(inputs, InputRows):
        return dict(zip(names, inputs, strict=True))
    return _cut(names, inputs.widths, tuple(inputs.joined))


def _cut(
    names: Sequence[str], widths: Sequence[int], counts: tuple[int, ...]
) -> Mapping[str, Bins]:
    """The counts of each input, without the two numbers before them."""
    ends = accumulate(widths)
    cut = [Bins(counts[end - width + 2 : end]) for end, width in zip(ends, widths, strict=True)]
    return dict(zip(names, cut, strict=True))


def all_rows(rows: Sequence[ModelRow]) -> ModelWindow:
    """What all of them counted, under the names of the first: as `merge_all`."""
    if len(rows) == 1:
        return model_of(rows[0])
    first = rows[0].series
    inputs = InputSum()
    for row in rows:
        inputs.add(row.series.inputs, row.inputs)
    return ModelWindow(
        slot=first.slot,
        release=first.release,
        arm=first.arm,
        requests=sum([row.requests for row in rows]),
        errors=reduce(_both, [row.errors for row in rows]),
        fallbacks=sum([row.fallbacks for row in rows]),
        timings=Timings(
            add_histograms([row.latency for row in rows]),
            add_histograms([row.queue for row in rows]),
            add_histograms([row.batch for row in rows]),
        ),
        predictions=Predictions(
            classes=_sum([row.classes for row in rows]),
            other_classes=sum([row.other_classes for row in rows]),
            confidence=_all_bins([row.confidence for row in rows]),
            compared=sum([row.compared for row in rows]),
            disagreed=sum([row.disagreed for row in rows]),
        ),
        inputs=inputs.whole(),
    )


class InputSum:
    """Adds up inputs of one model; a name that is new after `most` of them is left out."""

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._names: dict[str, None] = {}
        self._alike: dict[tuple[tuple[str, ...], tuple[int, ...]], int] = {}
        self._others: list[Mapping[str, Bins]] = []

    def add(self, names: tuple[str, ...], inputs: Inputs) -> None:
        """The inputs of one window."""
        if not isinstance(inputs, InputRows):
            self._note(names)
            self._others.append(inputs_of(names, inputs))
            if len(self._others) >= WAITING:
                self._others = [_all_inputs(self._others)]
            return
        key = names, inputs.widths
        known = self._alike.get(key)
        if known is None:
            self._note(names)
            if len(self._alike) >= LAYOUTS:
                self._unpack()
        self._alike[key] = (known or 0) + _number_of_bytes(inputs.joined)

    def whole(self) -> Mapping[str, Bins]:
        """Everything that was added, by the name of the input in the order in which they came."""
        self._unpack()
        summed = _all_inputs(self._others)
        return {name: summed[name] for name in self._names if name in summed}

    def _note(self, names: Iterable[str]) -> None:
        for name in names:
            if self._most is None or len(self._names) < self._most:
                self._names[name] = None

    def _unpack(self) -> None:
        for (names, widths), total in self._alike.items():
            self._others.append(_cut(names, widths, _SMALL.counts(total, sum(widths))))
        self._alike.clear()
        kept = _all_inputs(self._others)
        self._others = [{name: bins for name, bins in kept.items() if name in self._names}]


WAITING: Final = 16
"""Windows of larger counts that wait to be added up: many at once cost a third of one by one."""

LAYOUTS: Final = 16
"""Different names and numbers of bins that are added up apart: devices with one model have one."""


def _bins(row: bytes | Bins) -> Bins:
    return Bins(tuple(row)) if isinstance(row, bytes) else row


def _all_bins(rows: Sequence[bytes | Bins]) -> Bins:
    small = [row for row in rows if isinstance(row, bytes)]
    parts = [row for row in rows if isinstance(row, Bins)]
    return all_bins([Bins(_sum(small)), *parts]) if parts else Bins(_sum(small))


def _all_inputs(inputs: Sequence[Mapping[str, Bins]]) -> Mapping[str, Bins]:
    if len(inputs) == 1:
        return inputs[0]
    names = dict.fromkeys(name for each in inputs for name in each)
    return {name: all_bins([each[name] for each in inputs if name in each]) for name in names}


def _both(
    first: Mapping[ErrorKind, int], second: Mapping[ErrorKind, int]
) -> Mapping[ErrorKind, int]:
    if not first or not second:
        return first or second
    return {kind: first.get(kind, 0) + second.get(kind, 0) for kind in {**first, **second}}


def add_histograms(rows: Sequence[HistogramRow]) -> Histogram:
    """All of at least one together, in normal form: as `all_histograms`."""
    if len(rows) == 1:
        return histogram_of(rows[0])
    grids: dict[tuple[int, type[Row]], list[HistogramRow]] = {}
    for row in rows:
        grids.setdefault((row.scale, type(row.counts)), []).append(row)
    parts = [_on_one_grid(found) for found in grids.values()]
    return parts[0].normal() if len(parts) == 1 else all_histograms(parts)


def _on_one_grid(rows: Sequence[HistogramRow]) -> Histogram:
    """Of one scale, and with rows of one kind."""
    used = [row for row in rows if row.counts]
    offset = min([row.offset for row in used], default=0)
    width = max([row.offset - offset + len(row.counts) for row in used], default=0)
    lane = _lane(rows[0].counts)
    total = sum([lane.number(row.counts) << lane.bits * (row.offset - offset) for row in used])
    return Histogram(
        rows[0].scale,
        offset,
        lane.counts(total, width),
        sum([row.zero for row in rows]),
        sum([row.sum for row in rows]),
    )


def _sum(rows: Sequence[Row]) -> tuple[int, ...]:
    """The sums of the columns; what a shorter row lacks counts as 0."""
    kinds: dict[type[Row], list[Row]] = {}
    for row in rows:
        kinds.setdefault(type(row), []).append(row)
    sums = []
    for found in kinds.values():
        lane = _lane(found[0])
        sums.append(lane.counts(sum(map(lane.number, found)), max(map(len, found))))
    return sums[0] if len(sums) == 1 else added(sums)


class _Lane(NamedTuple):
    """How a row becomes one number, the first count the lowest, and a sum of them counts again."""

    bits: int
    number: Callable[[Any], int]
    form: str

    def counts(self, total: int, width: int) -> tuple[int, ...]:
        """So many counts."""
        content = total.to_bytes(self.bits // 8 * width, "little")
        return struct.unpack(f"<{width}{self.form}", content)


def _number_of_bytes(row: bytes) -> int:
    return int.from_bytes(row.decode("ascii").encode("utf-32-le"), "little")


def _number_of_counts(row: tuple[int, ...]) -> int:
    return int.from_bytes(struct.pack(f"<{len(row)}Q", *row), "little")


_SMALL: Final = _Lane(32, _number_of_bytes, "I")
_LARGE: Final = _Lane(64, _number_of_counts, "Q")


def _lane(row: Row) -> _Lane:
    return _SMALL if isinstance(row, bytes) else _LARGE
