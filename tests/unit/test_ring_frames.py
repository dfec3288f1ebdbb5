"""How requests and answers lie in a slot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sealane_agent.serving.ring_frames import (
    ALIGNMENT,
    MAX_DIMENSIONS,
    DamagedFrame,
    Frame,
    FrameTooLarge,
    Kind,
    Piece,
    is_wanted,
    read_frame,
    set_wanted,
    unset_wanted,
    write_frame,
)

SLOT_BYTES = 4096

pieces = st.builds(
    Piece,
    st.integers(0, 65_535),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=MAX_DIMENSIONS).map(tuple),
    st.binary(max_size=200),
    body=st.none(),
)
frames = st.builds(
    Frame,
    st.sampled_from(Kind),
    st.lists(pieces, max_size=5).map(tuple),
    st.lists(st.integers(0, 65_535), max_size=5).map(tuple),
)


def slot(size: int = SLOT_BYTES) -> memoryview:
    return memoryview(bytearray(size))


@given(frames)
def test_what_was_written_is_read(frame: Frame) -> None:
    there = slot()
    write_frame(there, frame)
    read = read_frame(there)
    assert (read.kind, read.chosen) == (frame.kind, frame.chosen)
    assert [(p.position, p.shape, bytes(p.data)) for p in read.pieces] == [
        (p.position, p.shape, p.data) for p in frame.pieces
    ]


@given(st.binary(min_size=64, max_size=512))
def test_whatever_stands_in_a_slot_is_read_or_called_damaged(content: bytes) -> None:
    try:
        frame = read_frame(memoryview(content))
    except DamagedFrame:
        return
    assert sum(len(piece.data) for piece in frame.pieces) <= len(content) * len(frame.pieces)


@given(frames, st.integers(0, SLOT_BYTES))
def test_a_frame_that_does_not_fit_leaves_the_slot_as_it_was(frame: Frame, size: int) -> None:
    there, roomy = slot(size), slot()
    write_frame(roomy, frame)
    needed = len(bytes(roomy).rstrip(b"\0"))
    try:
        write_frame(there, frame)
    except FrameTooLarge:
        assert bytes(there) == bytes(size)
    else:
        assert needed <= size


def test_tensors_begin_where_an_engine_wants_them() -> None:
    there = slot()
    write_frame(there, Frame(Kind.REQUEST, (Piece(0, (3,), b"abc"), Piece(1, (1,), b"d"))))
    assert bytes(there).index(b"abc") % ALIGNMENT == 0
    assert bytes(there).index(b"d", bytes(there).index(b"abc") + 4) % ALIGNMENT == 0


def test_a_frame_keeps_what_the_endpoint_said_about_waiting() -> None:
    there = slot()
    set_wanted(there)
    write_frame(there, Frame(Kind.SKIPPED, ()))
    assert is_wanted(there)
    unset_wanted(there)
    assert not is_wanted(there)
    assert read_frame(there).kind is Kind.SKIPPED


def test_a_tensor_in_the_memory_of_bodies_is_read_there_and_not_copied() -> None:
    there, bodies = slot(), slot(2 * SLOT_BYTES)
    bodies[128:131] = b"abc"
    elsewhere = Piece(0, (3,), bodies[128:131], body=128)
    write_frame(there, Frame(Kind.REQUEST, (elsewhere, Piece(1, (1,), b"d"))))
    first, second = read_frame(there, bodies).pieces
    assert (bytes(first.data), first.place, bytes(second.data)) == (b"abc", 128, b"d")
    assert b"abc" not in bytes(there)


@pytest.mark.parametrize("size", [None, 100, 130])
def test_a_tensor_in_a_memory_that_is_not_there_or_shorter_is_damaged(size: int | None) -> None:
    there = slot()
    write_frame(there, Frame(Kind.REQUEST, (Piece(0, (3,), b"abc", body=128),)))
    with pytest.raises(DamagedFrame, match="memory 1"):
        read_frame(there, None if size is None else slot(size))


def test_a_piece_that_ends_behind_its_slot_is_damaged() -> None:
    there = slot()
    write_frame(there, Frame(Kind.ANSWER, (Piece(0, (100,), b"x" * 100),)))
    with pytest.raises(DamagedFrame):
        read_frame(there[:160])
