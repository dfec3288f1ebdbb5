"""A log whose reader stands still holds up nobody, and says afterwards what is missing."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from sealane.lossy_stream import LossyStream

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = "a line of the log\n"
MORE_THAN_A_PIPE = 5_000


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def test_what_is_read_in_time_is_whole(pipe: tuple[int, int]) -> None:
    read, write = pipe
    stream = LossyStream(write)
    texts = [LINE, "äö \udc80\n", "x" * 9_000 + "\n"]

    assert [stream.write(text) for text in texts] == [len(text) for text in texts]

    written = "".join(texts).encode(errors="backslashreplace")
    assert os.read(read, len(written) + 1) == written


def test_a_reader_that_stands_still_holds_up_nobody_and_hears_what_it_missed(
    pipe: tuple[int, int],
) -> None:
    read, write = pipe
    stream = LossyStream(write)
    for _ in range(MORE_THAN_A_PIPE):
        stream.write(LINE)
    kept = os.read(read, MORE_THAN_A_PIPE * len(LINE))

    stream.write("again\n")
    stream.write("and again\n")

    said = os.read(read, 1_000).decode()
    lost = re.fullmatch(r"\n(\d+) bytes .* stood still\nagain\nand again\n", said)
    assert lost, said
    assert len(kept) + int(lost[1]) == MORE_THAN_A_PIPE * len(LINE)


def test_a_reader_that_went_away_is_told_nothing() -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        assert LossyStream(write).write(LINE) == len(LINE)
    finally:
        os.close(write)
