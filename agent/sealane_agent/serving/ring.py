"""The shared memory between the endpoint and one worker: slots, and two lines of slot numbers.

The endpoint puts a request into a slot and the slot's number into the line of requests; the worker
answers in the same slot and puts its number into the line of answers. Each line has one writer and
one reader, so a growing `tail` is all that they share. A reader that finds nothing announces that
it sleeps, looks once more, and only then waits for its bell (an eventfd); a writer rings only a
reader that sleeps. A full memory barrier stands between announcing and looking, and between writing
and asking whether the reader sleeps, so that no ring is lost.

The memory is an anonymous sealed file: nobody finds it by name, and nobody can shrink it under the
other's feet. Its head is one page of u64 words:

    0 magic   1 slots   2 bytes of a slot   8 hands: how many requests the worker works on at once
    16 requests' tail   24 their reader sleeps   25 CLOCK_MONOTONIC ns when its bell was rung
    32 answers' tail    40 and 41 the same of their reader
    64… entries of requests   64+MAX_SLOTS… entries of answers
    64+2·MAX_SLOTS… per slot: CLOCK_MONOTONIC ns when the worker last took a request in it
    64+3·MAX_SLOTS… per hand two words: the slot that it works on, plus one; CLOCK_MONOTONIC ns when
    it last took or finished a request
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from sealane_agent.serving.geometry import MAX_HANDS, MAX_SLOTS, PAGE, Geometry
from sealane_agent.serving.patience import Progress

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealane_agent.serving.spinning import Spin

_MAGIC: Final = 0x3230_474E_4952_4C53
_MAGIC_AT, _SLOTS_AT, _SLOT_BYTES_AT = 0, 1, 2
_HANDS_COUNT_AT: Final = 8
_REQUESTS_AT, _ANSWERS_AT = 16, 32
_SLEEPS_FROM_TAIL: Final = 8
_ENTRIES_AT: Final = 64
_TAKEN_AT: Final = _ENTRIES_AT + 2 * MAX_SLOTS
_HANDS_AT: Final = _TAKEN_AT + MAX_SLOTS
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class RingDamaged(Exception):  # noqa: N818 - the word says what is wrong
    """The memory is not a ring, or the other process broke its rules."""


@dataclass(frozen=True, slots=True)
class Handles:
    """The descriptors of a ring: its memory, and a bell for each reader."""

    memory: int
    worker_bell: int
    endpoint_bell: int

    def all(self) -> tuple[int, int, int]:
        """Every descriptor."""
        return self.memory, self.worker_bell, self.endpoint_bell

    def close(self) -> None:
        """Close every descriptor."""
        for descriptor in self.all():
            os.close(descriptor)


def barrier() -> Callable[[], None]:
    """A full memory barrier for one thread.

    A release of a lock followed by its acquisition: the only one that Python offers and that the
    memory models of x86-64 and AArch64 guarantee.
    """
    lock = threading.Lock()
    lock.acquire()

    def pass_barrier() -> None:
        lock.release()
        lock.acquire()

    return pass_barrier


class Line:
    """A line of slot numbers from one process to the other.

    A process uses one end only: `put`, or `take` and `sleep`.
    """

    def __init__(self, words: memoryview, tail_at: int, bell: int) -> None:
        self._words = words
        self._tail_at = tail_at
        self._sleeps_at = tail_at + _SLEEPS_FROM_TAIL
        self._entries_at = _ENTRIES_AT + (0 if tail_at == _REQUESTS_AT else MAX_SLOTS)
        self._bell = bell
        self._taken = self._seen = 0
        self._barrier = barrier()

    def put(self, slot: int) -> None:
        """Append a slot and wake its reader."""
        self.append(slot)
        self.wake()

    def append(self, slot: int) -> None:
        """Append a slot; at most `MAX_SLOTS` may be in the line, which the slots' number holds.

        Who appends several wakes the reader after the last one.
        """
        words = self._words
        tail = words[self._tail_at]
        words[self._entries_at + tail % MAX_SLOTS] = slot
        self._barrier()
        words[self._tail_at] = (tail + 1) & 0xFFFF_FFFF_FFFF_FFFF

    def wake(self) -> None:
        """Ring the bell of a reader that sleeps; after all that was appended."""
        words = self._words
        self._barrier()
        if words[self._sleeps_at]:
            words[self._sleeps_at] = 0
            words[self._sleeps_at + 1] = time.monotonic_ns()
            os.eventfd_write(self._bell, 1)

    def woken_s(self) -> float:
        """How long ago the bell was rung; the writer's own word."""
        return (time.monotonic_ns() - self._words[self._sleeps_at + 1]) / 1e9

    def take(self) -> int | None:
        """The next slot, or None when the line is empty."""
        taken = self._taken
        if taken == self._seen:
            self._seen = self._words[self._tail_at]
            if taken == self._seen:
                return None
            self._barrier()
        self._taken = taken + 1
        return self._words[self._entries_at + taken % MAX_SLOTS]

    def take_all(self) -> list[int]:
        """All slots that are in the line now; raises RingDamaged when there are too many."""
        taken, words, entries_at = self._taken, self._words, self._entries_at
        tail = words[self._tail_at]
        if taken == tail:
            return []
        if not 0 < tail - taken <= MAX_SLOTS:
            raise RingDamaged("more slots are in a line than there are")
        self._barrier()
        self._taken = self._seen = tail
        return [words[entries_at + each % MAX_SLOTS] for each in range(taken, tail)]

    def sleep(self) -> bool:
        """Announce that the reader waits for its bell; False when something came meanwhile."""
        self._words[self._sleeps_at] = 1
        self._barrier()
        if self._words[self._tail_at] == self._taken:
            return True
        self._words[self._sleeps_at] = 0
        return False

    def look(self, spin: Spin) -> bool:
        """Look for as long as it is worth it; whether something came. The writer rings no bell."""
        words, tail_at, taken = self._words, self._tail_at, self._taken
        words[self._sleeps_at] = 0
        begun = last = time.perf_counter()
        end = begun + spin.limit_s
        while words[tail_at] == taken:
            now = time.perf_counter()
            if now - last > spin.jump_s:
                spin.put_aside()
                return False
            if now > end:
                return False
            last = now
        spin.looked(last - begun)
        return True

    def silence(self) -> None:
        """Take back what rang; the reader is awake."""
        self._words[self._sleeps_at] = 0
        try:
            os.eventfd_read(self._bell)
        except BlockingIOError:
            return


class Ring:
    """One end of a ring, mapped into this process."""

    def __init__(self, handles: Handles, geometry: Geometry) -> None:
        self.handles = handles
        self.geometry = geometry
        self._map = mmap.mmap(handles.memory, geometry.total_bytes)
        self._bytes = memoryview(self._map)
        self._words = self._bytes[:PAGE].cast("Q")
        self.requests = Line(self._words, _REQUESTS_AT, handles.worker_bell)
        self.answers = Line(self._words, _ANSWERS_AT, handles.endpoint_bell)
        self._slots = [self._cut(number) for number in range(geometry.slots)]

    @classmethod
    def create(cls, geometry: Geometry) -> Self:
        """Make a ring; its descriptors are closed on exec unless they are passed on."""
        if not 0 < geometry.slots <= MAX_SLOTS or geometry.slot_bytes % PAGE:
            raise RingDamaged(f"{geometry} is no geometry of a ring")
        memory = os.memfd_create("sealane-ring", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(memory, geometry.total_bytes)
        fcntl.fcntl(memory, fcntl.F_ADD_SEALS, _SEALS)
        flags = os.EFD_NONBLOCK | os.EFD_CLOEXEC
        ring = cls(Handles(memory, os.eventfd(0, flags), os.eventfd(0, flags)), geometry)
        ring._words[_SLOTS_AT] = geometry.slots
        ring._words[_SLOT_BYTES_AT] = geometry.slot_bytes
        ring._words[_MAGIC_AT] = _MAGIC
        return ring

    @classmethod
    def attach(cls, handles: Handles) -> Self:
        """Map a ring that the other process made; raises RingDamaged."""
        with mmap.mmap(handles.memory, PAGE) as head, memoryview(head).cast("Q") as words:
            magic, slots, slot_bytes = words[:3].tolist()
        geometry = Geometry(slots, slot_bytes)
        size = os.fstat(handles.memory).st_size
        if magic != _MAGIC or not 0 < slots <= MAX_SLOTS or geometry.total_bytes != size:
            raise RingDamaged("the shared memory is not a ring")
        return cls(handles, geometry)

    def slot(self, number: int) -> memoryview:
        """The bytes of a slot; raises RingDamaged when there is no such slot."""
        if not 0 <= number < len(self._slots):
            raise RingDamaged(f"there is no slot {number}")
        return self._slots[number]

    def open_hands(self, count: int) -> None:
        """The worker works on so many requests at once."""
        self._words[_HANDS_COUNT_AT] = count

    def begin_work(self, number: int, hand: int = 0) -> None:
        """A hand of the worker took a request."""
        at = _HANDS_AT + 2 * hand
        now = time.monotonic_ns()
        self._words[at + 1] = self._words[_TAKEN_AT + number] = now
        self._words[at] = number + 1

    def take_along(self, number: int) -> None:
        """The worker took one more request, to answer it together with the one it works on."""
        self._words[_TAKEN_AT + number] = time.monotonic_ns()

    def end_work(self, hand: int = 0) -> None:
        """The hand finished it."""
        at = _HANDS_AT + 2 * hand
        self._words[at + 1] = time.monotonic_ns()
        self._words[at] = 0

    def taken_s(self, number: int) -> float:
        """When the worker took the request in a slot (monotonic clock); its own word."""
        return self._words[_TAKEN_AT + number] / 1e9

    def progress(self) -> tuple[Progress, ...]:
        """What each hand of the worker does; its own word, so a reader must not rely on it."""
        count = min(MAX_HANDS, max(1, self._words[_HANDS_COUNT_AT]))
        words = self._words[_HANDS_AT : _HANDS_AT + 2 * count].tolist()
        return tuple(
            Progress(current - 1 if current else None, since / 1e9)
            for current, since in zip(words[::2], words[1::2], strict=True)
        )

    def close(self) -> None:
        """Unmap the memory and close the descriptors."""
        for view in (*self._slots, self._words, self._bytes):
            view.release()
        # A traceback may still show a slot; the memory then goes when the traceback does.
        with contextlib.suppress(BufferError):
            self._map.close()
        self.handles.close()

    def _cut(self, number: int) -> memoryview:
        start = PAGE + number * self.geometry.slot_bytes
        return self._bytes[start : start + self.geometry.slot_bytes]
