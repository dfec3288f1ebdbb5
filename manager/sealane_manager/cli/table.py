"""Decides how rows look in columns: values as words, folded between words and nowhere else. Pure.

A row that finds no room so is one line: a terminal folds it, and what is copied from it is whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Final

from rich.cells import cell_len, set_cell_size

from sealane_manager.shown import shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

GAP: Final = "  "

CELL_CHARS: Final = 4096
"""The most that is shown of one value."""

FOLDS: Final = 4
"""The most lines of a row; one that needs more is easier to read as one long line."""


@dataclass(frozen=True, slots=True)
class Lines:
    """A table as text: the line of heads, and the lines below it."""

    heads: str
    rows: tuple[str, ...]


def word(value: Any) -> str:
    """A value as people read it: one line, nothing for None, yes or no, a moment to the second."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds").replace("+00:00", "Z")
    return shown(str(value), CELL_CHARS)


def counted(devices: int) -> str:
    """So many devices."""
    return "1 device" if devices == 1 else f"{devices} devices"


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], room: int | None) -> Lines:
    """The named columns of rows, at most `room` characters wide where words can be folded so."""
    heads = [column.replace("_", " ").upper() for column in columns]
    cells = [[word(row.get(column)) for column in columns] for row in rows]
    natural = [max(map(cell_len, column)) for column in zip(heads, *cells, strict=True)]
    widths = natural if room is None else _fitting([heads, *cells], natural, room)
    folded = [_folded(row, widths) for row in cells]
    if any(len(lines) > FOLDS for lines in folded):
        widths, folded = natural, [_folded(row, natural) for row in cells]
    (head,) = _folded(heads, widths) if columns else ("",)
    return Lines(head, tuple(line for lines in folded for line in lines))


def _fitting(cells: Sequence[Sequence[str]], natural: list[int], room: int) -> list[int]:
    """Widths in the room, the widest column giving way first; the natural ones if none do."""
    least = [max(map(_longest_word, column)) for column in zip(*cells, strict=True)]
    least = [max(width, cell_len(head)) for width, head in zip(least, cells[0], strict=True)]
    room -= len(GAP) * (len(natural) - 1)
    widths = list(natural)
    while sum(widths) > room:
        free = [at for at, width in enumerate(widths) if width > least[at]]
        if not free:
            return natural
        widths[max(free, key=widths.__getitem__)] -= 1
    return widths


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split(" ")))


def _folded(row: Iterable[str], widths: Sequence[int]) -> list[str]:
    cells = (_wrapped(text, width) for text, width in zip(row, widths, strict=True))
    return [
        GAP.join(map(set_cell_size, line, widths)).rstrip()
        for line in zip_longest(*cells, fillvalue="")
    ]


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for part in text.split(" "):
        longer = f"{lines[-1]} {part}" if lines[-1] else part
        if cell_len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(part)
    return lines
