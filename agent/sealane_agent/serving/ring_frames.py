"""How one request, or one answer, lies in a slot of the ring.

Both processes use the same form: a table of pieces, then their bytes, each on a 64-byte boundary so
that a reader can lay an array over them. Tensors are named by their position in the deployment,
never by text. Numbers are little-endian, as every machine that Sealane runs on is.

    0   u64  wanted: 0 when nobody waits any longer, 1 when somebody does, else until when:
             CLOCK_MONOTONIC ns; the endpoint writes it, and no frame covers it
    8   u32  kind, u16 number of pieces, u16 number of chosen outputs (0: all)
    16  u16  each chosen output, then per piece
        u16  position, u16 number of dimensions, u32 memory (0: this slot, 1: that of bodies),
        u64  offset in it, u64 length, i64 dimensions
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from math import inf
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from sealane.limits import KIB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ALIGNMENT: Final = 64
"""Bytes: a cache line, and more than any element type asks for."""

MAX_DIMENSIONS: Final = 16
"""Of one tensor: no engine here takes more."""

MAX_PIECES: Final = 1024
"""Tensors in one frame."""

SMALL_BYTES: Final = 4 * KIB
"""Frames up to here are put together first: one write into the slot costs less than two."""

_WANTED: Final = struct.Struct("<Q")
_SOME_TIME: Final = _WANTED.pack(1)
_HEAD: Final = struct.Struct("<IHH")
_HEAD_AT: Final = _WANTED.size
_TABLE_AT: Final = _HEAD_AT + _HEAD.size
_CHOICE: Final = struct.Struct("<H")
_PIECE: Final = struct.Struct("<HHIQQ")
_DIMENSION_BYTES: Final = 8
_IN_SLOT, _IN_BODIES = 0, 1


class FrameTooLarge(Exception):  # noqa: N818 - the word says what is wrong
    """The frame does not fit into its slot.

    Attributes:
        needed, room: in bytes.
    """

    def __init__(self, needed: int, room: int) -> None:
        super().__init__(f"{needed} bytes do not fit into a slot of {room}")
        self.needed = needed
        self.room = room


class DamagedFrame(Exception):  # noqa: N818 - the word says what is wrong
    """The other process wrote something that is no frame."""


class Kind(IntEnum):
    """What a frame is."""

    REQUEST = 1
    ANSWER = 2
    FAILED = 3
    SKIPPED = 4


class Piece(NamedTuple):
    """One tensor.

    Attributes:
        data: of a piece that was read a view of the slot, or of the memory of bodies.
        place: where that view begins.
        body: where it lies in the memory of bodies, which both processes see; None: nowhere there.
    """

    position: int
    shape: tuple[int, ...]
    data: bytes | memoryview
    place: int = 0
    body: int | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """A request with the outputs it asks for, or an answer."""

    kind: Kind
    pieces: tuple[Piece, ...]
    chosen: tuple[int, ...] = ()


class Content(Protocol):
    """A tensor of a request, as far as it is written here."""

    @property
    def data(self) -> bytes | memoryview:
        """Its bytes."""
        ...


class Layout(NamedTuple):
    """Where everything of a frame lies: the same for all frames of one kind, shapes and lengths.

    Attributes:
        table: what stands before the tensors' bytes, up to the first of them.
        places: where each tensor begins; 0: it is not in the slot.
        needed: bytes of the whole, with those that are not in the slot: where a request lies does
            not decide whether it is too large.
    """

    table: bytes
    places: tuple[int, ...]
    needed: int


def write_frame(slot: memoryview, frame: Frame) -> None:
    """Write a frame; raises FrameTooLarge, and then has written nothing."""
    write_laid_out(slot, lay_out(frame), [piece.data for piece in frame.pieces])


def write_laid_out(slot: memoryview, layout: Layout, pieces: Sequence[bytes | memoryview]) -> None:
    """Write a frame whose layout is known; raises FrameTooLarge, and then has written nothing."""
    table, places, needed = layout
    if needed > len(slot):
        raise FrameTooLarge(needed, len(slot))
    if needed <= SMALL_BYTES and len(places) == 1 and places[0]:
        slot[_HEAD_AT:needed] = b"".join((table, pieces[0]))
        return
    slot[_HEAD_AT : _HEAD_AT + len(table)] = table
    for place, data in zip(places, pieces, strict=True):
        if place:
            slot[place : place + len(data)] = data


def write_request(
    slot: memoryview, layout: Layout, inputs: Sequence[Content], deadline_s: float
) -> None:
    """Write a request whose layout is known, and until when its answer is wanted.

    Raises FrameTooLarge, and then has written nothing.
    """
    table, places, needed = layout
    if needed > len(slot):
        raise FrameTooLarge(needed, len(slot))
    if needed <= SMALL_BYTES and len(places) == 1 and places[0]:
        slot[:needed] = b"".join((_SOME_TIME, table, inputs[0].data))
    else:
        slot[: _HEAD_AT + len(table)] = _SOME_TIME + table
        for place, tensor in zip(places, inputs, strict=True):
            if place:
                slot[place : place + len(tensor.data)] = tensor.data
    if deadline_s != inf:
        set_wanted(slot, deadline_s)


def lay_out(frame: Frame) -> Layout:
    """Where the frame's table and tensors go."""
    at = _TABLE_AT + _CHOICE.size * len(frame.chosen)
    at += sum(_PIECE.size + _DIMENSION_BYTES * len(piece.shape) for piece in frame.pieces)
    parts = [
        _HEAD.pack(frame.kind, len(frame.pieces), len(frame.chosen)),
        *(_CHOICE.pack(position) for position in frame.chosen),
    ]
    places = []
    for piece in frame.pieces:
        at = -(-at // ALIGNMENT) * ALIGNMENT
        size, dimensions, body = len(piece.data), len(piece.shape), piece.body
        where = (_IN_SLOT, at) if body is None else (_IN_BODIES, body)
        parts.append(_PIECE.pack(piece.position, dimensions, *where, size))
        parts.append(struct.pack(f"<{dimensions}q", *piece.shape))
        places.append(at if body is None else 0)
        at += size
    table = b"".join(parts)
    first = next(filter(None, places), 0)
    return Layout(table.ljust(first - _HEAD_AT, b"\0"), tuple(places), at)


def read_table(slot: memoryview, length: int) -> bytes:
    """What stands where the table of a frame of that length would: equal tables, equal frames."""
    return slot[_HEAD_AT : _HEAD_AT + length].tobytes()


def table_bytes(frame: Frame) -> int:
    """How long the frame's table is."""
    pieces = sum(_PIECE.size + _DIMENSION_BYTES * len(piece.shape) for piece in frame.pieces)
    return _HEAD.size + _CHOICE.size * len(frame.chosen) + pieces


def read_frame(slot: memoryview, bodies: memoryview | None = None) -> Frame:
    """Read a frame without copying its tensors; raises DamagedFrame.

    `bodies`: the memory in which large tensors of a request may lie.
    """
    try:
        kind, pieces, choices = _HEAD.unpack_from(slot, _HEAD_AT)
        if pieces > MAX_PIECES:
            raise DamagedFrame(f"{pieces} pieces are more than {MAX_PIECES}")
        chosen = struct.unpack_from(f"<{choices}H", slot, _TABLE_AT)
        table_at = _TABLE_AT + _CHOICE.size * choices
        memories = (slot,) if bodies is None else (slot, bodies)
        return Frame(Kind(kind), tuple(_read_pieces(memories, table_at, pieces)), chosen)
    except (struct.error, ValueError) as error:
        raise DamagedFrame(str(error)) from error


def _read_pieces(memories: tuple[memoryview, ...], at: int, count: int) -> Iterator[Piece]:
    slot = memories[_IN_SLOT]
    for _ in range(count):
        position, dimensions, memory, place, size = _PIECE.unpack_from(slot, at)
        if dimensions > MAX_DIMENSIONS:
            raise DamagedFrame(f"{dimensions} dimensions are more than {MAX_DIMENSIONS}")
        at += _PIECE.size
        shape = struct.unpack_from(f"<{dimensions}q", slot, at)
        at += _DIMENSION_BYTES * dimensions
        if memory >= len(memories) or place + size > len(memories[memory]):
            raise DamagedFrame(f"a piece ends at {place + size} of memory {memory}, behind its end")
        yield Piece(position, shape, memories[memory][place : place + size], place)


def set_wanted(slot: memoryview, deadline_s: float = inf) -> None:
    """Say that somebody waits for the answer, and until when (monotonic clock)."""
    _WANTED.pack_into(slot, 0, 1 if deadline_s == inf else max(1, int(deadline_s * 1e9)))


def unset_wanted(slot: memoryview) -> None:
    """Say that nobody waits any longer."""
    _WANTED.pack_into(slot, 0, 0)


def is_wanted(slot: memoryview, now_ns: int = 0) -> bool:
    """Whether somebody still waits for the answer."""
    wanted: int = _WANTED.unpack_from(slot, 0)[0]
    return wanted == 1 or wanted > now_ns
