"""Any windows come back as they went; any other bytes are refused, never half read."""

from contextlib import suppress
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.errors import TelemetryError
from sealane.telemetry.codec import decode_apart, decode_windows, encode_windows
from sealane.telemetry.rows import window_of
from sealane.telemetry.types import Window
from support.telemetry import windows


@given(st.lists(windows(), max_size=4))
def test_windows_survive_a_round_trip(found: list[Window]) -> None:
    assert decode_windows(encode_windows(found)) == tuple(found)


@given(st.lists(windows(), min_size=1, max_size=3), st.data())
def test_truncated_windows_are_refused(found: list[Window], data: st.DataObject) -> None:
    body = encode_windows(found)
    kept = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(TelemetryError):
        decode_windows(body[:kept])


@given(st.lists(windows(), min_size=1, max_size=3), st.data())
def test_windows_with_a_changed_byte_are_refused(found: list[Window], data: st.DataObject) -> None:
    body = bytearray(encode_windows(found))
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(TelemetryError):
        decode_windows(bytes(body))


@given(st.binary(max_size=200))
def test_any_bytes_with_a_good_checksum_are_read_or_refused(content: bytes) -> None:
    with suppress(TelemetryError):
        decode_windows(crc32(content).to_bytes(4, "little") + content)


@given(st.lists(windows(), min_size=1, max_size=2), st.data())
def test_changed_content_with_a_good_checksum_is_read_or_refused(
    found: list[Window], data: st.DataObject
) -> None:
    content = bytearray(encode_windows(found)[4:])
    if content:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(TelemetryError):
        again = decode_windows(crc32(content).to_bytes(4, "little") + bytes(content))
        assert decode_windows(encode_windows(again)) == again


@given(st.lists(windows(), max_size=4))
def test_windows_that_are_cut_apart_are_the_same_windows(found: list[Window]) -> None:
    apart = decode_apart(encode_windows(found))

    assert [window_of(row) for row, _ in apart] == found
    assert [decode_windows(body) for _, body in apart] == [(window,) for window in found]
    assert [body for _, body in apart] == [encode_windows([window]) for window in found]


@given(st.lists(windows(), min_size=1, max_size=3), st.data())
def test_whatever_is_refused_whole_is_refused_apart(
    found: list[Window], data: st.DataObject
) -> None:
    content = bytearray(encode_windows(found)[4:])
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    body = crc32(content).to_bytes(4, "little") + bytes(content)
    try:
        whole = decode_windows(body)
    except TelemetryError:
        with pytest.raises(TelemetryError):
            decode_apart(body)
    else:
        assert tuple(window_of(row) for row, _ in decode_apart(body)) == whole
        assert all(decode_windows(part) == (window_of(row),) for row, part in decode_apart(body))


def test_what_nobody_knows_is_not_kept_when_windows_are_cut_apart() -> None:
    """An unknown field (number 15) in a batch of two windows."""
    two = encode_windows([Window(0, 60), Window(60, 60)])
    content = two[4:] + bytes([0x7A, 3]) + b"abc"
    body = crc32(content).to_bytes(4, "little") + content
    assert [part for _, part in decode_apart(body)] == [part for _, part in decode_apart(two)]
