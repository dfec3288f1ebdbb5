"""Memory for large request bodies that workers read where they lie, so that nobody copies them.

An anonymous sealed file a slot: the endpoint reads bodies from sockets into it, and the slot's
workers get it for reading only. So a worker that dies has not written over a request, and another
one can answer it. Memory that was used before is used again, since fresh memory costs more than a
copy into it. A body belongs to whoever has a view of it, and its place is free when the last view
is gone; a slow client holds such a place, never one in a worker's ring. What finds no place lies in
memory of the endpoint's own, and is copied into the ring as small ones are.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import weakref
from functools import partial
from typing import TYPE_CHECKING, Final

import numpy as np
from sealane.limits import KIB, MIB

from sealane_agent.serving.ranges import Ranges
from sealane_agent.serving.ring_frames import ALIGNMENT

if TYPE_CHECKING:
    from numpy.typing import NDArray

BODIES_BYTES: Final = 64 * MIB
"""All bodies of a slot that workers can read; pages that nobody touched cost nothing."""

IDLE_BYTES: Final = 16 * MIB
"""Memory that is kept while no body lies in it."""

WORTH_BYTES: Final = 32 * KIB
"""Smaller tensors are copied: that takes less time than to find out where they lie."""

_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Bodies:
    """The endpoint's side of that memory.

    Attributes:
        descriptor: of the memory, for reading only; closed with the last reference to this.
    """

    def __init__(self, size: int = BODIES_BYTES, idle_bytes: int = IDLE_BYTES) -> None:
        self._map, self.descriptor = _made(size)
        weakref.finalize(self, os.close, self.descriptor)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._address = _address(self._map)
        self._idle_bytes = idle_bytes
        self._ranges = Ranges(size)
        self._touched = 0
        self._taken: dict[int, weakref.ref[NDArray[np.uint8]]] = {}

    @property
    def in_use(self) -> int:
        """How many bodies lie here."""
        return len(self._taken)

    def take(self, size: int, before: int = 0) -> memoryview:
        """Memory for a body; what it holds is left over from before.

        `before`: so many bytes of it come before the first tensor, which then is aligned.
        """
        room = -(-(size + ALIGNMENT) // mmap.PAGESIZE) * mmap.PAGESIZE
        begin = self._ranges.take(room)
        if begin is None:
            return memoryview(bytearray(size))
        self._touched = max(self._touched, begin + room)
        at = begin + -before % ALIGNMENT
        part = self._bytes[at : at + size]
        self._taken[begin] = weakref.ref(part, partial(self._give, begin, room))
        return part.data

    def place_of(self, data: bytes | memoryview) -> int | None:
        """Where a large tensor lies in here; None when it lies elsewhere, or is not aligned."""
        if len(data) < WORTH_BYTES or isinstance(data, bytes) or data.readonly:
            return None
        place = _address(data) - self._address
        inside = 0 <= place <= len(self._bytes) - len(data)
        return place if inside and place % ALIGNMENT == 0 else None

    def _give(self, begin: int, room: int, _gone: object) -> None:
        del self._taken[begin]
        self._ranges.give(begin, room)
        keep = max(self._idle_bytes, self._ranges.top)
        if self._touched > keep:
            self._map.madvise(mmap.MADV_REMOVE, keep, self._touched - keep)
            self._touched = keep


class SlotBodies:
    """One such memory a slot, so that no worker sees what others are asked."""

    def __init__(self) -> None:
        self._of: dict[str, Bodies] = {}
        self._other = Bodies()

    def open(self, slot: str) -> Bodies:
        """The memory that the slot's workers read; raises OSError."""
        if slot not in self._of:
            self._of[slot] = Bodies()
        return self._of[slot]

    def of(self, slot: str) -> Bodies:
        """Where what is asked of a slot comes to lie: no worker reads it where there is none."""
        return self._of.get(slot, self._other)


def _made(size: int) -> tuple[mmap.mmap, int]:
    """The memory, and a descriptor by which others can read it; raises OSError."""
    writable = os.memfd_create("sealane-bodies", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(writable, size)
        fcntl.fcntl(writable, fcntl.F_ADD_SEALS, _SEALS)
        mapped = mmap.mmap(writable, size)
        return mapped, os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(writable)


def readable(descriptor: int) -> memoryview:
    """A worker's side: all of the memory; raises OSError or ValueError."""
    return memoryview(mmap.mmap(descriptor, 0, prot=mmap.PROT_READ))


def _address(writable: mmap.mmap | memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(writable))
