"""Orders requests that wait: by priority, and first come first served within one. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

URGENT: Final = 1
USUAL: Final = 2
LATER: Final = 3
"""Waits until nobody else does."""

Item = TypeVar("Item")


class Lanes(Generic[Item]):
    """Three lines; the first one that is not empty goes on."""

    __slots__ = ("_count", "_lines")

    def __init__(self) -> None:
        self._lines: tuple[deque[Item], ...] = (deque(), deque(), deque())
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Item]:
        for line in self._lines:
            yield from line

    def put(self, item: Item, priority: int) -> None:
        """Stand in line; a priority beyond the three is the nearest of them."""
        self._lines[min(max(priority, URGENT), LATER) - 1].append(item)
        self._count += 1

    def pop(self) -> Item:
        """Who goes on; raises IndexError when nobody waits."""
        urgent, usual, later = self._lines
        item = (urgent or usual or later).popleft()
        self._count -= 1
        return item

    def remove(self, item: Item) -> None:
        """Leave, wherever it stands; it may have left already."""
        for line in self._lines:
            if item in line:
                line.remove(item)
                self._count -= 1
                return

    def clear(self) -> None:
        """Send everybody away."""
        for line in self._lines:
            line.clear()
        self._count = 0
