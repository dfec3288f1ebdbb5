"""Any windows come back as they went; any other bytes are refused, never half read."""

from contextlib import suppress
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane.errors import TelemetryError
from sealane.telemetry.codec import decode_windows, encode_windows
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
