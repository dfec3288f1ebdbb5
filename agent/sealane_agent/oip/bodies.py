"""Memory for large request bodies, used again: fresh memory costs more than the copy into it."""

from __future__ import annotations

from typing import Final

from sealane.limits import MIB

IDLE_BYTES: Final = 16 * MIB
"""Memory that is kept while no body lies in it."""


class Bodies:
    """Buffers whose bodies were answered, the youngest last: it is still in the caches."""

    def __init__(self, idle_bytes: int = IDLE_BYTES) -> None:
        self._most = idle_bytes
        self._idle: list[bytearray] = []
        self._idle_bytes = 0

    def take(self, size: int) -> bytearray:
        """A buffer of that size; what it holds is left over from before."""
        for place in range(len(self._idle) - 1, -1, -1):
            found = self._idle[place]
            if len(found) == size and _is_free(found):
                self._idle_bytes -= size
                return self._idle.pop(place)
        return bytearray(size)

    def give(self, buffer: bytearray) -> None:
        """Its body was answered. It is not used again before every view of it is gone."""
        self._idle.append(buffer)
        self._idle_bytes += len(buffer)
        while self._idle_bytes > self._most:
            self._idle_bytes -= len(self._idle.pop(0))


def _is_free(buffer: bytearray) -> bool:
    """Whether nobody looks at it: its size can be changed only then."""
    try:
        buffer.pop()
    except BufferError:
        return False
    buffer.append(0)
    return True
