"""Decides which windows in the spool are merged, so that days offline take little room. Pure.

Fresh windows stay as they are for six hours, then become ten minutes long, after three days an
hour. Nothing is dropped: merged windows count what their parts counted.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOUR: Final = 3600

TIERS: Final = ((72 * _HOUR, _HOUR), (6 * _HOUR, 600))
"""Older than these seconds, a window is part of one of those seconds; the oldest tier first."""


@dataclass(frozen=True, slots=True)
class Row:
    """One window in the spool; times in seconds since 1970."""

    number: int
    start: int
    end: int


def groups(rows: Iterable[Row], now: int) -> tuple[tuple[Row, ...], ...]:
    """Rows that are to be merged with each other: two or more, the oldest first."""
    found: defaultdict[tuple[int, int], list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: (row.start, row.number)):
        length = length_at(now - row.end)
        if length and row.end - row.start < length:
            found[length, row.start // length].append(row)
    return tuple(tuple(group) for group in found.values() if len(group) > 1)


def length_at(age: int) -> int:
    """How long windows of this age are, in seconds; 0: as they were recorded."""
    return next((length for limit, length in TIERS if age >= limit), 0)
