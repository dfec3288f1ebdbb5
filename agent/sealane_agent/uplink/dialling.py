"""Decides how the device speaks: in a session, or by polls where sessions are cut. Pure.

Some middleboxes end every stream after a while, or keep back what flows in it, and let single
calls through. A poll says the same, only news waits for the next one. So a session is tried again
from time to time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

CUTS: Final = 3
"""Sessions in a row that were cut before the device polls."""

LONG_S: Final = 600.0
"""A session that held so long was not cut by something that cuts sessions."""

POLLING_S: Final = 3600.0
"""After that a session is tried again; where it is cut at once, the next hour is polled too."""


class By(StrEnum):
    """What carries the conversation."""

    SESSION = "session"
    POLL = "poll"


@dataclass(frozen=True, slots=True)
class Link:
    """What is known of the link.

    Attributes:
        by: how to speak next.
        cuts: sessions in a row that were cut.
        fixed: somebody has said how to speak.
    """

    by: By = By.SESSION
    cuts: int = 0
    fixed: bool = False

    @property
    def longest_s(self) -> float | None:
        """For how long one conversation goes on; None: as long as it holds."""
        return POLLING_S if self.by is By.POLL and not self.fixed else None


@dataclass(frozen=True, slots=True)
class Ended:
    """How one conversation ended.

    Attributes:
        opened: the manager had said welcome.
        ours: this device hung up, or the manager refused it: that says nothing of the link.
    """

    lasted_s: float
    opened: bool
    ours: bool


def after(link: Link, ended: Ended) -> Link:
    """How to speak after a conversation that ended like this."""
    if link.fixed:
        return link
    if link.by is By.POLL:
        if ended.opened and ended.lasted_s < POLLING_S:
            return link
        return Link(By.SESSION, CUTS - 1 if ended.opened else 0)
    if ended.ours:
        return link
    if ended.lasted_s >= LONG_S:
        return Link()
    return Link(By.SESSION, link.cuts + 1) if link.cuts + 1 < CUTS else Link(By.POLL)


def as_said(word: str) -> Link:
    """How to begin: `session` or `poll` as somebody says, whatever else leaves it to the link."""
    return Link(By(word), fixed=True) if word in list(By) else Link()
