"""A place in the audit log. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Position:
    """How far the log has grown; size 0: before its first entry.

    Attributes:
        epoch: grows when the manager declares that its newest entries were lost.
        size: entries.
    """

    epoch: int = 0
    size: int = 0


NOWHERE: Final = Position()
