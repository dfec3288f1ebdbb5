"""Decides which part of a memory is given to whom. Pure."""

from __future__ import annotations

from bisect import bisect


class Ranges:
    """What is free of a memory of `size` bytes: ranges in their order, none next to another."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._free = [(0, size)]

    @property
    def top(self) -> int:
        """Where what was given ends: nothing behind it is in use."""
        begin, end = self._free[-1] if self._free else (self._size, self._size)
        return begin if end == self._size else self._size

    def take(self, size: int) -> int | None:
        """The lowest place that has so many bytes, none: low ones were used before."""
        for number, (begin, end) in enumerate(self._free):
            if end - begin > size:
                self._free[number] = (begin + size, end)
                return begin
            if end - begin == size:
                del self._free[number]
                return begin
        return None

    def give(self, begin: int, size: int) -> None:
        """Take back what `take` gave."""
        free, end = self._free, begin + size
        number = bisect(free, (begin, end))
        if number < len(free) and free[number][0] == end:
            end = free.pop(number)[1]
        if number and free[number - 1][1] == begin:
            number -= 1
            begin = free.pop(number)[0]
        free.insert(number, (begin, end))
