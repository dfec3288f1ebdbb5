"""A place in the audit log. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Position:
    """How far the log has grown; size 0: before its first entry. Equal places are equal.

    Attributes:
        epoch: grows when the manager declares that its newest entries were lost.
        size: entries.
        root: what was seen there, if anything was.
    """

    epoch: int = 0
    size: int = 0
    root: bytes = field(default=b"", compare=False, repr=False)


NOWHERE: Final = Position()
