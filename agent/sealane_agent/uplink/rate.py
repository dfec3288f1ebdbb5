"""Keeps downloads at a rate, over all threads that download."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Rate:
    """So many bytes a second on the average; 0 is no limit.

    `now` is a monotonic clock in seconds, `wait` sleeps; both are called from threads.
    """

    def __init__(
        self, bytes_s: int, now: Callable[[], float], wait: Callable[[float], object]
    ) -> None:
        self._bytes_s, self._now, self._wait = bytes_s, now, wait
        self._lock = Lock()
        self._free = 0.0

    def kept(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks, each after the time that those before it should have taken."""
        for chunk in chunks:
            yield chunk
            if self._bytes_s:
                self._wait(self._due(len(chunk)))

    def _due(self, size: int) -> float:
        with self._lock:
            now = self._now()
            self._free = max(self._free, now) + size / self._bytes_s
            return self._free - now
