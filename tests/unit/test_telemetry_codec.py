"""Windows of telemetry on the wire: bounded, checked, and readable by older and newer versions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from zlib import crc32

import pytest
from sealane import codec, limits
from sealane.errors import TelemetryError
from sealane.telemetry.bins import MAX_BINS, Bins
from sealane.telemetry.codec import decode_windows, encode_windows, join_windows
from sealane.telemetry.decoding import LARGEST_COUNT, LONGEST_WINDOW
from sealane.telemetry.histogram import MAX_BUCKETS, Histogram
from sealane.telemetry.types import (
    MAX_CLASSES,
    MAX_INPUTS,
    Arm,
    ErrorKind,
    TelemetryAck,
    TelemetryBatch,
    Timings,
)
from sealane.wire.v1 import telemetry_pb2 as wire
from support.telemetry import plain_model, plain_window

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane.telemetry.types import ModelWindow, Window


def sealed(found: wire.WindowSet) -> bytes:
    content = found.SerializeToString()
    return crc32(content).to_bytes(4, "little") + content


def plain_wire() -> wire.WindowSet:
    return wire.WindowSet.FromString(encode_windows([plain_window()])[4:])


def test_names_stand_once_for_all_windows() -> None:
    one, ten = ([plain_window(minute=minute) for minute in range(count)] for count in (1, 10))
    assert encode_windows(ten).count(b"vision/defect@7") == 1
    assert len(encode_windows(ten)) < 10 * len(encode_windows(one))


def test_empty_buckets_between_cost_two_bytes() -> None:
    near = replace(plain_model(), timings=Timings(Histogram(4, 0, (1, 1))))
    far = replace(plain_model(), timings=Timings(Histogram(4, 0, (1, *[0] * 90, 1))))
    short, long = (encode_windows([replace(plain_window(), models=(m,))]) for m in (near, far))
    assert len(long) == len(short) + 2


def test_an_arm_of_a_later_version_is_another() -> None:
    found = plain_wire()
    found.series[0].arm = 99  # type: ignore[assignment]  # a number of a later version
    assert decode_windows(sealed(found))[0].models[0].arm is Arm.OTHER


def test_two_unknown_arms_of_a_slot_are_counted_together() -> None:
    found = plain_wire()
    found.series[0].arm = 98  # type: ignore[assignment]  # a number of a later version
    found.series.add().CopyFrom(found.series[0])
    found.series[1].arm = 99  # type: ignore[assignment]  # a number of a later version
    found.windows[0].models.add().CopyFrom(found.windows[0].models[0])
    found.windows[0].models[1].series = 1
    (model,) = decode_windows(sealed(found))[0].models
    assert (model.arm, model.requests) == (Arm.OTHER, 200)


def test_errors_of_kinds_that_come_later_are_counted_as_other() -> None:
    found = plain_wire()
    model = found.windows[0].models[0]
    for kind, count in ((1, 2), (77, 3), (78, 4), (0, 5)):
        model.errors.add(kind=kind, count=count)
    (read,) = decode_windows(sealed(found))[0].models
    assert read.errors == {ErrorKind.FAILED: 2, ErrorKind.OTHER: 12}


def test_fields_that_come_later_are_passed_over() -> None:
    content = plain_wire().SerializeToString() + b"\xfa\x3e\x03new"
    body = crc32(content).to_bytes(4, "little") + content
    assert decode_windows(body) == (plain_window(),)


def test_a_batch_of_nothing_is_read() -> None:
    assert decode_windows(encode_windows([])) == ()


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\0\0", b"\0\0\0\1", b"\0\0\0\0\0"])
def test_bytes_without_their_checksum_are_refused(body: bytes) -> None:
    with pytest.raises(TelemetryError, match="damaged"):
        decode_windows(body)


@pytest.mark.parametrize(
    "content", [b"\xff" * 11, b"\x0a\x80", b"\x0a\x05ab", b"\x08" + b"\x80" * 10]
)
def test_bad_varints_and_lengths_are_refused(content: bytes) -> None:
    with pytest.raises(TelemetryError):
        decode_windows(crc32(content).to_bytes(4, "little") + content)


def test_too_many_bytes_are_refused_unread() -> None:
    with pytest.raises(TelemetryError, match="bytes"):
        decode_windows(bytes(limits.TELEMETRY_BODY_BYTES + 1))


def _too_many_series(found: wire.WindowSet) -> None:
    found.series.extend([found.series[0]] * limits.SERIES_PER_BATCH)


def _too_many_windows(found: wire.WindowSet) -> None:
    found.windows.extend([found.windows[0]] * limits.WINDOWS_PER_BATCH)


def _too_many_models(found: wire.WindowSet) -> None:
    models = found.windows[0].models
    models.extend([models[0]] * limits.MODELS_PER_WINDOW)


def _too_many_inputs(found: wire.WindowSet) -> None:
    found.series[0].inputs.extend(f"x{number}" for number in range(MAX_INPUTS + 1))


def _a_long_name(found: wire.WindowSet) -> None:
    found.series[0].inputs.append("x" * (limits.INPUT_NAME_CHARS + 1))


def _one_name_twice(found: wire.WindowSet) -> None:
    found.series[0].inputs.extend(["x", "x"])


def _an_input_without_a_name(found: wire.WindowSet) -> None:
    found.windows[0].models[0].inputs.add()


def _a_bad_slot(found: wire.WindowSet) -> None:
    found.series[0].slot = "../cam"


def _a_bad_release(found: wire.WindowSet) -> None:
    found.series[0].release = "vision"


def _no_such_series(found: wire.WindowSet) -> None:
    found.windows[0].models[0].series = 1


def _no_time(found: wire.WindowSet) -> None:
    found.windows[0].duration_s = 0


def _too_long(found: wire.WindowSet) -> None:
    found.windows[0].duration_s = LONGEST_WINDOW + 1


def _too_late(found: wire.WindowSet) -> None:
    found.windows[0].start_s = 2**40


def _too_many_requests(found: wire.WindowSet) -> None:
    found.windows[0].models[0].requests = LARGEST_COUNT + 1


def _too_many_kinds(found: wire.WindowSet) -> None:
    for kind in range(65):
        found.windows[0].models[0].errors.add(kind=kind, count=1)


def _too_many_classes(found: wire.WindowSet) -> None:
    found.windows[0].models[0].classes.extend([1] * (MAX_CLASSES + 1))


def _too_many_of_a_class(found: wire.WindowSet) -> None:
    found.windows[0].models[0].classes.append(2**63)


def _too_many_bins(found: wire.WindowSet) -> None:
    found.windows[0].models[0].confidence.counts.extend([1] * (MAX_BINS + 1))


def _disagreed_without_comparing(found: wire.WindowSet) -> None:
    found.windows[0].models[0].shadow_disagreed = 1


def _absurd_scale(found: wire.WindowSet) -> None:
    found.windows[0].models[0].latency_us.scale = 20


def _absurd_negative_scale(found: wire.WindowSet) -> None:
    found.windows[0].models[0].latency_us.scale = -(2**31)


def _absurd_bucket(found: wire.WindowSet) -> None:
    found.windows[0].models[0].latency_us.offset = 2**31 - 1


def _absurd_negative_bucket(found: wire.WindowSet) -> None:
    found.windows[0].models[0].latency_us.offset = -(2**31)


def _too_many_buckets(found: wire.WindowSet) -> None:
    found.windows[0].models[0].latency_us.counts.extend([1] * MAX_BUCKETS)


def _a_run_of_endless_empty_buckets(found: wire.WindowSet) -> None:
    found.windows[0].models[0].latency_us.counts.extend([0, 2**40, 1])


def _a_run_without_its_length(found: wire.WindowSet) -> None:
    found.windows[0].models[0].latency_us.counts.append(0)


def _an_empty_first_bucket(found: wire.WindowSet) -> None:
    del found.windows[0].models[0].latency_us.counts[:]
    found.windows[0].models[0].latency_us.counts.extend([0, 0, 5])


def _an_absurd_sum(found: wire.WindowSet) -> None:
    found.windows[0].models[0].latency_us.sum = 2**63


def _a_level_never_measured(found: wire.WindowSet) -> None:
    found.windows[0].host.cpu.samples = 0


def _a_level_upside_down(found: wire.WindowSet) -> None:
    found.windows[0].host.cpu.low = 351


def _a_mean_outside(found: wire.WindowSet) -> None:
    found.windows[0].host.cpu.total = -1


def _an_absurd_level(found: wire.WindowSet) -> None:
    found.windows[0].host.cpu.high = 2**62


DEFECTS = [
    defect
    for name, defect in sorted(globals().items())
    if name.startswith("_") and getattr(defect, "__module__", "") == __name__
]


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.__name__.strip("_"))
def test_windows_with_a_defect_are_refused(defect: Callable[[wire.WindowSet], None]) -> None:
    found = plain_wire()
    defect(found)
    with pytest.raises(TelemetryError):
        decode_windows(sealed(found))


def test_a_large_histogram_is_written_down_to_what_a_database_holds() -> None:
    heavy = replace(plain_model(), timings=Timings(Histogram(4, 0, (5,), 0, 2**70)))
    (model,) = decode_windows(encode_windows([replace(plain_window(), models=(heavy,))]))[0].models
    assert model.timings.latency.sum == 2**62


def test_inputs_keep_their_names() -> None:
    counted = plain_model(inputs={"b": Bins((1, 2)), "a": Bins((), 3, 4)})
    (model,) = decode_windows(encode_windows([replace(plain_window(), models=(counted,))]))[
        0
    ].models
    assert model.inputs == counted.inputs


def test_a_batch_and_its_acknowledgement_cross_the_session() -> None:
    batch = TelemetryBatch("b-1", 7, encode_windows([plain_window()]))
    assert codec.device_message_from_wire(codec.device_message_to_wire(batch)) == batch
    ack = TelemetryAck("b-1", 7)
    assert codec.manager_message_from_wire(codec.manager_message_to_wire(ack)) == ack


def test_joined_windows_are_the_same_windows_and_their_names_stand_once() -> None:
    other = replace(plain_window(7, 1), models=(plain_model(7), renamed("vision/other@1")))
    bodies = [encode_windows([plain_window()]), encode_windows([other, plain_window(9, 2)])]

    joined = join_windows(bodies)

    assert decode_windows(joined) == (plain_window(), other, plain_window(9, 2))
    assert joined.count(b"vision/defect@7") == 1
    assert join_windows([joined]) == joined


def renamed(release: str) -> ModelWindow:
    return replace(plain_model(3), release=release)


def test_names_of_joined_windows_are_told_apart_whatever_their_numbers_were() -> None:
    first, second = (
        replace(plain_window(1, minute), models=(renamed(name),))
        for minute, name in enumerate(["vision/a@1", "vision/b@1"])
    )
    both = join_windows([encode_windows([first]), encode_windows([second])])
    assert decode_windows(both) == (first, second)


def test_too_many_windows_are_not_joined() -> None:
    with pytest.raises(TelemetryError, match="more than one set"):
        join_windows([encode_windows([plain_window()])] * (limits.WINDOWS_PER_BATCH + 1))


def test_damaged_windows_are_not_joined() -> None:
    with pytest.raises(TelemetryError, match="checksum"):
        join_windows([encode_windows([plain_window()])[:-1]])


def test_a_window_that_names_no_series_is_not_joined() -> None:
    found = plain_wire()
    found.windows[0].models[0].series = 9
    with pytest.raises(TelemetryError, match="series"):
        join_windows([encode_windows([renamed_window()]), sealed(found)])


def renamed_window() -> Window:
    return replace(plain_window(), models=(renamed("vision/first@1"),))
